"""Closed forms of the learning rate, at every step around every boundary, against the documentation's own words."""

import itertools

import pytest
from hypothesis import given, settings

from warmscale.study.rates import closed_form, peak_lr, resolve_schedule, total_epochs, warmup_steps
from warmscale.study.schedule import Schedule

from .study_builders import IMAGENET_IMAGES, make_recipe, oracle, recipes, run_of

POSTER = {
    "epochs": 90,
    "workers": 240,
    "mini_batch_size": 30720,
    "base_lr": 0.0125,
    "warmup_epochs": 5,
    "decay.epochs": (30, 60, 80),
}
SHAPES = {
    "warmup_shape": ["gradual", "constant", "none"],
    "warmup_start": ["base_lr", "zero", 0.25],
    "warmup_step": ["t+1", "t"],
    "warmup_counts": ["inside", "before"],
    "decay.kind": ["step", "cosine", "polynomial"],
    "last_batch": ["drop", "carry"],
    "lr_scaling.rule": ["none", "linear", "sqrt"],
    "warmup_epochs": [2, 2.5],
}


def poster_run(**leaves):
    return run_of(IMAGENET_IMAGES, **POSTER | leaves)


def rates(recipe, images=1000):
    schedule = resolve_schedule(recipe, images)
    return [schedule.learning_rate(step) for step in range(schedule.total_steps)]


@pytest.mark.parametrize("kind", SHAPES["decay.kind"])
@pytest.mark.parametrize("shape", SHAPES["warmup_shape"])
def test_rate_is_the_documented_one_at_every_step_of_every_combination(kind, shape):
    names = [name for name in SHAPES if name not in ("decay.kind", "warmup_shape")]
    for values in itertools.product(*(SHAPES[name] for name in names)):
        leaves = dict(zip(names, values, strict=True)) | {"decay.kind": kind, "warmup_shape": shape}
        recipe = make_recipe(mini_batch_size=96, **leaves)
        expected = [oracle(recipe, 1000, step) for step in range(len(rates(recipe)))]
        assert rates(recipe) == pytest.approx(expected, rel=1e-9, abs=1e-12), leaves


