import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from data_builders.similarity import pixel_cosine, ssim


@settings(max_examples=25, deadline=None)
@given(st.integers(7, 20), st.integers(7, 20), st.sampled_from([1, 3]), st.integers(0, 2**31))
def test_ssim_is_scikit_images(height, width, channels, seed):
    rng = np.random.default_rng(seed)
    a = rng.random((3, channels, height, width)).astype("float32")
    b = (a + rng.normal(0, rng.random(), a.shape)).clip(0, 1).astype("float32")
    expected = [structural_similarity(x, y, data_range=1.0, channel_axis=0) for x, y in zip(a, b)]
    assert ssim(torch.from_numpy(a), torch.from_numpy(b)).tolist() == pytest.approx(expected, abs=1e-4)


def test_an_image_is_similar_to_itself_and_less_to_its_negative():
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert ssim(x, x).tolist() == pytest.approx([1.0] * 5)
    assert pixel_cosine(x, x).tolist() == pytest.approx([1.0] * 5)
    assert (ssim(x, 1 - x) < 0.5).all()


def test_cosine_closed_form():
    a, b = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    assert pixel_cosine(a, b).item() == pytest.approx(2**-0.5)
