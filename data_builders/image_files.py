"""One image file: which files are images, and their pixels as a person sees them."""

import io
import warnings
from functools import cache

import numpy as np
import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue

UNREAD = {
    "BUFR",
    "EPS",
    "GRIB",
    "HDF5",
    "MPEG",
    "WMF",
}  # Pillow knows their names alone, or has other programs run them
SHOT = {"MPO"}  # of several pictures, of which the first is the photograph


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read: all that Pillow itself decodes."""
    from PIL import Image

    Image.init()
    return tuple(sorted(set(Image.OPEN) - UNREAD))


@cache
def endings() -> frozenset[str]:
    """The endings of image files' names, as ".png"."""
    from PIL import Image

    known = formats()
    return frozenset(ending for ending, form in Image.registered_extensions().items() if form in known)


def decode(data: object, name: str) -> Tensor:
    """(channels, height, width) uint8 with 1 or 3 channels. data: the bytes of an image file; name: for messages.

    Turned as its EXIF orientation says; transparent parts are white; a palette becomes colours. Raises BadValue, in one
    line, for what cannot be read, has more than 8 bits a channel, is an animation or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    pixels = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=formats()) as image:
                refusal = _refusal(image)
                if not refusal:
                    pixels = np.array(_upright(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadValue(f"{name} has too many pixels for a training image: {error}") from error
    except Exception as error:  # a decoder of foreign bytes may raise anything
        known = not isinstance(error, UnidentifiedImageError)
        why = f"{type(error).__name__}: {error}" if known else "Pillow knows no such format"
        raise BadValue(f"{name} is not an image that can be read, or is cut off: {why}") from error
    if refusal:
        raise BadValue(f"{name} {refusal}")
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


def _refusal(image) -> str:
    """Why an image that can be read is not taken, "" if it is."""
    if image.mode.startswith(("I", "F")):
        return "has more than 8 bits a channel: convert the images to 8 bits first"
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in SHOT:
        return f"has {frames} pictures: save each as a file of its own"
    return ""


def _upright(image):
    """In mode L or RGB."""
    from PIL import Image, ImageOps

    grey = image.mode in ("1", "L", "LA", "La")
    see_through = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    image = ImageOps.exif_transpose(image)
    if see_through:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)
