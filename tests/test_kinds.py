"""Perturbations, and similarity levels met by searching their strength. Every registered perturbation is tested
here."""

import re
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_builders import to_bytes
from data_builders.build_task import build_task
from data_builders.perturbations import perturbations
from data_builders.similarity import MEASURES, psnr, ssim
from data_builders.similarity_level import parse, search
from data_builders.task import unit
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue, UnknownName

pytestmark = pytest.mark.slow

MADE = [name for name, entry in perturbations.items() if not entry.info["natural"]]
EXACT = {"exact_duplicate"}  # has no strength, and its copies do not differ
VARIED = [name for name in MADE if name not in EXACT]
NEAR = {"jpeg": 0.05}  # quality 95 at strength 0; else what bilinear sampling rounds off
SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 28, 28), (1, 12, 10), (3, 12, 10)]
FILLERS = 40


def picture(shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """(channels, height, width) uint8, textured: waves of several lengths, no two alike, bright and dark parts."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0 : shape[1], 0 : shape[2]]
    waves = np.zeros(shape[1:])
    for length in (3, 5, 9, 17):
        turn, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        waves += np.sin(2 * np.pi / length * (down * np.cos(turn) + across * np.sin(turn)) + phase)
    channels = [waves * rng.uniform(0.6, 1) + rng.uniform(-0.5, 0.5) for _ in range(shape[0])]
    return torch.from_numpy((np.stack(channels) / 7 + 0.5).clip(0, 1) * 255).round().to(torch.uint8)


@cache
def fillers(shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.stack([picture(shape, 100 + i) for i in range(FILLERS)])


def make(name, image, strength, copies=3, seed=0, others=None, **options):
    """Copies of a uint8 image, as floats; strength: one number for all, or (copies,)."""
    at = torch.full((copies,), float(strength)) if isinstance(strength, int | float) else strength
    others = fillers(tuple(image.shape)) if others is None else others
    return perturbations[name](unit(image), at, generator(seed), others, **options)


def closeness(name, images, strength):
    """Mean ssim of two copies of each."""
    similarities = [
        ssim(i.expand(2, *i.shape), to_bytes(make(name, i, strength, 2, seed=s))) for s, i in enumerate(images)
    ]
    return float(torch.stack(similarities).mean())


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=12, deadline=None)
@given(st.sampled_from(SHAPES), st.floats(0, 1, width=32), st.integers(1, 3), st.integers(0, 100))
def test_copies_are_images_of_the_same_shape(name, shape, strength, copies, seed):
    made = make(name, picture(shape, seed), 0 if name in EXACT else strength, copies, seed)
    assert made.shape == (copies, *shape) and made.dtype == torch.float32
    assert made.isfinite().all()
    assert ((made >= 0) & (made <= 1)).all()
    assert (unit(to_bytes(made)) - made).abs().max() < 0.51 / 255


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10)])
@pytest.mark.parametrize("name", MADE)
def test_no_copies_are_none(name, shape):
    assert make(name, picture(shape), 0, copies=0).shape == (0, *shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MADE)
def test_the_same_generator_makes_the_same_copies(name, shape):
    image, strength = picture(shape), 0 if name in EXACT else 0.4
    first = make(name, image, strength)
    assert torch.equal(first, make(name, image, strength))
    if name not in EXACT:
        assert not torch.equal(first, make(name, image, strength, seed=1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MADE)
def test_neither_image_nor_fillers_are_changed(name, shape):
    image, others = unit(picture(shape)), fillers(shape)
    before, fillers_before = image.clone(), others.clone()
    made = perturbations[name](image, torch.full((3,), 0.0 if name in EXACT else 0.5), generator(0), others)
    made.zero_()  # nor are the copies views of them
    assert torch.equal(image, before) and torch.equal(others, fillers_before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MADE)
def test_strength_0_is_all_but_the_image(name, shape):
    image = unit(picture(shape))
    off = (make(name, picture(shape), 0) - image).abs()
    if name in NEAR:
        assert off.mean() < NEAR[name]
    else:
        assert off.max() < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", VARIED)
def test_more_strength_is_less_similar(name, channels):
    images = [picture((channels, 28, 28), seed) for seed in range(6)]
    assert closeness(name, images, 0.8) < closeness(name, images, 0.2) - 0.05


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", VARIED)
def test_two_copies_of_one_strength_differ(name, shape):
    a, b = to_bytes(make(name, picture(shape), 0.3, 2))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10)])
@pytest.mark.parametrize("name", MADE)
def test_a_copy_depends_on_its_number_alone(name, shape):
    """The first copies of many are those of few."""
    at = torch.zeros(5) if name in EXACT else torch.tensor([0.1, 0.9, 0.5, 0.3, 0.7])
    many, one, two = (make(name, picture(shape), s) for s in (at, at[:1], at[:2]))
    assert torch.equal(many[:1], one) and torch.equal(many[:2], two)


@pytest.mark.parametrize("name", MADE)
def test_the_strength_of_one_copy_leaves_the_others_alone(name):
    weak = torch.zeros(4) if name in EXACT else torch.full((4,), 0.3)
    mixed = weak.clone()
    mixed[1] = 0.0 if name in EXACT else 0.9
    a, b = (make(name, picture((3, 12, 10)), s) for s in (weak, mixed))
    assert torch.equal(a[[0, 2, 3]], b[[0, 2, 3]])


masks = given(
    st.sampled_from([(8, 8, 1), (8, 8, 2), (8, 8, 4), (28, 28, 7), (12, 10, 2), (10, 12, 1)]),
    st.sampled_from([1, 3]),
    st.floats(0, 1),  # share of black blocks
    st.integers(0, 1000),
    st.floats(0, 1, width=32),
    st.floats(0, 1, width=32),
)


def blocks_of(x: torch.Tensor, block: int) -> torch.Tensor:
    """(n, channels, height, width) -> (n, blocks, pixels of a block)."""
    cut = x.unfold(2, block, block).unfold(3, block, block)  # (n, channels, rows, columns, block, block)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def spotted(height, width, block, channels, black, seed) -> torch.Tensor:
    """A bright image, some blocks of which are black."""
    rng = generator(seed, "spotted")
    image = torch.randint(1, 256, (channels, height, width), generator=rng, dtype=torch.uint8)
    dark = torch.rand(height // block, width // block, generator=rng) < black
    return image * ~dark.repeat_interleave(block, 0).repeat_interleave(block, 1)


@settings(max_examples=60, deadline=None)
@masks
def test_block_mask_blackens_so_many_whole_blocks(size, channels, black, seed, strength, _):
    height, width, block = size
    image = spotted(*size, channels, 0.0, seed)
    n = height * width // block**2
    made = make("block_mask", image, strength, 4, seed, block=block)
    dark = blocks_of(made, block) == 0
    masked = dark.all(2)
    assert torch.equal(masked, dark.any(2))  # whole blocks
    for count in masked.sum(1).tolist():
        if 0 < strength * n < 0.5:
            assert count == 1
        else:
            assert abs(count - strength * n) <= 0.5 + 1e-4
    kept = ~masked[..., None].expand_as(dark)
    assert torch.equal(blocks_of(made, block)[kept], blocks_of(unit(image).expand(4, -1, -1, -1), block)[kept])


@settings(max_examples=80, deadline=None)
@masks
def test_weaker_masks_are_within_stronger_ones_on_black_images_too(size, channels, black, seed, a, b):
    image = spotted(*size, channels, black, seed)
    weak, strong = (make("block_mask", image, s, 6, seed, block=size[2]) for s in sorted((a, b)))
    assert (strong <= weak).all()


@settings(max_examples=80, deadline=None)
@masks
def test_a_mask_is_never_the_target(size, channels, black, seed, strength, _):
    image = spotted(*size, channels, black, seed)
    assume(image.any() and strength > 0)
    made = to_bytes(make("block_mask", image, strength, 6, seed, block=size[2]))
    assert (made != image).flatten(1).any(1).all()
    assert ((made == image) | (made == 0)).all()


def test_one_bright_pixel_is_what_a_mask_hits():
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    image[0, 5, 2] = 1
    assert not make("block_mask", image, 0.01, 20).any()


def test_a_black_image_can_be_masked():
    black = torch.zeros(1, 8, 8, dtype=torch.uint8)
    assert not make("block_mask", black, 0.5).any()


@pytest.mark.parametrize("block", [0, -1, 3, 5, 9])
def test_a_block_must_divide_the_image(block):
    with pytest.raises(BadValue, match=f"block={block} does not divide 8x8; use one of \\[1, 2, 4, 8\\]"):
        make("block_mask", picture((1, 8, 8)), 0.3, block=block)
    with pytest.raises(BadValue, match="12x10; use one of \\[1, 2\\]"):
        make("block_mask", picture((1, 12, 10)), 0.3, block=4)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1, width=32), st.sampled_from(SHAPES))
def test_mixup_is_the_weighted_mean(strength, shape):
    image, other = picture(shape), picture(shape, 9)
    made = make("mixup", image, strength, 2, others=other[None])
    mean = (1 - strength) * image.double() / 255 + strength * other.double() / 255
    assert (made - mean).abs().max() < 1e-6


def test_mixup_takes_many_fillers():
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    others = torch.arange(1, 11, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    made = to_bytes(make("mixup", image, 1.0, 200, others=others))
    assert {int(m.unique()) for m in made} == set(range(1, 11))


def test_mixup_needs_a_filler():
    with pytest.raises(BadValue, match="there are none: use a larger pool"):
        make("mixup", picture((1, 8, 8)), 0.3, others=torch.empty(0, 1, 8, 8, dtype=torch.uint8))


def test_exact_duplicates_are_exact_and_have_no_strength():
    image = picture((3, 12, 10))
    assert torch.equal(to_bytes(make("exact_duplicate", image, 0, 4)), image.expand(4, -1, -1, -1))
    with pytest.raises(BadValue, match="strength must be 0"):
        make("exact_duplicate", image, torch.tensor([0.0, 0.1]))


def test_a_half_turn_of_the_scale_is_45_degrees_give_or_take_a_fifth():
    """A bar from the centre to the right, turned: where its end comes to lie."""
    image = torch.zeros(1, 41, 41, dtype=torch.uint8)
    image[0, 19:22, 21:] = 255
    down, across = np.mgrid[-20:21, -20:21]
    made = make("rotation", image, 0.5, 40).squeeze(1).double()
    angles = torch.atan2((made * torch.tensor(down)).sum((1, 2)), (made * torch.tensor(across)).sum((1, 2)))
    degrees = angles.rad2deg()
    assert ((degrees.abs() > 34) & (degrees.abs() < 56)).all()
    assert (degrees > 0).any() and (degrees < 0).any()


def test_a_rotation_keeps_the_proportions_of_an_image_that_is_not_square():
    """A disc stays a disc."""
    down, across = np.mgrid[-15:16, -25:26]
    image = torch.from_numpy((down**2 + across**2 < 100) * 255)[None].to(torch.uint8)
    assert (make("rotation", image, 0.5, 6) - unit(image)).abs().mean() < 0.02


# ---- degrees


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("ssim", BadValue, "say 'ssim~0.6', got 'ssim'"),
        ("ssim~", BadValue, "got 'ssim~'"),
        ("ssim~high", BadValue, "got 'ssim~high'"),
        ("0.6", BadValue, "got '0.6'"),
        ("ssm~0.6", UnknownName, "Did you mean 'ssim'"),
        ("~0.6", UnknownName, "Known: pixel_cosine, psnr, ssim"),
    ],
)
def test_a_degree_that_cannot_be_read_is_named(text, error, message):
    with pytest.raises(error, match=message):
        parse(text)


def test_a_degree_is_a_measure_and_a_number():
    similarity_level = parse(" psnr ~ 21.5 ")
    assert (similarity_level.name, similarity_level.value, similarity_level.measure) == ("psnr", 21.5, MEASURES["psnr"])
    assert similarity_level.met(torch.tensor([20.9, 21.0, 22.0, 22.1])).tolist() == [False, True, True, False]


def maker(name, image, seed=0, **options):
    """As build_task makes copies: the same at another strength, others at another draw."""
    others = fillers(tuple(image.shape))
    return lambda at, draw: perturbations[name](unit(image), at, generator(seed, draw), others, **options)


@pytest.mark.parametrize("name", ["noise", "blur", "colour", "mixup"])
@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from([(1, 8, 8), (1, 28, 28), (3, 12, 10)]), st.integers(1, 4), st.floats(0.05, 0.95), st.integers(0, 99)
)
def test_a_degree_within_reach_is_met_by_every_copy(name, shape, copies, share, seed):
    image = picture(shape, seed)
    made_by = maker(name, image, seed)
    same = image.expand(copies, *shape)
    lowest = float(ssim(same, to_bytes(made_by(torch.ones(copies), 0))).max())
    wanted = parse(f"ssim~{1 - share * (1 - lowest)}")
    made, strengths = search(made_by, image, wanted, copies, name)
    assert made.shape == (copies, *shape) and made.dtype == torch.uint8
    assert (ssim(same, made) - wanted.value).abs().max() <= MEASURES["ssim"].tolerance
    assert ((strengths > 0) & (strengths <= 1)).all()
    assert torch.equal(to_bytes(made_by(strengths, 0)), made)  # they are the strengths of these copies


@pytest.mark.parametrize(
    ("similarity_level", "kind"), [("ssim~0.6", "noise"), ("psnr~20", "noise"), ("pixel_cosine~0.9", "blur")]
)
def test_composed_pairs_have_the_degree(raw, similarity_level, kind):
    task = build_task(
        raw, n_targets=4, copies=3, perturbation=kind, similarity_level=similarity_level, train_size=100, strength=0.0
    )
    name, value = similarity_level.split("~")
    assert (task.pairs[name] - float(value)).abs().max() <= MEASURES[name].tolerance
    assert len(task.pairs) == 24 and task.pairs.strength.nunique() > 1


def test_a_lower_degree_takes_more_strength():
    image = picture((1, 28, 28))
    strengths = [search(maker("noise", image), image, parse(f"ssim~{v}"), 3, "noise")[1] for v in (0.9, 0.6, 0.3)]
    assert (strengths[0] < strengths[1]).all() and (strengths[1] < strengths[2]).all()


@pytest.mark.parametrize(
    ("name", "similarity_level"), [("noise", "ssim~-0.9"), ("colour", "pixel_cosine~-0.5"), ("blur", "ssim~1.5")]
)
def test_a_degree_out_of_reach_says_what_is_within(name, similarity_level):
    image = picture((1, 28, 28))
    with pytest.raises(BadValue, match=f"{name}: {similarity_level.split('~')[0]} ~ ") as caught:
        search(maker(name, image), image, parse(similarity_level), 2, name)
    match = re.search(r"2 of 2 copies.*goes from (-?[\d.]+) to (-?[\d.]+), in steps", str(caught.value))
    high, low = map(float, match.groups())
    asked = float(similarity_level.split("~")[1])
    assert low < high and (asked < low or asked > high)
    within = parse(f"{similarity_level.split('~')[0]}~{(high + low) / 2}")
    assert within.met(within.measure(image.expand(1, -1, -1, -1), search(maker(name, image), image, within, 1, "")[0]))


def test_blocks_too_coarse_for_a_degree_are_named():
    image = picture((1, 8, 8))
    with pytest.raises(BadValue, match="block_mask: ssim ~ 0.6 .* or smaller blocks"):
        search(maker("block_mask", image, block=8), image, parse("ssim~0.6"), 3, "block_mask")


def test_a_copy_out_of_reach_is_drawn_anew():
    """The first draws can do nothing."""
    image = picture((1, 28, 28))
    noisy = maker("noise", image)
    made, _ = search(lambda at, draw: noisy(at * (draw >= 5), draw), image, parse("ssim~0.5"), 3, "noise")
    assert (ssim(image.expand_as(made), made) - 0.5).abs().max() <= MEASURES["ssim"].tolerance


def test_a_flat_image_that_a_kind_leaves_alone_is_named():
    """Its psnr is infinite at every strength, so there is no range to tell."""
    flat = torch.full((1, 8, 8), 90, dtype=torch.uint8)
    assert psnr(flat[None], to_bytes(make("blur", flat, 1.0, 1))).isinf().all()
    with pytest.raises(BadValue, match="blur: psnr ~ 20 .* cannot be met"):
        search(maker("blur", flat), flat, parse("psnr~20"), 2, "blur")


def test_no_copies_of_a_degree_are_none():
    image = picture((1, 8, 8))
    made, strengths = search(maker("noise", image), image, parse("ssim~0.5"), 0, "noise")
    assert made.shape == (0, 1, 8, 8) and strengths.shape == (0,)
