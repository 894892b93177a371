"""The cost model: a machine's preset, corrected by what was measured on it, and predictions with their intervals.

Least squares on logarithms of times. What a machine's values were before is a penalty with their stated uncertainty, so
values that the measurements say nothing of stay where they were, and unsure. Every shape counts once, however often it
was measured. Residuals share one spread, estimated with a weak prior. An interval has the uncertainty of the values, to
first order, that spread, and what repeats differ by; docs/plan.md has it all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from .hardware import Hardware, Value
from .measured import Measured
from .repeats import Time, repeat_variance, times_of
from .step_time import StepShape, step_time, training_images_per_sec
from .values import FITTED, NUDGE, Array, machine_at, point_of, sds_of, slopes
from .workload import Workload

SPREAD, SPREAD_DOF = 0.08, 2.0
"""Of residuals before there are any: what the step time of a shape differs by from the model's, and what that is worth
in shapes."""
CONFIDENCE = 0.95
"""Of prediction intervals."""
MOVED = 0.9
"""A value counts as fitted when its uncertainty is below this share of what it was."""
ROUNDS = 4
"""Of fitting values with a spread, then the spread with the values: it settles within four."""


@dataclass(frozen=True)
class Prediction:
    """A predicted step time."""

    step_sec: float
    low_sec: float
    """Lower end of the 95 % prediction interval."""
    high_sec: float


@dataclass(frozen=True, eq=False)
class CostModel:
    """What predicts the step times of one workload on one machine."""

    work: Workload
    hardware: Hardware
    """Values that measurements have made surer are marked as fitted."""
    measured: tuple[Measured, ...]
    """What it was fitted to."""
    covariance: Array
    """(values, values): of the logarithms (logits) of FITTED."""
    information: Array
    """(values, values): what the measurements have added to the inverse of the covariance."""
    spread: float
    """Standard deviation of the logarithm of a shape's time around the model's."""
    spread_dof: float
    """Degrees of freedom that it is known with."""
    repeat_variance: float
    """Of one measurement around the middle of its shape's, in logarithms; 0 where nothing was repeated."""
    repeat_dof: float

    @property
    def is_fitted(self) -> bool:
        """Whether it rests on any measurement."""
        return bool(self.measured)

    def predict(self, shape: StepShape, has_input: bool = True) -> Prediction:
        """Step time with its 95 % interval, of one further measurement; without input where images are made up."""
        return _prediction(self, shape, has_input)


@lru_cache(maxsize=4096)  # many runs have the same shape
def _prediction(model: CostModel, shape: StepShape, has_input: bool) -> Prediction:
    work, hardware = model.work, model.hardware

    def log_times(point: Array) -> Array:
        return np.log([step_time(shape, work, machine_at(point, hardware, work), has_input).step_sec])

    slope = slopes(log_times, point_of(hardware, work))[0]
    along = model.covariance @ slope
    variance = slope @ along + model.spread**2 + model.repeat_variance
    # what of it goes with estimated spreads decides the degrees of freedom (Satterthwaite)
    estimated = along @ model.information @ along + model.spread**2
    dof = variance**2 / (estimated**2 / model.spread_dof + model.repeat_variance**2 / model.repeat_dof)
    factor = math.exp(special.stdtrit(dof, (1 + CONFIDENCE) / 2) * math.sqrt(variance))
    middle = step_time(shape, work, hardware, has_input).step_sec
    return Prediction(middle, middle / factor, middle * factor)


def calibrate(work: Workload, hardware: Hardware, measured: Sequence[Measured]) -> CostModel:
    """Fit a machine to what was measured of this workload on it; with nothing of the kind, its preset as it is."""
    used = tuple(each for each in measured if each.is_of(work, hardware))
    times = times_of(used)
    fit = _Fit(times, work, hardware)
    point, spread, dof = fit.before, SPREAD, SPREAD_DOF
    for _ in range(ROUNDS if used else 0):
        point = fit.most_likely(point, spread)
        spread, dof = fit.spread_around(point, spread)
    information, covariance = fit.known(point, spread)
    repeat, repeat_dof = repeat_variance(times)
    return CostModel(
        work=work,
        hardware=_marked(point, hardware, covariance, work, used) if used else hardware,
        measured=used,
        covariance=covariance,
        information=information,
        spread=spread,
        spread_dof=dof,
        repeat_variance=repeat,
        repeat_dof=repeat_dof,
    )


