"""Buckets of gradients that are averaged over ranks."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from warmscale.training.reduction import Bucket, sum_alone

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


def test_buckets_are_summed_alone_whatever_they_hold():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        buckets = [Bucket([nn.Parameter(torch.zeros(3))]), Bucket([nn.Parameter(torch.zeros(2))])]
        for value, bucket in enumerate(buckets, 1):
            bucket.flat.fill_(value)
        sum_alone(buckets)
        assert [bucket.gradients[0].tolist() for bucket in buckets] == [[1.0] * 3, [2.0] * 2]  # of one rank
    finally:
        dist.destroy_process_group()
