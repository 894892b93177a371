"""The order of images: pure functions of seed, epoch and position, the same for every mini-batch size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.study.steps import EpochClock
from warmscale.training.order import model_seed, permutation, sample_ids, stream_positions, uniform

PERMUTATIONS = [[3, 5, 2, 9, 7, 0, 8, 6, 1, 4], [5, 3, 1, 0, 8, 6, 7, 4, 2, 9], [1, 4, 0, 6, 3, 5, 2, 7, 8, 9]]
UNIFORMS = [0.4865326827331814, 0.883619271295318, 0.05735189246718553]
MODEL_SEED = 4463035159081102265
SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.integers(0, 1000), st.integers(1, 300))
def test_an_epoch_has_every_image_once(seed, epoch, images):
    assert sorted(permutation(seed, epoch, images)) == list(range(images))


def test_first_values_are_the_frozen_ones():
    assert permutation(1, 0, 10).tolist() == PERMUTATIONS[0]
    assert permutation(1, 1, 10).tolist() == PERMUTATIONS[1]
    assert permutation(2, 0, 10).tolist() == PERMUTATIONS[2]
    assert uniform(1, 1, (5, 3, 0), 3).tolist() == UNIFORMS
    assert model_seed(1, 7, 2) == MODEL_SEED


def test_order_differs_between_epochs_and_seeds():
    orders = {permutation(seed, epoch, 50).tobytes() for seed in (1, 2, 3) for epoch in range(20)}
    assert len(orders) == 60


def test_order_is_the_same_when_asked_again_or_alone():
    first = permutation(5, 3, 1000).copy()
    permutation.cache_clear()
    assert np.array_equal(permutation(5, 3, 1000), first)


def test_every_place_of_an_epoch_gets_every_image_equally_often():
    # 4,000 epochs of 8 images: 500 expected in each cell, standard deviation 21
    counts = np.zeros((8, 8))
    for epoch in range(4000):
        counts[np.arange(8), permutation(1, epoch, 8)] += 1
    assert np.abs(counts - 500).max() < 100


@given(SEEDS, st.integers(0, 10**6), st.integers(0, 100))
def test_draws_are_in_the_unit_interval_and_belong_to_their_counter(seed, position, epoch):
    draws = uniform(seed, 1, (position, epoch, 0), 41)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.array_equal(uniform(seed, 1, (position, epoch, 0), 7), draws[:7])
    for other in [(position + 1, epoch, 0), (position, epoch + 1, 0)]:
        assert not np.isin(uniform(seed, 1, other, 41), draws).any()
    assert not np.isin(uniform(seed, 0, (position, epoch, 0), 41), draws).any()


def test_draws_of_a_position_do_not_run_into_those_of_the_next():
    # 41 draws are 11 counts of Philox's own counter; the position stands in another word of it
    draws = np.concatenate([uniform(1, 1, (position, 0, 0), 41) for position in range(500)])
    assert len(np.unique(draws)) == len(draws)


@given(
    st.integers(1, 40),
    st.sampled_from(["drop", "carry"]),
    st.integers(1, 3),
    st.sampled_from([1, 2, 3, 4, 6, 12]),
)
def test_every_mini_batch_size_sees_the_same_images_in_the_same_order(images, last_batch, epochs, size):
    images = 12 * images
    clock = EpochClock(images, size, last_batch)
    seen = []
    for step in range(clock.steps_until(epochs)):
        where = stream_positions(step * size, size, clock.images_per_epoch)
        seen += sample_ids(7, *where, images).tolist()
    assert seen == [image for epoch in range(epochs) for image in permutation(7, epoch, images)][: len(seen)]
    assert len(seen) == epochs * images


@given(st.integers(13, 50), st.integers(1, 13), st.integers(1, 3))
def test_carry_sees_every_image_once_an_epoch_even_where_a_mini_batch_spans_two(images, size, epochs):
    clock = EpochClock(images, size, "carry")
    epochs_of, positions = stream_positions(0, clock.steps_until(epochs) * size, clock.images_per_epoch)
    ids = sample_ids(3, epochs_of, positions, images)
    for epoch in range(clock.steps_until(epochs) * size // images):
        assert sorted(ids[epochs_of == epoch]) == list(range(images))


@given(st.sampled_from([1, 2, 4, 5, 10, 20]), st.integers(1, 4), st.integers(0, 30))
def test_shares_of_ranks_and_their_workers_partition_a_mini_batch(ranks, worker_batch_size, step):
    workers, images = 20, 997
    size = workers * worker_batch_size
    whole = sample_ids(5, *stream_positions(step * size, size, images), images)
    share = size // ranks
    starts = [
        step * size + rank * share + turn * worker_batch_size for rank in range(ranks) for turn in range(20 // ranks)
    ]
    parts = [sample_ids(5, *stream_positions(start, worker_batch_size, images), images) for start in starts]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("first, second", [((1, 0, 0), (1, 0, 1)), ((1, 0, 0), (1, 1, 0)), ((1, 0, 0), (2, 0, 0))])
def test_models_draw_from_a_seed_of_their_own_in_every_micro_batch(first, second):
    assert model_seed(*first) != model_seed(*second)
    assert 0 <= model_seed(*first) < 2**63