class _Fit:
    """Measured times, the model's for a machine at some point, and what was known of the machine before."""

    def __init__(self, times: Sequence[Time], work: Workload, hardware: Hardware):
        self._times, self._work, self._hardware = times, work, hardware
        self.before, self._sds = point_of(hardware, work), sds_of(hardware, work)
        self._weights = np.array([each.weight for each in times])
        self._observed = self._weights * np.array([each.log for each in times])

    def _modelled(self, point: Array) -> Array:
        machine = machine_at(point, self._hardware, self._work)
        shapes = {(each.shape, each.has_input) for each in self._times}
        steps = {key: step_time(key[0], self._work, machine, key[1]) for key in shapes}
        times = [getattr(steps[each.shape, each.has_input], each.part) for each in self._times]
        return self._weights * np.log(times)

    def most_likely(self, start: Array, spread: float) -> Array:
        """The point that is, given the spread of times around the model."""

        def residuals(point: Array) -> Array:
            return np.concatenate(
                [(self._modelled(point) - self._observed) / spread, (point - self.before) / self._sds]
            )

        return optimize.least_squares(residuals, start, diff_step=NUDGE, x_scale=self._sds).x

    def known(self, point: Array, spread: float) -> tuple[Array, Array]:
        """What the measurements tell of each coordinate (Fisher's information), and the covariance, preset included."""
        slope = slopes(self._modelled, point)
        information = slope.T @ slope / spread**2
        return information, np.linalg.inv(information + np.diag(self._sds**-2))

    def spread_around(self, point: Array, before: float) -> tuple[float, float]:
        """Spread of times around the model at a point, and its degrees of freedom."""
        information, covariance = self.known(point, before)
        decided = float(np.trace(covariance @ information))  # coordinates that measurements decide, not the preset
        dof = SPREAD_DOF + max(0.0, float(np.sum(self._weights**2)) - decided)
        squares = float(np.sum((self._observed - self._modelled(point)) ** 2))
        return math.sqrt((SPREAD_DOF * SPREAD**2 + squares) / dof), dof


def _marked(point: Array, before: Hardware, covariance: Array, work: Workload, used: Sequence[Measured]) -> Hardware:
    """The machine at a point, whose values say which of them are fitted, and how sure they are now."""
    fitted = machine_at(point, before, work)
    shapes = len({each.shape for each in used})
    changed: dict[str, Value] = {}
    for name, variance in zip(FITTED, np.diag(covariance), strict=True):
        value, was = fitted.value(name, work.precision), before.value(name, work.precision)
        if math.sqrt(variance) < MOVED * was.sd:
            source = f"fitted to {len(used)} measurements of {shapes} shapes; {was.provenance} before: "
            source += f"{was.of:.4g}, {was.source}"
            changed[name] = Value(value.of, "fitted", source, math.sqrt(variance))
    fitted = fitted.with_values(changed, work.precision)
    return fitted.with_values(_medians(used, work, fitted), work.precision)


def _medians(used: Sequence[Measured], work: Workload, machine: Hardware) -> dict[str, Value]:
    """What trainings tell beside their steps, directly."""
    training_rate, checkpoint_sec = training_images_per_sec(work, machine), machine.checkpoint_sec.of
    told = {
        "evaluation_speedup": [each.eval_images_per_sec / training_rate for each in used if each.eval_images_per_sec],
        "start_up_sec": [
            each.start_up_sec - each.checkpoints * checkpoint_sec
            for each in used
            if each.start_up_sec and each.start_up_sec > each.checkpoints * checkpoint_sec
        ],
    }
    return {name: _median(found) for name, found in told.items() if found}


def _median(found: Sequence[float]) -> Value:
    """With a spread of its own, before there are any that of all times."""
    middle = float(np.median(found))
    squares = float(np.sum(np.log(np.array(found) / middle) ** 2))
    sd = math.sqrt((SPREAD_DOF * SPREAD**2 + squares) / (SPREAD_DOF + len(found) - 1))
    return Value(middle, "fitted", f"median of {len(found)} trainings", sd)
