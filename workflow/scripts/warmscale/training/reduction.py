"""Averaging gradients over ranks, once a step, in their own precision.

DeepSpeed's stage 0 reduces in fp32 at best, whatever the gradients are, and one bucket at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

BUCKET_BYTES = 25 * 2**20
"""As large as DistributedDataParallel's: small enough for several to be under way."""


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its average over ranks; a collective."""
    if dist.get_world_size() == 1:
        return
    under_way = []
    for bucket in buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = _flatten_dense_tensors(bucket)
        under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in under_way:
        work.wait()
        flat /= dist.get_world_size()
        torch._foreach_copy_(bucket, list(_unflatten_dense_tensors(flat, bucket)))


def buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Tensors in order, as many at a time as fit into BUCKET_BYTES, at least one."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.nbytes > BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
