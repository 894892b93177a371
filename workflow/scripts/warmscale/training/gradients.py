"""Gradients and updates of every Nth step: what happens early in training, observed and never changed.

Of a measured step: the norm of the mini-batch's gradient, averaged over ranks and not clipped yet, its cosine with that
of the step before, and the length of the update over that of the weights. Beside it, of the gradients that single
passes made before anything averaged them, the mean squared norm over the passes of all ranks. With B images in the
mini-batch and b in a pass the two give unbiased estimates (McCandlish et al. 2018, appendix A.1) of the squared length
of the expected gradient, and of the trace of the covariance of the gradients of single images:

    |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)        tr(Sigma) = (|G_b|^2 - |G_B|^2) / (1/b - 1/B)

Their ratio is the noise scale, once each was averaged over steps. BatchNorm lets the gradient of an image depend on the
others of its batch: both are of gradients at this BatchNorm batch, and comparable at equal ones only.

Hooks on parameters are there during measured steps only. Other steps cost nothing, but that before a measured one, of
which a copy of the gradient is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from .engine import Engine

Parts = list[torch.Tensor | None]
"""A gradient, of each trained parameter that has one; times the loss scale of its step."""


@dataclass(frozen=True)
class Observed:
    """What is seen of a measured step between averaging and update."""

    norm: torch.Tensor
    """Of the gradient, as the next two times loss scales."""
    previous_norm: torch.Tensor
    """Of the gradient of the step before; 0 where it is not known."""
    product: torch.Tensor
    """Of the two."""
    weights: list[torch.Tensor]
    """Before the update."""
    squares: torch.Tensor
    """Sum of the squared norms of the gradients of passes, of all ranks once `work` is done."""
    work: dist.Work | None


class Gradients:
    """Measures every Nth step, on all ranks the same. A step: `begin`, passes and update, `finish`."""

    def __init__(
        self, engine: Engine, *, every_steps: int | None, mini_batch_size: int, images_per_pass: int, passes: int
    ):
        """passes: of this rank in a step; every_steps: None measures nothing."""
        self._every, self._big, self._small, self._passes = every_steps, mini_batch_size, images_per_pass, passes
        self._parameters = [parameter for parameter in engine.model.parameters() if parameter.requires_grad]
        self._device = engine.device
        self._hooks: list[Any] = []
        self._pass_norms: list[torch.Tensor] = []
        self._observed: Observed | None = None
        self._kept: tuple[int, Parts] | None = None
        """A step and its gradient, for the next one to be compared with."""
        if every_steps:
            engine.averaged = self._observe

    def is_measured(self, step: int) -> bool:
        """Whether a step, from 0, is."""
        return self._every is not None and step % self._every == 0

    def begin(self, step: int, loss_scale: float) -> None:
        """Before the first pass of a step; loss_scale: what losses are multiplied by in it."""
        self._let_go()
        self._step, self._loss_scale = step, loss_scale
        if self.is_measured(step) and self._small < self._big:
            # hooks of the tensors: they see what one pass made, before it is added to others' or averaged
            self._hooks = [parameter.register_hook(self._see_pass) for parameter in self._parameters]

    def finish(self, *, skipped: bool) -> dict[str, float]:
        """After the update: GRADIENT_COLUMNS of the step; where it is measured, the end of a collective.

        None of them where it is not, or the fp16 scaler skipped the update; without those that cannot be had.
        """
        observed = self._observed
        self._let_go()
        if observed and observed.work:
            observed.work.wait()
        if observed is None or skipped:
            return {}
        change = torch._foreach_sub(self._parameters_now(), observed.weights)
        found = [observed.norm, observed.previous_norm, observed.product, _norm(observed.weights), _norm(change)]
        numbers = torch.stack([number.to(observed.squares) for number in (observed.squares, *found)]).tolist()
        return {name: value for name, value in self._columns(*numbers) if math.isfinite(value)}

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint has to hold for the next step to be measured as without it."""
        return self._kept and {"step": self._kept[0], "parts": self._kept[1]}

    def set_state(self, state: dict[str, Any] | None) -> None:
        """The inverse of `state`, where steps are measured. None, as in older checkpoints: the next has no cosine."""
        self._kept = None
        if state and self._every:
            self._kept = state["step"], [part if part is None else part.to(self._device) for part in state["parts"]]

    def _see_pass(self, gradient: torch.Tensor) -> None:
        self._pass_norms.append(torch.linalg.vector_norm(gradient))

    def _observe(self) -> None:
        """When the gradients are averaged, before they are clipped, unscaled and used."""
        is_measured, is_next = self.is_measured(self._step), self.is_measured(self._step + 1)
        if not (is_measured or is_next):
            return
        gradient = [parameter.grad for parameter in self._parameters]
        if is_measured:
            kept = self._kept[1] if self._kept and self._kept[0] == self._step - 1 else [None] * len(gradient)
            squares, work = self._sum_of_passes()  # while the rest is computed and the update is made
            weights = [weight.clone() for weight in self._parameters_now()]
            self._observed = Observed(_norm(gradient), _norm(kept), _product(gradient, kept), weights, squares, work)
        self._kept = (self._step, [part if part is None else part.clone() for part in gradient]) if is_next else None

    def _sum_of_passes(self) -> tuple[torch.Tensor, dist.Work | None]:
        """Begin to sum over the passes of all ranks; a collective."""
        squares = torch.zeros((), dtype=torch.float64, device=self._device)
        if self._pass_norms:
            squares = torch.stack(self._pass_norms).double().square().sum()
        several = self._small < self._big and dist.get_world_size() > 1
        return squares, dist.all_reduce(squares, async_op=True) if several else None

    def _parameters_now(self) -> list[torch.Tensor]:
        return [parameter.detach() for parameter in self._parameters]

    def _let_go(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._pass_norms, self._observed = [], [], None

    def _columns(
        self, squares: float, norm: float, previous: float, product: float, weights: float, change: float
    ) -> Iterable[tuple[str, float]]:
        """squares: sum of the squared norms of all passes' gradients, of losses divided by the passes of a rank."""
        norm_of_mean = norm / self._loss_scale
        yield "gradient_norm", norm_of_mean
        if norm * previous:
            yield "gradient_cosine", product / (norm * previous)
        if weights:
            yield "update_to_weight", change / weights
        if self._small < self._big:
            mean_square = squares * (self._passes / self._loss_scale) ** 2 * self._small / self._big
            sq, noise = noise_estimates(mean_square, norm_of_mean**2, self._small, self._big)
            yield "gradient_sq", sq
            yield "gradient_noise", noise


def noise_estimates(small_sq: float, big_sq: float, small: int, big: int) -> tuple[float, float]:
    """|G|^2 and tr(Sigma) from mean squared norms of gradients over so many images each (module's text)."""
    return (big * big_sq - small * small_sq) / (big - small), (small_sq - big_sq) / (1 / small - 1 / big)


def _norm(parts: Parts) -> torch.Tensor:  # -> ()
    """Of all numbers together."""
    known = [part for part in parts if part is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(known))) if known else torch.zeros(())


def _product(ours: Parts, theirs: Parts) -> torch.Tensor:  # -> ()
    """Of two vectors in parts; one that is missing is 0."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in pairs]).sum() if pairs else torch.zeros(())
