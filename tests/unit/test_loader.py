"""Micro-batches: the same for any number of threads, validation images each once, errors passed on."""

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from warmscale.training.images import open_image, random_crop_flip
from warmscale.training.loader import prefetch, train_batches, val_batches
from warmscale.training.order import permutation
from warmscale.training.tree import DataError

from .test_images import write_split

SIZES = [(30 + number, 50 - number) for number in range(12)]


def batches(images, starts=(0, 4, 8, 12, 16, 20), threads=0, images_per_epoch=12):
    return list(train_batches(images, starts, 4, images_per_epoch=images_per_epoch, data_seed=5, threads=threads))


def equal(first, second):
    return all(
        np.array_equal(a.sample_keys, b.sample_keys)
        and torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_batches(tmp_path, augment, threads):
    images = write_split(tmp_path, SIZES, augment=augment)
    assert equal(batches(images), batches(write_split(tmp_path, SIZES, augment=augment), threads=threads))


def test_a_micro_batch_holds_the_images_at_its_positions_in_channels_last(tmp_path):
    images = write_split(tmp_path, SIZES, augment=True, data_seed=5)
    batch = batches(images)[4]
    ids = permutation(5, 1, 12)[4:8]
    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.tolist() == (ids % 3).tolist()
    expected = [random_crop_flip(open_image(tmp_path / f"{i}.png"), 16, 5, 1, 4 + n) for n, i in enumerate(ids)]
    assert np.array_equal(batch.images.permute(0, 2, 3, 1), np.stack(expected))


def test_sample_keys_name_each_image_of_the_stream_once(tmp_path):
    images = write_split(tmp_path, SIZES)
    keys = np.concatenate([batch.sample_keys for batch in batches(images)])
    assert sorted(keys) == list(range(24))


def test_sample_keys_of_a_mini_batch_that_spans_epochs_differ_although_an_image_may_come_twice(tmp_path):
    images = write_split(tmp_path, SIZES)
    (batch,) = train_batches(images, [6], 18, images_per_epoch=12, data_seed=5, threads=0)
    assert len(set(batch.sample_keys)) == 18
    assert len(set(batch.sample_keys % 12)) < 18


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 50))
def test_validation_batches_cover_every_image_once(start, count, images):
    class Recorder:
        split = range(100)

        def batch(self, ids, epochs, positions):
            return np.zeros((len(ids), 2, 2, 3), np.uint8), ids

    batches = list(val_batches(Recorder(), start, start + images, count, threads=0))
    assert torch.cat([batch.labels for batch in batches]).tolist() == list(range(start, start + images))
    assert all(len(batch.labels) == count for batch in batches[:-1])


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_the_order_of_the_requests(threads):
    def slow_first(number):
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert list(prefetch(slow_first, range(10), threads)) == list(range(10))


def test_threads_work_ahead_by_their_number_and_no_further():
    made = []
    results = prefetch(lambda number: made.append(number) or number, range(100), 3)
    assert next(results) == 0
    until = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert sorted(made) == [0, 1, 2, 3]
    results.close()


def test_threads_end_when_their_batches_are_not_wanted_any_more():
    before = set(threading.enumerate())
    results = prefetch(lambda number: number, range(100), 3)
    next(results)
    threads = set(threading.enumerate()) - before
    results.close()
    for thread in threads:
        thread.join(timeout=5)
    assert threads
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("threads", [0, 2])
def test_an_unreadable_image_stops_the_batches_with_its_path(tmp_path, threads):
    images = write_split(tmp_path, SIZES)
    (tmp_path / "7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"7\.png cannot be read"):
        batches(images, threads=threads)
