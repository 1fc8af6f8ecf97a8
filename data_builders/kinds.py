"""Kinds of similarity: how a similar sample is made from a target. One small function each, with a strength knob."""

import torch
from torch import Tensor

from unlearnkit.errors import BadValue
from unlearnkit.registry import Registry

kinds = Registry("kind of similarity")


@kinds.register("block_mask", strength="share of blocks set to 0, from 0 to 1", source="P1, arXiv 2601.06938")
def block_mask(image: Tensor, copies: int, strength: float, rng: torch.Generator, *, block: int = 2) -> Tensor:
    """Cut the image into blocks of `block` x `block` pixels and set a random share of them to 0.

    image: (channels, height, width); returns (copies, channels, height, width). P1 speaks of "b x b blocks"; that b is
    the side in pixels is our reading. Decisions of ours: a strength above 0 masks at least one block; a mask that hides
    only black pixels is drawn again, since its copy would be the target itself. From one generator the blocks of a weak
    mask are among those of a stronger one, but only up to the first mask that was drawn again: from there on the two
    have seen other random numbers, and a single copy can be more similar at a higher strength (F1 shows one).
    """
    height, width = image.shape[1:]
    if not 0 <= strength <= 1:
        raise BadValue(f"block_mask: strength is the share of blocks to mask, from 0 to 1, got {strength}")
    if block < 1 or height % block or width % block:
        fits = [b for b in range(1, min(height, width) + 1) if height % b == 0 and width % b == 0]
        raise BadValue(f"block_mask: block={block} does not divide {height}x{width}; use one of {fits}")
    rows, columns = height // block, width // block
    n_masked = max(round(strength * rows * columns), int(strength > 0))
    made = image.repeat(copies, 1, 1, 1)
    for copy in made:
        for _ in range(100):
            order = torch.randperm(rows * columns, generator=rng)
            keep = torch.ones(rows * columns)
            keep[order[:n_masked]] = 0
            pixels = keep.view(rows, columns).repeat_interleave(block, 0).repeat_interleave(block, 1)
            masked = image * pixels
            if not n_masked or not torch.equal(masked, image):
                break
        copy.copy_(masked)
    return made
