"""One epoch of every method against a bare loop over the same forward and backward passes, as ratios in one run.

    python tests/benchmarks/methods.py [rounds] [dataset]

On digits a step takes 2 ms, and a copy of the net is dear beside it; fashion_mnist (data needed) is nearer to what methods
are used for. While a method runs once, all that it has nets and optimisers do is noted: each outermost call of a module
with its batch, each backward pass, each step. The bare loop does these again, and nothing else, on batches that are there
already: what a method's own code adds is the ratio's excess over 1. Options are the defaults but for one epoch; the best of
the rounds, which are interleaved, counts, in processor seconds of one thread.
"""

import contextlib
import copy
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from data_builders import load
from data_builders.build_task import build_task
from unlearnkit.core.errors import NotApplicable
from unlearnkit.images.models import build
from unlearnkit.images.request import request_of
from unlearnkit.images.train import Recipe, fit
from unlearnkit.methods import methods

WANTED = 1.2


@dataclass(frozen=True)
class Forward:
    """A call of net number `net` on a batch; with_grad: whether torch was to remember it for a backward pass."""

    net: int
    x: Tensor
    with_grad: bool
    bf16: bool


class Notes:
    """What was done, in order: Forward, "backward" or "step"; and copies of the nets, as they were when called."""

    def __init__(self):
        self.events: list = []
        self.nets: list[nn.Module] = []
        self.kind = torch.optim.SGD
        self._known: dict[tuple, int] = {}
        self._held: list[nn.Module] = []  # so that no two have one id
        self._depth = 0

    @contextlib.contextmanager
    def taking(self):
        backward, grad = torch.Tensor.backward, torch.autograd.grad
        hooks = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
            register_optimizer_step_post_hook(self._step),
        ]
        torch.Tensor.backward, torch.autograd.grad = self._noting(backward), self._noting(grad)
        try:
            yield
        finally:
            torch.Tensor.backward, torch.autograd.grad = backward, grad
            for hook in hooks:
                hook.remove()

    def _enter(self, module, inputs) -> None:
        self._depth += 1
        if self._depth > 1 or not inputs or not any(True for _ in module.parameters()):
            return
        shape = inputs[0].shape[1:]
        x = _plain(inputs[0]).reshape(-1, *shape)  # under vmap a net is shown one sample at a time
        moving = tuple(p.requires_grad or p is not _plain(p) for p in module.parameters())
        state = (id(module), moving, tuple(m.training for m in module.modules()))
        if state not in self._known:
            self._known[state] = len(self.nets)
            self._held.append(module)
            fresh = {
                id(p): nn.Parameter(_plain(p).detach().clone(), m)
                for p, m in zip(module.parameters(), moving, strict=True)
            }
            self.nets.append(copy.deepcopy(module, fresh))
        with_grad = torch.is_grad_enabled() and any(moving)
        self.events.append(Forward(self._known[state], x, with_grad, torch.is_autocast_enabled(x.device.type)))

    def _leave(self, module, inputs, output) -> None:
        self._depth -= 1

    def _step(self, optimiser, args, kwargs) -> None:
        self.kind = type(optimiser)
        self.events.append("step")

    def _noting(self, function):
        def noted(*args, **kwargs):
            self.events.append("backward")
            return function(*args, **kwargs)

        return noted

    def count(self, what: str) -> int:
        return self.events.count(what)

    def images(self, with_grad: bool) -> int:
        return sum(len(e.x) for e in self.events if isinstance(e, Forward) and e.with_grad == with_grad)

    def replay(self) -> None:
        """The bare loop. All that is remembered goes into the next backward pass, and moves the nets that it reaches."""
        nets = copy.deepcopy(self.nets)
        steps = [self._optimiser(net) for net in nets]
        pending, reached = [], set()
        for event in self.events:
            if event == "backward":
                if pending:
                    for i in reached:
                        steps[i].zero_grad()
                    sum(out.float().logsumexp(-1).mean() for out in pending).backward()
                pending = []
            elif event == "step":
                for i in reached:
                    steps[i].step()
                reached = set()
            else:
                with (
                    torch.set_grad_enabled(event.with_grad),
                    torch.autocast(event.x.device.type, torch.bfloat16, event.bf16),
                ):
                    out = nets[event.net](event.x)
                if event.with_grad:
                    pending.append(out)
                    reached.add(event.net)

    def _optimiser(self, net: nn.Module):
        moving = [p for p in net.parameters() if p.requires_grad]
        options = {"momentum": 0.9} if self.kind is torch.optim.SGD else {}
        return self.kind(moving, lr=1e-4, fused=True, **options) if moving else None


def _plain(x: Tensor) -> Tensor:
    """A tensor as it is outside of torch.func's transforms."""
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x.detach() if x.requires_grad and not x.is_leaf else x


def timed(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main(rounds: int, dataset: str = "digits") -> None:
    torch.set_num_threads(1)
    recipe = Recipe(epochs=1)
    raw = load(dataset).limited_to(4000, 1000)
    shape = tuple(raw.x.shape[1:])
    tasks = [
        build_task(raw, n_targets=200, copies=1, train_size=1000),
        build_task(raw, targets="class", forget_ids=[3], copies=0, train_size=1000),
    ]
    models = [
        fit(build("small_cnn", shape, raw.n_classes, 0), t.training_set("original"), recipe, seed=0) for t in tasks
    ]
    print(
        f"small_cnn on 1,000 images of {dataset}, one thread, best of {rounds} interleaved rounds; wanted: at most {WANTED}"
    )
    worst = 0.0
    for name in sorted(methods):
        which = int(methods[name].info["whole_classes"] is True)
        model, request = models[which], request_of(tasks[which], recipe)
        options = {"epochs": 1} if "epochs" in methods[name].options() else {}
        run = lambda: methods[name](model, request, seed=0, device="cpu", **options)  # noqa: E731
        notes = Notes()
        try:
            run()
            with notes.taking():
                run()
        except NotApplicable as error:
            print(f"{name}: left out: {error}")
            continue
        if not any(isinstance(e, Forward) for e in notes.events):
            print(f"{name}: {timed(run):.3f} s, runs no net")
            continue
        ours, bare = (min(found) for found in zip(*[(timed(run), timed(notes.replay)) for _ in range(rounds)]))
        worst = max(worst, ours / bare)
        print(
            f"{name}: {ours:.3f} s, {ours / bare:.2f} times the bare loop ({notes.count('step')} steps,"
            f" {notes.count('backward')} backward, {notes.images(True)} images forward with gradients,"
            f" {notes.images(False)} without)"
        )
    print(f"the highest: {worst:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, *sys.argv[2:])
