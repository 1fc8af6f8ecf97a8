"""Unlearning methods with the bugs of public code: each contract must fail on its mutant."""

import copy

import torch

from unlearnkit.registry import Entry
from unlearnkit.train import fit, minimise


def unlearns_in_place(model, task, *, seed, device="auto"):
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    task.losses(model, task.forget).mean().backward()
    sgd.step()
    return copy.deepcopy(model)


def student_never_moves(model, task, *, seed, device="auto"):
    student = copy.deepcopy(model)
    sgd = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    task.losses(student, task.forget).mean().backward()
    sgd.step()
    return student


def shadow_class_stays(model, task, *, seed, device="auto"):
    model = copy.deepcopy(model)
    model.head = torch.nn.Linear(model.head.in_features, model.head.out_features + 1)
    return model.eval()


def global_seed(model, task, *, seed, device="auto"):
    batch = task.retain[torch.randperm(len(task.retain))[:20]]
    return minimise(model, lambda net: iter([task.losses(net, batch).mean()]), lr=0.1)


def retrains_on_everything(model, task, *, seed, device="auto"):
    everything = type(task.retain)(torch.cat([task.retain.x, task.forget.x]), torch.cat([task.retain.y, task.forget.y]))
    return minimise(model, lambda net: iter([task.losses(net, everything).mean()]), lr=0.1)


def retrains_last_layer(model, task, *, seed, device="auto"):
    model = copy.deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.head.reset_parameters()
    return fit(model, task.retain, task.recipe, seed=seed)


def mutant(function, **info):
    return Entry("method", function.__name__, function, info)


BY_CONTRACT = {
    "input_is_untouched": mutant(unlearns_in_place),
    "something_moves": mutant(student_never_moves),
    "output_keeps_its_shape": mutant(shadow_class_stays),
    "seed_decides": mutant(global_seed),
    "forget_set_stays_unread": mutant(retrains_on_everything, reads_forget_set=False),
}
