"""How training passes go through a model: as it is written, compiled, or captured once as CUDA graphs and replayed.

Compiled and captured passes are for one number of images. Everything else goes through the model as it is written:
validation, and what is tried after memory ran out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .model import ConfigError
from .speed import Speed

Forward = Callable[[torch.Tensor], torch.Tensor]


def speed_up(
    model: nn.Module,
    speed: Speed,
    *,
    shape: tuple[int, int, int, int],
    deterministic: bool,
    precision: contextlib.AbstractContextManager | None = None,
    backend: str = "inductor",
) -> None:
    """Replace the forward pass of a model for training passes of images of this shape.

    `model.forward` is replaced, not the model: hooks around it, names in checkpoints and references stay. Its
    parameters must stay where they are in memory from here on, and hooks on their gradients come later.
    """
    written = model.forward
    passing = written
    if speed.compile != "none":
        passing = _compiled(written, speed.compile, deterministic=deterministic, backend=backend)
    if speed.cuda_graphs:
        with precision or contextlib.nullcontext():
            passing = _captured(model, passing, shape)
    if passing is written:
        return

    def forward(batch: torch.Tensor) -> torch.Tensor:
        is_training_pass = model.training and torch.is_grad_enabled() and batch.shape == shape
        return passing(batch) if is_training_pass else written(batch)

    model.forward = forward


def as_written(model: nn.Module) -> None:
    """Undo `speed_up`."""
    model.__dict__.pop("forward", None)


def own_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give parameters copies of the gradients that a pass made first, before another one follows.

    PyTorch hands over the memory in which it meets a first gradient, and a replayed graph writes there again.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()


def to_channels_last(model: nn.Module) -> None:
    """Let the weights of convolutions lie in memory as the images do."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def plain_layout(model: nn.Module) -> Iterator[None]:
    """Weights in PyTorch's default layout for as long as this lasts.

    DeepSpeed's `initialize` sends them from the first rank as bytes, a view that no other layout allows; afterwards it
    goes by names and references.
    """
    others = [(parameter, parameter.data) for parameter in model.parameters() if not parameter.is_contiguous()]
    plain = [before.contiguous() for _, before in others]
    for (parameter, _), data in zip(others, plain, strict=True):
        parameter.data = data
    try:
        yield
    finally:
        for (parameter, before), data in zip(others, plain, strict=True):
            if parameter.data_ptr() == data.data_ptr():  # else it is in a flat piece, as at ZeRO stage 1
                parameter.data = before.copy_(data)


def _compiled(forward: Forward, mode: str, *, deterministic: bool, backend: str) -> Forward:
    """Compiled at the first pass, which takes a minute for a large model."""
    from torch import _dynamo, _inductor  # the compiler: seconds to import

    if deterministic and hasattr(_inductor.config, "deterministic"):
        _inductor.config.deterministic = True  # kernels are not chosen by time
    compiled = torch.compile(forward, mode=None if mode == "default" else mode, dynamic=False, backend=backend)

    def passing(batch: torch.Tensor) -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        try:
            return compiled(batch)
        except _dynamo.exc.TorchDynamoException as error:
            raise ConfigError(f"placement.compile: {str(error).splitlines()[0]}; use none") from error

    return passing


def _captured(model: nn.Module, forward: Forward, shape: tuple[int, int, int, int]) -> Forward:
    """A forward pass and its backward pass as CUDA graphs, in the precision that holds now.

    To autograd they are one function of images and parameters, so that whatever hangs on the gradients of parameters
    goes on working: averaging over ranks, the audit.
    """
    tracking = (each for each in model.modules() if isinstance(each, _BatchNorm) and each.track_running_stats)
    if any(layer.momentum != 1.0 for layer in tracking):
        raise RuntimeError("BatchNorm layers would keep momenta that RunningStatistics has not set yet")
    like = next(model.parameters())
    images = torch.zeros(shape, dtype=like.dtype, device=like.device).contiguous(memory_format=torch.channels_last)
    buffers = list(model.buffers())
    before = [buffer.clone() for buffer in buffers]  # passes that warm up update running statistics
    with _autocast_without_cache(like.device.type):
        graphed = torch.cuda.make_graphed_callables(_Whole(model, forward), (images,), allow_unused_input=True)
    for buffer, values in zip(buffers, before, strict=True):
        buffer.copy_(values)
    return graphed


class _Whole(nn.Module):
    """A model with another forward pass and without the hooks around it, which run outside of the graph."""

    def __init__(self, model: nn.Module, forward: Forward):
        super().__init__()
        self.model, self._passing = model, forward

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        return self._passing(batch)


def _autocast_without_cache(device_type: str) -> contextlib.AbstractContextManager:
    """The precision that holds, without its cache of weights, which a graph cannot use."""
    if not torch.is_autocast_enabled(device_type):
        return contextlib.nullcontext()
    return torch.autocast(device_type, dtype=torch.get_autocast_dtype(device_type), cache_enabled=False)
