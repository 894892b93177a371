"""Epochs and steps: no image is lost, and fractions of epochs are exact."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.study.steps import EpochClock

from .study_builders import IMAGENET_IMAGES

SIZES = st.integers(1, 40_000)
IMAGES = st.integers(40_000, 2_000_000)


@pytest.mark.parametrize("size, steps", [(3840, 333), (7680, 166), (15360, 83), (23040, 55), (30720, 41)])
def test_posters_epochs_have_floor_of_images_over_size_steps(size, steps):
    assert EpochClock(IMAGENET_IMAGES, size, "drop").steps_until(1) == steps


def test_drop_leaves_out_1_7_percent_of_imagenet_at_30720():
    clock = EpochClock(IMAGENET_IMAGES, 30720, "drop")
    assert clock.images_per_epoch == 41 * 30720
    assert round(100 * (1 - clock.images_per_epoch / IMAGENET_IMAGES), 1) == 1.7


@given(IMAGES, SIZES, st.integers(0, 100))
def test_whole_epochs_of_drop_are_whole_multiples_of_one(images, size, epochs):
    clock = EpochClock(images, size, "drop")
    assert clock.steps_until(epochs) == epochs * (images // size)


@given(IMAGES, SIZES, st.integers(0, 100))
def test_whole_epochs_of_carry_leave_less_than_a_mini_batch_over(images, size, epochs):
    steps = EpochClock(images, size, "carry").steps_until(epochs)
    assert 0 <= epochs * images - steps * size < size


@given(IMAGES, SIZES, st.integers(0, 100_000), st.sampled_from(["drop", "carry"]))
def test_thousandths_of_epochs_are_exact(images, size, thousandths, last_batch):
    clock = EpochClock(images, size, last_batch)
    assert clock.steps_until(thousandths / 1000) == Fraction(thousandths, 1000) * clock.images_per_epoch // size


@given(st.integers(10**8, 10**9), st.integers(1, 64), st.integers(0, 1000))
def test_tenths_of_epochs_are_exact_on_a_thousand_million_images(images, size, tenths):
    assert EpochClock(images, size, "carry").steps_until(tenths / 10) == Fraction(tenths, 10) * images // size


@pytest.mark.parametrize("exponent", [1 / 3, 0.333333333333333])
def test_an_epoch_that_rounding_made_too_short_counts_as_whole(exponent):
    assert 5 * 64**exponent < 20
    assert EpochClock(1000, 10, "drop").steps_until(5 * 64**exponent) == 2000


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 4), st.sampled_from(["drop", "carry"]))
def test_steps_walk_through_epochs_image_by_image(images, size, epochs, last_batch):
    if size > images:
        return
    clock = EpochClock(images, size, last_batch)
    steps = clock.steps_until(epochs)
    stream = [clock.epoch_position(step, offset) for step in range(steps) for offset in range(size)]
    whole = [(epoch, position) for epoch in range(epochs) for position in range(clock.images_per_epoch)]
    assert stream == whole[: len(stream)]
    assert len(whole) - len(stream) < (size if last_batch == "carry" else 1)


def test_carry_puts_the_rest_of_an_epoch_into_the_next_ones_first_mini_batch():
    clock = EpochClock(10, 4, "carry")
    assert [clock.epoch_position(2, offset) for offset in range(4)] == [(0, 8), (0, 9), (1, 0), (1, 1)]


def test_drop_starts_every_epoch_with_a_new_mini_batch():
    clock = EpochClock(10, 4, "drop")
    assert clock.epoch_position(1, 3) == (0, 7)
    assert clock.epoch_position(2, 0) == (1, 0)
