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
which a copy of the gradient is kept. Averaged gradients and weights are the same on all ranks: each rank looks at its
share of the parameters, and one all-reduce adds the shares up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist

from .engine import Engine

Parts = list[torch.Tensor | None]
"""A gradient, of each trained parameter that has one; times the loss scale of its step."""


@dataclass(frozen=True)
class Observed:
    """What a rank sees of a measured step between averaging and update, of its share of the parameters."""

    passes_sq: torch.Tensor
    """Sum of the squared norms of the gradients of its passes, of all parameters; times loss scales, as the next."""
    norm_sq: torch.Tensor
    """Of the gradient."""
    previous_sq: torch.Tensor
    """Of the gradient of the step before; 0 where it is not known."""
    product: torch.Tensor
    """Of the two gradients."""
    weights_sq: torch.Tensor
    weights: list[torch.Tensor]
    """Before the update."""


class Gradients:
    """Measures every Nth step, on all ranks the same. A step: `begin`, passes and update, `finish`."""

    def __init__(
        self, engine: Engine, *, every_steps: int | None, mini_batch_size: int, images_per_pass: int, passes: int
    ):
        """passes: of this rank in a step; every_steps: None measures nothing."""
        self._every, self._big, self._small, self._passes = every_steps, mini_batch_size, images_per_pass, passes
        self._parameters = [parameter for parameter in engine.model.parameters() if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in self._parameters]
        self._share = share_of(sizes, dist.get_rank(), dist.get_world_size())
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
        """After the update: GRADIENT_COLUMNS of the step; where it is measured, a collective.

        None of them where it is not, or the fp16 scaler skipped the update; without those that cannot be had.
        """
        seen = self._observed
        self._let_go()
        if seen is None or skipped:
            return {}
        if seen.weights:  # of more ranks than parameters some have none
            torch._foreach_sub_(seen.weights, self._share_of_weights())
        change_sq = self._square(seen.weights)
        seen_sq = [seen.passes_sq, seen.norm_sq, seen.previous_sq, seen.product, seen.weights_sq]
        numbers = torch.stack([*seen_sq, change_sq])
        if dist.get_world_size() > 1:
            dist.all_reduce(numbers)
        return {name: value for name, value in self._columns(*numbers.tolist()) if math.isfinite(value)}

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
        if is_measured:
            kept = self._kept[1] if self._kept and self._kept[0] == self._step - 1 else [None] * len(self._parameters)
            ours, theirs = ([parts[index] for index in self._share] for parts in (self._gradient(), kept))
            weights = [weight.clone() for weight in self._share_of_weights()]
            self._observed = Observed(
                passes_sq=self._sum(self._pass_norms, power=2),
                norm_sq=self._square(ours),
                previous_sq=self._square(theirs),
                product=self._product(ours, theirs),
                weights_sq=self._square(weights),
                weights=weights,
            )
            self._kept = None
        if is_next:
            self._kept = self._step, [part if part is None else part.clone() for part in self._gradient()]

    def _gradient(self) -> Parts:
        return [parameter.grad for parameter in self._parameters]

    def _share_of_weights(self) -> list[torch.Tensor]:
        return [self._parameters[index].detach() for index in self._share]

    def _square(self, parts: Parts) -> torch.Tensor:  # -> ()
        """Squared norm of all numbers together."""
        known = [part for part in parts if part is not None]
        return self._sum(torch._foreach_norm(known) if known else (), power=2)

    def _product(self, ours: Parts, theirs: Parts) -> torch.Tensor:  # -> ()
        """Of two vectors in parts; one that is missing is 0."""
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
        return self._sum([torch.dot(a.flatten(), b.flatten()) for a, b in pairs])

    def _sum(self, numbers: Sequence[torch.Tensor], power: int = 1) -> torch.Tensor:  # (()) -> ()
        if not numbers:
            return torch.zeros((), dtype=torch.float64, device=self._device)
        return torch.stack(tuple(numbers)).double().pow(power).sum()

    def _let_go(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._pass_norms, self._observed = [], [], None

    def _columns(
        self, passes_sq: float, norm_sq: float, previous_sq: float, product: float, weights_sq: float, change_sq: float
    ) -> Iterable[tuple[str, float]]:
        """Sums over all ranks; passes_sq: of the gradients of losses divided by the passes of a rank."""
        big_sq = norm_sq / self._loss_scale**2
        yield "gradient_norm", math.sqrt(big_sq)
        if norm_sq * previous_sq:
            yield "gradient_cosine", product / (math.sqrt(norm_sq) * math.sqrt(previous_sq))
        if weights_sq:
            yield "update_to_weight", math.sqrt(change_sq / weights_sq)
        if self._small < self._big:
            mean_square = passes_sq * (self._passes / self._loss_scale) ** 2 * self._small / self._big
            sq, noise = noise_estimates(mean_square, big_sq, self._small, self._big)
            yield "gradient_sq", sq
            yield "gradient_noise", noise


def share_of(sizes: Sequence[int], rank: int, ranks: int) -> list[int]:
    """Which parameters of these sizes a rank looks at: about as many numbers on each rank, neighbours together."""
    total, middles = sum(sizes), [end - size / 2 for end, size in zip(accumulate(sizes), sizes, strict=True)]
    return [index for index, middle in enumerate(middles) if int(middle / total * ranks) == rank]


def noise_estimates(small_sq: float, big_sq: float, small: int, big: int) -> tuple[float, float]:
    """|G|^2 and tr(Sigma) from mean squared norms of gradients over so many images each (module's text)."""
    return (big * big_sq - small * small_sq) / (big - small), (small_sq - big_sq) / (1 / small - 1 / big)
