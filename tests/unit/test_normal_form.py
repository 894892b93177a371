"""Schedules equal at every step look the same, and only those."""

import itertools
import json
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from warmscale.study.normal_form import normal_form
from warmscale.study.rates import resolve_schedule
from warmscale.study.schedule import Affine, Curve, Schedule

from .study_builders import make_recipe, recipes, run_of

POOL = {
    "epochs": [3, 4],
    "warmup_epochs": [0, 1, 2, 3],
    "warmup_shape": ["gradual", "constant"],
    "warmup_start": ["base_lr", "zero", 0.5, 1.0],
    "warmup_step": ["t+1", "t"],
    "warmup_counts": ["inside", "before"],
    "lr_scaling.rule": ["none", "linear"],
}
DECAYS = [
    {"decay.epochs": ()},
    {"decay.epochs": (1,)},
    {"decay.epochs": (1, 2), "decay.factor": 0.5},
    {"decay.epochs": (1, 2), "decay.factor": 1.0},
    {"decay.kind": "cosine"},
    {"decay.kind": "cosine", "decay.final_fraction": 1.0},
    {"decay.kind": "polynomial", "decay.power": 1.0},
    {"decay.kind": "polynomial", "decay.power": 2.0},
]


def pieces_of(recipe, images=100):
    return resolve_schedule(recipe, images).to_json()


def rates(schedule):
    return [schedule.learning_rate(step) for step in range(schedule.total_steps)]


def equal(first, second):
    return len(first) == len(second) and all(map(lambda a, b: math.isclose(a, b, rel_tol=1e-11), first, second))


@pytest.mark.parametrize("steps_an_epoch", [1, 6])
def test_of_many_recipes_exactly_those_with_equal_rates_have_equal_pieces(steps_an_epoch):
    pieces_by_rates = {}
    for decay, *values in itertools.product(DECAYS, *POOL.values()):
        recipe = make_recipe(mini_batch_size=16, workers=1, **dict(zip(POOL, values, strict=True)), **decay)
        schedule = resolve_schedule(recipe, 16 * steps_an_epoch)
        key = tuple(float(f"{rate:.9g}") for rate in rates(schedule))
        pieces_by_rates.setdefault(key, set()).add(json.dumps(schedule.to_json()))
    different = [pieces for pieces in pieces_by_rates.values() if len(pieces) > 1]
    assert different == []
    all_pieces = [text for pieces in pieces_by_rates.values() for text in pieces]
    assert len(all_pieces) == len(set(all_pieces))
    assert len(all_pieces) > 200


@settings(max_examples=300)
@given(recipes(), recipes())
def test_different_rates_have_different_pieces(first, second):
    a, b = resolve_schedule(*first), resolve_schedule(*second)
    assume(rates(a) != pytest.approx(rates(b), rel=1e-6, abs=0))
    assert a.to_json() != b.to_json()


LIKELY = st.fixed_dictionaries(
    {
        "mini_batch_size": st.sampled_from([10, 20, 50]),
        "epochs": st.sampled_from([4, 9]),
        "warmup_epochs": st.sampled_from([0, 1, 2, 2.5]),
        "warmup_shape": st.sampled_from(["gradual", "constant"]),
        "warmup_step": st.sampled_from(["t+1", "t"]),
        "warmup_counts": st.sampled_from(["inside", "before"]),
        "warmup_start": st.sampled_from(["base_lr", "zero", 0.1]),
        "base_lr": st.sampled_from([0.1, 0.0125, 0.3, 1 / 3]),
        "decay.kind": st.sampled_from(["step", "cosine", "polynomial"]),
        "decay.epochs": st.sampled_from([(), (2,), (2, 3)]),
        "decay.power": st.sampled_from([1.0, 2.0]),
        "decay.final_fraction": st.sampled_from([0.0, 0.01]),
    }
)


@settings(max_examples=200)
@given(LIKELY, st.sampled_from([1, 5]))
def test_two_ways_to_the_same_scaling_have_the_same_pieces(leaves, workers):
    size = leaves["mini_batch_size"]
    linear = {"lr_scaling.rule": "linear", "reference_batch_size": 10}
    ways = [
        linear,
        {"lr_scaling.rule": "power", "lr_scaling.exponent": 1.0, "reference_batch_size": 10},
        {"lr_scaling.of": "workers", "workers": size, "reference_workers": 10},
    ]
    assert len({json.dumps(pieces_of(make_recipe(**{"workers": workers} | leaves | way))) for way in ways}) == 1
    other_reference = {"reference_batch_size": 30, "base_lr": 3 * leaves["base_lr"]}
    assume(leaves["warmup_start"] != "base_lr")
    other = make_recipe(**{"workers": workers} | leaves | linear | other_reference)
    assert pieces_of(other) == pieces_of(make_recipe(**{"workers": workers} | leaves | linear))


