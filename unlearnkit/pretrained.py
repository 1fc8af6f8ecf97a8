"""Any torchvision classifier as a ruler: features by which the similarity of two images can be measured."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.errors import BadValue, unknown

# of ImageNet, which all of torchvision's weights were trained with
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Ruler(nn.Module):
    """features(x): what the last linear layer of `model` is fed. x: (n, 1 or 3, height, width) in [0, 1]; (n, width)."""

    def __init__(self, model: nn.Module, side: int):
        super().__init__()
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise BadValue(
                f"{type(model).__name__} has no linear layer: which of its outputs are features is not clear"
            )
        self.model, self.head, self.side = model, linear[-1], side

    def features(self, x: Tensor) -> Tensor:
        caught = []
        hook = self.head.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
        try:
            x = F.interpolate(x.expand(-1, 3, -1, -1), (self.side, self.side), mode="bilinear", antialias=True)
            mean, deviation = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (MEAN, DEVIATION))
            self.model((x - mean) / deviation)
        finally:
            hook.remove()
        return caught[-1].flatten(1)


def pretrained(name: str, *, weights: str | None = "DEFAULT", side: int = 224) -> Ruler:
    """torchvision's model `name` with its default weights, downloaded at the first call (weights=None: random ones).

    side: images are enlarged to side x side pixels. Raises UnknownName with the nearest name, BadValue without network.
    """
    from torchvision import models

    if name not in models.list_models(module=models):
        raise unknown("torchvision classifier", name, models.list_models(module=models))
    try:
        return Ruler(models.get_model(name, weights=weights), side).eval()
    except OSError as error:
        raise BadValue(
            f"the weights of {name} are not in torch's cache and cannot be downloaded ({error}): connect to the network "
            "once, or measure by the original model"
        ) from error
