"""A caller's classifier as methods see it, and the checks that it and its samples pass."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from data_builders.task import Samples
from unlearnkit.core.errors import BadValue
from unlearnkit.images.heads import Ensemble


class YourModel(nn.Module):
    """A caller's classifier. x: (n, channels, height, width), seen by it as (n, *shape); logits: (n, classes).

    It hides the attributes of `model`: methods look for some of their own (`blocks()`, `optimiser`).
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.model, self.shape = model, shape

    def forward(self, x: Tensor) -> Tensor:
        out = self.model(x.reshape(len(x), *self.shape))
        return getattr(out, "logits", out)  # transformers, and torchvision's nets with auxiliary heads


def check_model(model: nn.Module, name: str = "model") -> torch.device:
    """The device of a caller's model. Raises BadValue unless it is a module whose weights are finite float32 on one
    device; name: what the caller calls it."""
    if not isinstance(model, nn.Module):
        raise BadValue(f"{name} must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise BadValue(
            f"{name} is a TorchScript module, whose weights are fixed: pass the module that it was made from"
        )
    if not (weights := list(model.parameters())):
        raise BadValue(f"{name} has no weights: there is nothing to unlearn")
    devices = sorted({str(v.device) for v in (*weights, *model.buffers())})
    if "meta" in devices:
        raise BadValue(f"{name} has weights on the meta device, which hold no values: load them first")
    if len(devices) > 1:
        raise BadValue(f"{name} lies on several devices, {' and '.join(devices)}: put it on one, {name}.to('cpu')")
    for key, value in model.named_parameters():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise BadValue(
                f"{name} has weights of {str(value.dtype).removeprefix('torch.')} ({key}), whose rounding hides small "
                f"steps: pass {name}.float(), and convert the result back"
            )
    for key, value in model.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise BadValue(f"{name} holds values that are not finite, in {key}")
    return weights[0].device


def classifier(model: nn.Module, shape: tuple[int, ...]) -> YourModel:
    """A copy in eval mode, all of whose weights may move. shape: that of one sample. Raises BadValue for a model that cannot
    be copied."""
    try:
        copied = copy.deepcopy(model)
    except Exception as error:  # what a module holds is the caller's
        reason = " ".join(str(error).split())[:200]
        raise BadValue(f"model cannot be copied by copy.deepcopy, and must stay as it is: {reason}") from error
    return YourModel(copied.requires_grad_(True), tuple(shape)).eval()


def as_maps(samples: Samples) -> Samples:
    """The same samples, (n, channels, height, width): what methods lay out in memory."""
    x = samples.stored
    return samples if x.ndim == 4 else replace(samples, stored=x.reshape(len(x), -1, 1, 1))


@torch.no_grad()
def n_classes(net: YourModel, samples: Samples, name: str, model_name: str = "model") -> int:
    """The number of logits that the net gives. Raises BadValue if it cannot take the samples or gives something else;
    name, model_name: what the caller calls samples and model."""
    device = next(net.parameters()).device
    try:
        logits = net(samples.x[:2].to(device))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadValue(f"{model_name} cannot take images of shape {net.shape}, as {name} has: {reason}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != min(len(samples), 2):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise BadValue(
            f"{model_name} must give logits (n, classes), and gives {got} for {min(len(samples), 2)} image(s)"
        )
    if logits.shape[1] < 2:
        raise BadValue(f"{model_name} gives one logit for each image: logits of at least two classes are needed")
    if (logits >= 0).all() and (logits.sum(1) - 1).abs().max() < 1e-5:
        raise BadValue(f"{model_name} gives probabilities, which sum to 1, not logits: leave its last softmax out")
    return logits.shape[1]


def check_labels(samples: Samples, classes: int, name: str) -> None:
    """Raises BadValue for a label that has no logit."""
    if (top := int(samples.y.max())) >= classes:
        row = int(samples.y.argmax())
        raise BadValue(
            f"{name}[{row}] has the label {top}, and model gives {classes} logits, for labels 0 to {classes - 1}"
        )


@torch.no_grad()
def missing_head(net: YourModel, samples: Samples) -> str:
    """Why the features of the net are not clear, "" if they are: they enter its last linear layer, which must make the
    logits."""
    if isinstance(net.model, Ensemble):
        return "is an ensemble, which has several"
    linear = [(name, layer) for name, layer in net.model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        return "has no linear layer"
    (name, layer), outputs = linear[-1], []
    hook = layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    logits = net(samples.x[:2].to(next(net.parameters()).device))
    hook.remove()
    if len(outputs) != 1 or not torch.equal(outputs[0], logits):
        return f"has a last linear layer, {name}, that does not make the logits"
    return ""