@given(LIKELY, st.sampled_from([0, 1, 2, 3.5]))
def test_warmup_from_base_lr_without_scaling_is_no_warmup(leaves, epochs):
    fixed = {"lr_scaling.rule": "none", "warmup_start": "base_lr", "warmup_counts": "inside"}
    warmed, cold = (make_recipe(workers=1, **leaves | fixed | {"warmup_epochs": e}) for e in (epochs, 0))
    if leaves["decay.kind"] == "step" and epochs <= 2:
        assert pieces_of(warmed) == pieces_of(cold)
        assert (
            run_of(100, workers=1, **leaves | fixed | {"warmup_epochs": epochs}).run_id
            == run_of(100, workers=1, **leaves | fixed | {"warmup_epochs": 0}).run_id
        )
    else:
        assert (pieces_of(warmed) == pieces_of(cold)) == equal(
            rates(resolve_schedule(warmed, 100)), rates(resolve_schedule(cold, 100))
        )


@given(LIKELY, st.integers(2, 8), st.sampled_from([0.0, 0.1, 0.25, 0.9]))
def test_a_ramp_of_goyal_is_one_of_horovod_that_is_a_step_shorter_and_starts_higher(leaves, steps, fraction):
    # one step an epoch; t+1 of n steps passes the same rates as t of n - 1 steps from its first rate
    one = leaves | {"mini_batch_size": 100, "workers": 1, "warmup_shape": "gradual", "epochs": 9, "decay.kind": "step"}
    one |= {"decay.epochs": (8.5,), "warmup_counts": "inside"}
    horovod = make_recipe(**one | {"warmup_step": "t+1", "warmup_epochs": steps, "warmup_start": fraction})
    higher = fraction + (1 - fraction) / steps
    goyal = make_recipe(**one | {"warmup_step": "t", "warmup_epochs": steps - 1, "warmup_start": higher})
    assert equal(rates(resolve_schedule(horovod, 100)), rates(resolve_schedule(goyal, 100)))
    assert pieces_of(horovod) == pieces_of(goyal)


@given(LIKELY, st.sampled_from([0.0, 0.5, 1.0, 1 / 3]))
def test_a_warmup_rule_is_the_number_it_gives(leaves, exponent):
    size = leaves["mini_batch_size"]
    rule = {"base_epochs": 1, "base_mini_batch_size": 10, "exponent": exponent}
    number = (size / 10) ** exponent
    assume(number <= leaves["epochs"])
    first, second = (run_of(100, workers=1, **leaves | {"warmup_epochs": w}) for w in (rule, number))
    assert first.run_id == second.run_id


@given(st.sampled_from([1.0, 2.0, 0.5, 3.0]), st.sampled_from([0.0, 0.25]), st.integers(1, 5))
def test_the_rest_of_a_long_polynomial_is_a_short_one_from_where_it_stands(power, start, warmup):
    # inside: the decay of 10 epochs goes on from epoch w; before: a decay of 10 - w epochs from the rate reached there
    left = ((10 - warmup) / 10) ** power
    fixed = {"warmup_epochs": warmup, "warmup_shape": "constant", "lr_scaling.rule": "none", "decay.kind": "polynomial"}
    fixed |= {"mini_batch_size": 10, "workers": 1, "decay.power": power}
    long = make_recipe(**fixed, epochs=10, warmup_start=start, base_lr=0.1)
    short = {"epochs": 10 - warmup, "base_lr": 0.1 * left, "warmup_start": min(start / left, 1.0)}
    assume(start / left <= 1)
    assume(warmup <= 10 - warmup)
    short = make_recipe(**fixed, **short, warmup_counts="before")
    assert equal(rates(resolve_schedule(long, 100)), rates(resolve_schedule(short, 100)))
    assert pieces_of(long) == pieces_of(short)


@given(recipes())
def test_schedule_from_its_json_is_the_same_bit_by_bit(drawn):
    schedule = resolve_schedule(*drawn)
    again = Schedule.from_json(json.loads(json.dumps(schedule.to_json())))
    assert again == schedule
    assert rates(again) == rates(schedule)


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 0.25]))))
def test_affine_pieces_keep_their_rates_and_need_no_more_pieces_than_before(parts):
    affine = [Affine(steps, first, first + (steps - 1) * increment) for steps, first, increment in parts]
    expected = [piece.rate(index) for piece in affine for index in range(piece.steps)]
    schedule = normal_form(affine)
    assert rates(schedule) == pytest.approx(expected)
    assert len(schedule.pieces) <= len(affine)
    single = normal_form([Affine(1, rate, rate) for rate in expected])
    assert single == schedule


def test_two_roundings_of_a_rate_are_one_schedule():
    assert normal_form([Affine(3, 0.1 + 0.2, 0.1 + 0.2)]) == normal_form([Affine(3, 0.3, 0.3)])


def test_a_negative_zero_is_a_zero():
    assert json.dumps(normal_form([Affine(3, -0.0, 0.1)]).to_json()) == json.dumps([[3, 0.0, 0.1]])


@pytest.mark.parametrize("kind, power", [("cosine", 1.0), ("polynomial", 2.0), ("polynomial", 0.5)])
def test_a_curve_takes_in_the_steps_before_it_that_lie_on_it(kind, power):
    whole, rest = Curve(kind, 20, 0, 20, 1.0, 0.0, power), Curve(kind, 18, 2, 20, 1.0, 0.0, power)
    second = whole.rate(1)
    assert normal_form([Affine(1, 1.0, 1.0), Affine(1, second, second)], rest) == normal_form([], whole)
    assert normal_form([Affine(2, 1.0, second)], rest) == normal_form([], whole)
    assert normal_form([Affine(2, 0.5, second)], rest).starts == [0, 1]
