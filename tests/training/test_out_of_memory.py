"""A run that does not fit: what is recorded, and that the advice holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from warmscale.records import count_failures, read_lines

from .conftest import small_run
from .launching import Started


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    """A rank may map 260 MiB more from its first forward pass on; an image takes 24 there."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("HUNGRY_ROOM_MIB", "260")
    monkeypatch.setenv("WARMSCALE_MEMORY_PROBE_SEC", "30")  # a busy machine may be slow


def hungry_run(workers: int, **recipe):
    """80 images by so many workers, with a model that takes much memory for each."""
    return small_run(model="models:hungry", workers=workers, epochs=1, decay={"epochs": []}, **recipe)


def advised(record, *, changes_result: bool) -> dict[str, dict]:
    """Advice by its first word."""
    advice = record["attempts"][-1]["advice"]
    return {each["what"].split()[0]: each for each in advice if each["changes_result"] is changes_result}


@pytest.fixture
def failed(tmp_path, lab):
    """A run of 16 images a worker, which do not fit."""
    started = Started(tmp_path, lab, hungry_run(workers=5))
    assert started.finish().returncode == 0
    assert started.record()["state"] == "failed", started.log()
    return started


def test_the_advice_holds_when_it_is_followed(tmp_path, lab, failed, monkeypatch):
    record = failed.record()
    assert record["failure_class"] == "out_of_memory", failed.log()
    assert len(record["attempts"]) == count_failures(failed.state) == 1  # never tried again as it is

    memory = record["attempts"][0]["memory"]
    assert (memory["images"], memory["during"], memory["on_host"]) == (16, "training", True)
    assert 0.97 * memory["limit_mib"] < memory["peak_mib"] <= memory["limit_mib"]
    assert record["failure"].startswith(
        f"rank 0 ran out of memory: peak {memory['peak_mib']:,.0f} of {memory['limit_mib']:,.0f} MiB "
        f"with 16 images a worker"
    )
    assert "which is another run" in record["failure"]

    smaller = advised(record, changes_result=True)["worker_batch_size"]
    assert smaller["fits"] is True
    assert smaller["peak_mib"] <= memory["limit_mib"]
    workers = int(re.search(r"workers: (\d+)", smaller["what"])[1])
    assert 80 // workers in (5, 8)  # 10 take 240 MiB of 260: not advised; 8 may not fit beside what the failure left
    follows(Started(tmp_path / "smaller", lab, hungry_run(workers=workers)))

    larger = advised(record, changes_result=False)["at"]["peak_mib"]
    missing_mib = larger - memory["limit_mib"]
    assert 50 < missing_mib < 250  # 16 images of 24 MiB in 260, which leave some for what is not of images
    monkeypatch.setenv("HUNGRY_ROOM_MIB", str(260 + int(missing_mib) + 32))
    follows(Started(tmp_path / "larger", lab, hungry_run(workers=5)))


def follows(started: Started) -> None:
    """Fails where the run does not fit."""
    started.finish()
    assert started.record()["state"] == "finished", started.log()


def test_of_two_ranks_that_run_out_of_memory_together_one_says_why(tmp_path, lab):
    started = Started(tmp_path, lab, hungry_run(workers=4), ranks=2)
    assert started.finish().returncode == 0
    record = started.record()
    assert (record["state"], record["failure_class"]) == ("failed", "out_of_memory"), started.log()
    rank = read_lines(started.state.attempts)[0]["rank"]
    assert record["failure"].startswith(f"rank {rank} ran out of memory")
    assert advised(record, changes_result=True)["worker_batch_size"]["fits"] is True
    told = ["another run" in started.state.log(number).read_text() for number in (0, 1)]
    assert told == [number == rank for number in (0, 1)]


@pytest.mark.parametrize("zero_stage", [0, 1])
def test_a_rank_that_waits_for_the_other_does_not_hide_its_reason(tmp_path, lab, monkeypatch, zero_stage):
    monkeypatch.setenv("HUNGRY_RANK", "1")
    started = Started(tmp_path, lab, hungry_run(workers=4), ranks=2)
    assert started.finish().returncode == 0
    record = started.record()
    assert record["failure_class"] == "out_of_memory", started.log()
    assert record["failure"].startswith("rank 1 ran out of memory")
    assert advised(record, changes_result=True)["worker_batch_size"]["fits"] is True
