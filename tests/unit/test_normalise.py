"""Pixels as the model sees them."""

import numpy as np
import pytest
import torch

from warmscale.training.evaluate import Normalise

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_pixels_are_normalised_a_channel_each(dtype, memory_format):
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (5, 3, 7, 9), dtype=np.uint8))
    before = pixels.clone()
    normalise = Normalise.from_values(MEAN, STD, torch.device("cpu"), dtype)
    seen = normalise(pixels.contiguous(memory_format=memory_format))
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (MEAN, STD))
    assert seen.dtype == dtype
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(
        seen.double(), (pixels.double() / 255 - mean) / std, atol=3e-6 if dtype == torch.float32 else 1e-14
    )
    assert torch.equal(pixels, before)
