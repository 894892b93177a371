import threading

import pytest

from warmscale.cluster import gpus
from warmscale.cluster.gpus import reserved, visible_gpus

FOUR = {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}


def test_the_environment_says_which_gpus_are_visible():
    assert visible_gpus(FOUR) == ["4", "5", "6", "7"]


@pytest.mark.parametrize("nothing", ["", "-1"])
def test_no_gpu_is_visible_where_they_are_hidden(nothing):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": nothing}) == []


def test_the_driver_is_asked_otherwise(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    lines = ["GPU 0: H200 (UUID: GPU-1)", "  MIG 1g.18gb Device 0", "GPU 1: H200 (UUID: GPU-2)"]
    driver.write_text("".join(["#!/bin/sh\n", *(f"echo '{line}'\n" for line in lines)]))
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert visible_gpus({}) == ["0", "1"]


def test_without_a_driver_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == []


def test_runs_side_by_side_have_gpus_of_their_own(tmp_path):
    with reserved(2, FOUR, tmp_path) as first, reserved(2, FOUR, tmp_path) as second:
        assert sorted([*first, *second]) == ["4", "5", "6", "7"]


def test_a_run_waits_for_a_gpu_and_gets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "POLL_SEC", 0.02)
    got, one = threading.Event(), {"CUDA_VISIBLE_DEVICES": "0"}

    def wait() -> None:
        with reserved(1, one, tmp_path):
            got.set()

    with reserved(1, one, tmp_path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(0.2)
    assert got.wait(10)
    waiting.join()


def test_who_is_asked_to_stop_waits_no_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "POLL_SEC", 0.02)
    one = {"CUDA_VISIBLE_DEVICES": "0"}
    with reserved(1, one, tmp_path), reserved(1, one, tmp_path, give_up=lambda: True) as got:
        assert got == []


def test_more_gpus_than_there_are_is_refused_in_one_line(tmp_path):
    with pytest.raises(RuntimeError, match="5 GPUs are needed, this machine has 4"), reserved(5, FOUR, tmp_path):
        pass
