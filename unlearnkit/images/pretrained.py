"""Any torchvision classifier as a pretrained feature extractor, to measure the similarity of two images by."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.core.errors import BadValue, unknown
from unlearnkit.images.heads import head_name
from unlearnkit.images.models import torchvision_names

# of ImageNet, which all of torchvision's weights were trained on
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureExtractor(nn.Module):
    """A classifier with the preprocessing that torchvision's weights expect.

    x: (n, 1 or 3, height, width) in [0, 1], enlarged to side x side pixels. Raises BadValue if it has no linear head.
    """

    def __init__(self, model: nn.Module, side: int):
        super().__init__()
        head_name(model)
        self.model, self.side = model, side

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x.expand(-1, 3, -1, -1), (self.side, self.side), mode="bilinear", antialias=True)
        mean, deviation = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (MEAN, DEVIATION))
        return self.model((x - mean) / deviation)


def pretrained(name: str, *, weights: str | None = "DEFAULT", side: int = 224) -> FeatureExtractor:
    """torchvision's model `name` with its default weights, downloaded at the first call (weights=None: random ones).

    side: images are enlarged to side x side pixels. Raises UnknownName with the nearest name, BadValue without network.
    """
    from torchvision import models

    if name not in torchvision_names():
        raise unknown("torchvision classifier", name, torchvision_names())
    try:
        return FeatureExtractor(models.get_model(name, weights=weights), side).eval()
    except OSError as error:
        raise BadValue(
            f"the weights of {name} are not in torch's cache and cannot be downloaded ({error}): connect to the "
            "network once, or measure with the features of the original model"
        ) from error
