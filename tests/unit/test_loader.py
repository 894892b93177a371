"""Micro-batches: the same for any number of threads, validation images each once, errors passed on."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from warmscale.training.loader import AHEAD, CHUNK, CORES, copied_ahead, threads_of_rank, train_batches, val_batches
from warmscale.training.order import permutation
from warmscale.training.tree import DataError

from .test_images import random_crop_flip, write_split

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
    expected = [random_crop_flip((tmp_path / f"{i}.png").read_bytes(), 16, 5, 1, 4 + n) for n, i in enumerate(ids)]
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


class Recorder:
    """Images that are their numbers, and what was asked for."""

    size = 2
    split = type("Numbers", (), {"labels": np.arange(1000), "__len__": lambda self: 1000})()

    def __init__(self):
        self.filled, self.hold = [], threading.Event()
        self.hold.set()

    def expect(self, ids):
        pass

    def fill(self, out, ids, epochs, positions):
        self.hold.wait(5)
        if 0 in ids:
            time.sleep(0.02)  # the first is the slowest
        self.filled.extend(ids.tolist())
        out[:] = (ids % 256).astype(np.uint8)[:, None, None, None]
        return []


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 50))
def test_validation_batches_cover_every_image_once(start, count, images):
    batches = list(val_batches(Recorder(), start, start + images, count, threads=0))
    assert torch.cat([batch.labels for batch in batches]).tolist() == list(range(start, start + images))
    assert all(len(batch.labels) == count for batch in batches[:-1])


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 1])
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_come_in_the_order_asked_for_whoever_is_first(threads, count):
    batches = list(val_batches(Recorder(), 0, 100, count, threads=threads))
    assert torch.cat([batch.labels for batch in batches]).tolist() == [*range(100)]
    assert torch.cat([batch.images[:, 0, 0, 0] for batch in batches]).tolist() == [*range(100)]


@pytest.mark.parametrize(("threads", "count"), [(1, 4), (3, 4), (2, 8 * CHUNK)])
def test_threads_work_ahead_so_that_all_are_busy_and_no_further(threads, count):
    images = Recorder()
    results = val_batches(images, 0, 1000, count, threads=threads)
    next(results)
    chunks = -(-count // CHUNK)
    expected = count * (1 + -(-AHEAD * threads // chunks))
    until = time.monotonic() + 5
    while len(images.filled) < expected and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert sorted(images.filled) == [*range(expected)]
    results.close()


def test_without_threads_nothing_is_decoded_before_it_is_asked_for():
    images = Recorder()
    results = val_batches(images, 0, 100, 10, threads=0)
    assert images.filled == []
    next(results)
    assert images.filled == [*range(10)]


def test_threads_end_when_their_batches_are_not_wanted_any_more():
    before = set(threading.enumerate())
    results = val_batches(Recorder(), 0, 1000, 10, threads=3)
    next(results)
    threads = set(threading.enumerate()) - before
    results.close()
    for thread in threads:
        thread.join(timeout=5)
    assert threads
    assert not any(thread.is_alive() for thread in threads)


class HostCopier:
    """Copies on this machine, and notes when."""

    def __init__(self):
        self.notes = []

    def copy(self, batch):
        self.notes.append(("copy", int(batch.labels[0])))
        return batch

    def hand_over(self, batch):
        self.notes.append(("use", int(batch.labels[0])))
        return batch


class Ready:
    """A decoded batch, or one that is still to be waited for."""

    def __init__(self, number, is_done):
        self._number, self._is_done = number, is_done

    def is_done(self):
        return self._is_done

    def result(self):
        return SimpleNamespace(labels=torch.tensor([self._number]))


def notes_of(*is_done):
    copier = HostCopier()
    decodings = [Ready(number, done) for number, done in enumerate(is_done)]
    assert [int(batch.labels[0]) for batch in copied_ahead(decodings, copier)] == [*range(len(is_done))]
    return copier.notes


def test_the_next_batch_is_on_its_way_before_one_is_used():
    order = [("copy", 0), ("copy", 1), ("use", 0), ("copy", 2), ("use", 1), ("use", 2)]
    assert notes_of(True, True, True) == order


def test_a_batch_is_not_kept_waiting_by_the_next_one():
    order = [("copy", 0), ("use", 0), ("copy", 1), ("use", 1), ("copy", 2), ("use", 2)]
    assert notes_of(False, False, False) == order


def test_a_rank_decodes_with_the_cores_that_do_not_train():
    assert [threads_of_rank(None, False, {CORES: str(cores)}) for cores in (1, 2, 8)] == [0, 1, 7]
    assert [threads_of_rank(None, True, {CORES: str(cores)}) for cores in (1, 2, 8, 200)] == [1, 1, 7, 32]
    assert threads_of_rank(None, False, {}) == 0
    assert [threads_of_rank(asked_for, True, {CORES: "8"}) for asked_for in (0, 3, 40)] == [0, 3, 40]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_unreadable_image_stops_the_batches_with_its_path(tmp_path, threads):
    images = write_split(tmp_path, SIZES)
    (tmp_path / "7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"7\.png cannot be read"):
        batches(images, threads=threads)
