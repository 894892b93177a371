"""Buckets of gradients that are averaged over ranks."""

import pytest
import torch
from torch import nn

from warmscale.training.reduction import Bucket

LAYOUTS = {
    "plain": torch.randn(4, 3),
    "transposed": torch.randn(3, 4).t(),
    "channels last": torch.randn(2, 3, 3, 3).contiguous(memory_format=torch.channels_last),
    "channels last in 3-D": torch.randn(2, 3, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d),
    "one number": torch.randn(()),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_gradients_in_a_bucket_lie_in_memory_as_their_parameters_do(name):
    parameter = nn.Parameter(LAYOUTS[name])
    bucket = Bucket([nn.Parameter(torch.randn(5)), parameter])
    bucket.flat.copy_(torch.arange(len(bucket.flat)))
    gradient = bucket.gradients[1]
    assert (gradient.shape, gradient.stride()) == (parameter.shape, parameter.stride())
    assert sorted(gradient.flatten().tolist()) == list(range(5, 5 + parameter.numel()))


def test_a_gradient_has_no_gaps_where_its_parameter_has():
    parameter = nn.Parameter(torch.randn(4, 6)[:, ::2])
    assert Bucket([parameter]).gradients[0].stride() == (3, 1)