@settings(max_examples=300)
@given(recipes())
def test_resolved_schedule_is_the_closed_form_at_every_step(drawn):
    recipe, images = drawn
    expected = [closed_form(recipe, images, step) for step in range(len(rates(recipe, images)))]
    assert rates(recipe, images) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert expected == pytest.approx(
        [oracle(recipe, images, step) for step in range(len(expected))], rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("size, peak", [(30720, 12.0), (7680, 3.0), (3840, 1.5), (15360, 6.0), (23040, 9.0)])
def test_linear_scaling_peaks_at_the_posters_rates(size, peak):
    run = poster_run(mini_batch_size=size)
    assert (run.peak_lr, run.scale_factor) == (peak, size / 32)
    assert Schedule.from_json(run.content["schedule"]).peak()[0] == peak


def test_unscaled_rate_is_base_lr_until_the_first_milestone():
    recipe = make_recipe(**POSTER | {"lr_scaling.rule": "none"})
    assert rates(recipe, IMAGENET_IMAGES)[: 30 * 41] == [0.0125] * (30 * 41)
    assert peak_lr(recipe) == 0.0125


@pytest.mark.parametrize("workers, peak", [(240, 3.0), (60, 0.75)])
@pytest.mark.parametrize("size", [3840, 7680, 15360, 23040, 30720])
def test_scaling_by_workers_has_one_peak_for_all_sizes(workers, peak, size):
    assert poster_run(mini_batch_size=size, workers=workers, **{"lr_scaling.of": "workers"}).peak_lr == peak


@pytest.mark.parametrize("rule, peak", [("none", 0.1), ("linear", 1.6), ("sqrt", 0.4), ("power", 0.8)])
def test_peak_is_base_lr_times_a_power_of_the_scale_factor(rule, peak):
    exponent = {"lr_scaling.exponent": 0.75} if rule == "power" else {}
    recipe = make_recipe(mini_batch_size=512, **{"lr_scaling.rule": rule}, **exponent)
    assert peak_lr(recipe) == pytest.approx(peak, rel=1e-15)


def test_warmup_of_horovod_starts_one_increment_above_base_lr_and_ends_at_peak():
    lr = rates(make_recipe(**POSTER), IMAGENET_IMAGES)
    increment = (12.0 - 0.0125) / 205
    assert lr[0] == pytest.approx(0.0125 + increment, rel=1e-12)
    assert lr[203] == pytest.approx(12.0 - increment, rel=1e-12)
    assert lr[204] == pytest.approx(12.0, rel=1e-12)
    assert lr[205] == lr[30 * 41 - 1] == pytest.approx(12.0, rel=1e-12)


def test_warmup_of_goyal_starts_at_base_lr_and_reaches_peak_after_its_last_step():
    lr = rates(make_recipe(**POSTER, warmup_step="t"), IMAGENET_IMAGES)
    assert lr[0] == 0.0125
    assert lr[204] == pytest.approx(12.0 - (12.0 - 0.0125) / 205, rel=1e-12)
    assert lr[205] == pytest.approx(12.0, rel=1e-12)


def test_constant_warmup_jumps_to_the_peak():
    lr = rates(make_recipe(**POSTER, warmup_shape="constant"), IMAGENET_IMAGES)
    assert (lr[0], lr[204], lr[205]) == (0.0125, 0.0125, 12.0)


def test_decay_falls_at_the_first_step_of_each_milestone_epoch():
    lr = rates(make_recipe(**POSTER), IMAGENET_IMAGES)
    for epoch, before, after in [(30, 12.0, 1.2), (60, 1.2, 0.12), (80, 0.12, 0.012)]:
        assert lr[epoch * 41 - 1 : epoch * 41 + 1] == pytest.approx([before, after], rel=1e-12)
    assert len(lr) == 90 * 41


@pytest.mark.parametrize("counts, epochs_at_peak, epochs", [("inside", 10, 90), ("before", 30, 110)])
def test_warmup_of_20_epochs_shortens_the_peak_only_when_it_counts_inside(counts, epochs_at_peak, epochs):
    lr = rates(make_recipe(**POSTER | {"warmup_epochs": 20, "warmup_counts": counts}), IMAGENET_IMAGES)
    at_peak = sum(rate == pytest.approx(12.0, rel=1e-9) for rate in lr)
    assert at_peak == epochs_at_peak * 41 + 1  # and the last step of warmup
    assert len(lr) == epochs * 41


def test_fraction_of_warmup_before_training_is_trained_to_the_end_of_its_epoch():
    recipe = make_recipe(warmup_epochs=2.5, warmup_counts="before")
    assert total_epochs(recipe) == 13
    assert len(rates(recipe)) == 130


@pytest.mark.parametrize("kind", ["cosine", "polynomial"])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_rate_stays_at_the_final_one_when_training_is_longer_than_the_decay(kind, power):
    decay = {"decay.kind": kind, "decay.power": power, "decay.final_fraction": 0.1}
    lr = rates(make_recipe(warmup_epochs=2.5, warmup_counts="before", base_lr=1.0, reference_batch_size=100, **decay))
    assert lr[125:] == pytest.approx([0.1] * 5)
    assert lr[124] > 0.1


def test_cosine_is_half_way_in_the_middle_and_nearly_final_at_the_end():
    lr = rates(
        make_recipe(base_lr=1.0, reference_batch_size=100, **{"decay.kind": "cosine", "decay.final_fraction": 0.2})
    )
    assert (lr[0], lr[50]) == pytest.approx((1.0, 0.6))
    assert 0.2 < lr[99] < 0.201


def test_polynomial_of_power_1_is_a_line():
    lr = rates(make_recipe(base_lr=1.0, reference_batch_size=100, **{"decay.kind": "polynomial", "decay.power": 1.0}))
    assert lr == pytest.approx([1 - step / 100 for step in range(100)])


@pytest.mark.parametrize("size, epochs", [(7680, 5.0), (15360, 10.0), (30720, 20.0), (3840, 2.5)])
def test_legw_doubles_warmup_and_scales_the_peak_by_the_square_root_when_the_mini_batch_doubles(size, epochs):
    rule = {"base_epochs": 5, "base_mini_batch_size": 7680, "exponent": 1}
    run = poster_run(mini_batch_size=size, warmup_epochs=rule, **{"lr_scaling.rule": "sqrt"})
    assert run.recipe.warmup_epochs == epochs
    assert run.warmup_steps == warmup_steps(run.recipe, IMAGENET_IMAGES) == int(epochs * (IMAGENET_IMAGES // size))
    assert run.peak_lr == pytest.approx(0.0125 * (size / 32) ** 0.5, rel=1e-15)


def test_posters_optima_are_a_warmup_rule_with_exponent_one_half():
    rule = {"base_epochs": 5, "base_mini_batch_size": 7680, "exponent": 0.5}
    assert poster_run(mini_batch_size=30720, warmup_epochs=rule).recipe.warmup_epochs == 10


@pytest.mark.parametrize("step", [-1, 100])
def test_a_step_outside_the_training_has_no_rate(step):
    schedule = resolve_schedule(make_recipe(), 1000)
    with pytest.raises(IndexError, match=rf"step {step} is outside a training of 100 steps"):
        schedule.learning_rate(step)


def test_peak_is_the_highest_rate_and_the_first_step_that_has_it():
    schedule = resolve_schedule(make_recipe(warmup_epochs=2), 1000)
    assert schedule.peak() == (pytest.approx(0.1 * 100 / 32), 19)
    assert resolve_schedule(make_recipe(), 1000).peak()[1] == 0
