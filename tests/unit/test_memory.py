"""Out of memory: recognised, and what is said about it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from warmscale.records import read_json, write_first
from warmscale.training import memory, memory_reason
from warmscale.training.memory import asked_mib, is_of_host, is_out_of_memory, killed_for_memory, oom_kills
from warmscale.training.memory_advice import (
    Point,
    Situation,
    advise,
    after_kill,
    between,
    fit_line,
    ladder,
    situation_of,
)
from warmscale.training.memory_text import advice_lines, failure_line
from warmscale.training.tree import DataError

CUDA = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 15.78 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
DEVICE = [
    torch.OutOfMemoryError(CUDA),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    dist.DistBackendError("ncclUnhandledCudaError: Last error:\nCuda failure 2 'out of memory'"),
    dist.DistBackendError("ncclUnhandledCudaError: Failed to CUDA calloc async 608 bytes"),
]
HOST = [
    RuntimeError(CPU + "67108864 bytes. Error code 12 (Cannot allocate memory)"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000 bytes."),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
NEITHER = [
    ValueError("out of memory of the old days"),
    OSError(errno.ENOSPC, "No space left on device"),
    RuntimeError("[gloo] Connection closed by peer"),
    RuntimeError("CUDA error: device-side assert triggered"),
    dist.DistBackendError("NCCL error: unhandled system error"),
]
MIB_OF_IMAGE, MIB_OF_NONE = 100.0, 1000.0


def point(images: int, fits: bool = True) -> Point:
    return Point(images, fits, MIB_OF_NONE + MIB_OF_IMAGE * images if fits else None)


def on_gpu(**known) -> Situation:
    """30,720 images by 240 workers on 8 ranks, of which 64 at a time fit into 10,000 MiB."""
    values = {
        "mini_batch_size": 30720,
        "workers": 240,
        "batchnorm_batch_size": None,
        "precision": "fp32",
        "world_size": 8,
        "on_host": False,
        "limit_what": "memory of the device",
        "limit_mib": 10000.0,
        "others_mib": 500.0,
        "points": (point(16), point(32), point(64)),
    }
    return Situation(**(values | known))


def by_word(advice: list[dict], word: str) -> dict:
    return next(each for each in advice if word in each["what"])


@pytest.mark.parametrize("error", DEVICE + HOST, ids=str)
def test_every_disguise_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", NEITHER, ids=str)
def test_other_errors_are_not_mistaken_for_it(error):
    assert not is_out_of_memory(error)


def test_host_and_device_are_told_apart():
    assert [is_of_host(error) for error in DEVICE] == [False] * len(DEVICE)
    assert [is_of_host(error) for error in HOST] == [True] * len(HOST)


def test_it_is_recognised_behind_what_was_raised_because_of_it():
    try:
        try:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        except OSError as cause:
            raise DataError("train/a.png cannot be read") from cause
    except DataError as error:
        assert is_out_of_memory(error)
        assert is_of_host(error)
    assert not is_out_of_memory(DataError("train/a.png cannot be read"))


def test_what_was_asked_for_is_read_from_the_message():
    assert asked_mib(torch.OutOfMemoryError(CUDA)) == 1536
    assert asked_mib(HOST[0]) == 64
    assert asked_mib(MemoryError("Unable to allocate 7.50 GiB for an array")) == 7680
    assert asked_mib(MemoryError()) is None


def test_this_process_tells_how_much_it_has():
    sizes = memory.process_mib()
    assert 0 < sizes["VmRSS"] <= sizes["VmHWM"] <= sizes["VmPeak"]
    assert memory.host_limit().mib > sizes["VmRSS"]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder in place of /proc, and where its cgroups are mounted."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    write(tmp_path, {"proc/vmstat": "pgfault 12\noom_kill 3\n"})
    write(tmp_path, {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"})
    return tmp_path


def mounted(machine: Path, kind: str, root: str, own: str) -> Path:
    """Mount the memory cgroups there, this process's at `own`; the folder of `root`."""
    point = machine / "cgroup"
    options = "rw" if kind == "cgroup2" else "rw,memory"
    mount = f"31 23 0:28 {root} {point} rw,relatime - {kind} {kind} {options}\n"
    entry = f"0::{own}\n" if kind == "cgroup2" else f"7:cpu:/elsewhere\n4:memory:{own}\n"
    write(machine, {"proc/self/mountinfo": mount, "proc/self/cgroup": entry})
    return point


def test_kills_are_counted_in_the_own_cgroup_of_version_2(machine):
    folder = mounted(machine, "cgroup2", "/", "/job_7/step_0")
    write(folder, {"job_7/step_0/memory.events": "low 0\noom 2\noom_kill 2\n", "job_7/memory.events": "oom_kill 9\n"})
    assert oom_kills() == 2


def test_kills_are_counted_in_the_own_cgroup_of_version_1(machine):
    folder = mounted(machine, "cgroup", "/", "/lsf/job_7")
    write(folder, {"lsf/job_7/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"})
    assert oom_kills() == 1


def test_kills_are_counted_in_a_container_that_sees_its_own_cgroup_as_the_root(machine):
    folder = mounted(machine, "cgroup2", "/docker/abc", "/docker/abc")
    write(folder, {"memory.events": "oom_kill 4\n"})
    assert oom_kills() == 4


def test_without_a_counting_cgroup_the_machine_counts(machine):
    assert oom_kills() == 3
    (machine / "proc/vmstat").unlink()
    assert oom_kills() is None


def test_the_tightest_limit_is_the_one_that_holds(machine):
    assert memory.host_limit().what == "memory of the machine"
    folder = mounted(machine, "cgroup2", "/", "/job_7/step_0")
    write(folder, {"job_7/step_0/memory.max": "max\n", "job_7/memory.max": f"{2**30}\n"})
    write(folder, {"job_7/memory.current": f"{600 * 2**20}\n", "job_7/memory.stat": f"inactive_file {100 * 2**20}\n"})
    limit = memory.host_limit()
    assert (limit.mib, limit.used_mib) == (1024, 500)
    assert "job_7" in limit.what


def test_a_limit_of_version_1_that_is_none_is_none(machine):
    folder = mounted(machine, "cgroup", "/", "/job_7")
    write(folder, {"job_7/memory.limit_in_bytes": "9223372036854771712\n"})
    assert memory.host_limit().mib == 16384


def test_a_kill_is_blamed_on_memory_only_where_the_count_rose():
    assert killed_for_memory(0, 1)
    assert not killed_for_memory(1, 1)
    assert not killed_for_memory(None, 1)
    assert not killed_for_memory(0, None)


@pytest.mark.parametrize(
    "log",
    [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
        "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
        "Traceback (most recent call last):\nMemoryError",
    ],
)
def test_last_words_about_memory_are_heard(log):
    assert memory.tells_of_memory(log)
    assert not memory.tells_of_memory("slurmstepd: error: *** STEP 7.0 CANCELLED AT ... DUE TO TIME LIMIT ***")


def test_the_line_goes_through_what_was_measured():
    assert fit_line([point(2), point(8), point(16, fits=False)]) == pytest.approx((MIB_OF_NONE, MIB_OF_IMAGE))
    assert fit_line([point(2), point(2)]) is None
    assert fit_line([]) is None


def test_smaller_batches_keep_mini_batch_and_ranks():
    sizes = on_gpu().candidates
    assert {64, 96, 120} <= set(sizes)
    assert all(30720 % size == 0 and 30720 // size % 8 == 0 and size < 128 for size in sizes)
    assert on_gpu(world_size=240).candidates == [1, 2, 4, 8, 16, 32, 64]
    assert on_gpu(batchnorm_batch_size=32).candidates == [1, 2, 4, 8, 16]
    assert on_gpu(workers=30720).candidates == []


def test_the_ladder_climbs_by_at_least_twice_and_ends_below_the_asked_batch():
    assert ladder([1, 2, 4, 8, 16, 32, 64], 128) == [1, 2, 4, 8, 16, 32, 64]
    assert ladder([1, 2, 4, 5, 8, 10], 16) == [1, 2, 4, 8]
    assert ladder([1, 2, 3, 5, 6, 10], 15) == [1, 3, 6]
    assert ladder([], 1) == []


def test_between_two_rungs_the_line_picks_the_largest_that_leaves_room():
    points = on_gpu().points  # 9,000 MiB are left for images, of which 8,100 may be filled
    assert between([64, 80, 96], points, 128, 10000.0) == 80
    assert between([64, 80, 96], [*points, point(80, fits=False)], 128, 10000.0) is None
    assert between([64, 80, 96], points, 128, None) is None
    assert between([1, 2], [point(4, fits=False)], 8, 10000.0) is None


def test_advice_tells_what_is_another_run_from_what_is_not():
    situation = on_gpu(other_precision="bf16", other_point=Point(128, True, 9100.0))
    advice = advise(situation)
    assert [each["changes_result"] for each in advice] == sorted(each["changes_result"] for each in advice)
    smaller = by_word(advice, "worker_batch_size 64")
    assert smaller == {
        "what": "worker_batch_size 64 (workers: 480, mini_batch_size: 30720 as it is)",
        "changes_result": True,
        "fits": True,
        "peak_mib": 7400.0,
    }
    assert by_word(advice, "batchnorm_batch_size: 64")["changes_result"]
    assert by_word(advice, "precision: bf16")["peak_mib"] == 9100.0
    larger = by_word(advice, "memory of the device")
    assert (larger["what"], larger["fits"]) == ("at least 14,300 MiB of memory of the device", None)
    assert not larger["changes_result"]


def test_what_was_refused_is_not_said_to_be_enough():
    assert on_gpu().needed_mib == pytest.approx(13800)
    assert on_gpu(refused_mib=15000.0).needed_mib == 15000
    assert on_gpu(points=(point(64),)).needed_mib is None


def test_a_smaller_batchnorm_batch_is_the_lever_where_there_is_one_already():
    situation = on_gpu(batchnorm_batch_size=32, points=(point(8), point(16)))
    what = [each["what"] for each in advise(situation) if each["changes_result"]]
    assert what[0] == "batchnorm_batch_size: 16 (workers: 240 as they are)"
    assert not any("worker_batch_size" in each for each in what)


def test_zero_stage_1_is_advised_only_where_it_may_be_enough():
    just = by_word(advise(on_gpu(zero_saves_mib=4000.0)), "zero_stage")  # 13,800 needed
    assert (just["fits"], just["peak_mib"], just["changes_result"]) == (None, 9800.0, False)
    assert "enough by the estimate" in just["what"]
    assert by_word(advise(on_gpu(zero_saves_mib=100.0)), "zero_stage")["fits"] is False
    assert not any("zero_stage" in each["what"] for each in advise(on_gpu()))


def test_fewer_loader_threads_fit_where_the_batch_does_without_them():
    host = {"on_host": True, "limit_what": "memory of the machine", "loader_threads": 4}
    assert by_word(advise(on_gpu(**host)), "loader_threads")["fits"] is None
    points = (point(64), point(128))
    assert by_word(advise(on_gpu(**host, points=points)), "loader_threads")["fits"] is True


def test_a_batch_that_fits_once_all_else_was_freed_points_at_fragments():
    advice = advise(on_gpu(points=(point(32), point(64), point(128))))
    assert not by_word(advice, "expandable_segments")["changes_result"]
    assert not any("at least" in each["what"] for each in advice)


def test_nothing_smaller_fits_where_validation_does_not():
    advice = advise(on_gpu(validation=Point(256, False, None)))
    assert by_word(advice, "worker_batch_size 64")["fits"] is False
    assert by_word(advice, "VAL_BATCH_SIZE")["fits"] is None


def test_what_was_not_tried_is_not_said_to_fit():
    advice = advise(on_gpu(points=()))
    assert {each["fits"] for each in advice} == {None}
    assert by_word(advice, "worker_batch_size 64")["changes_result"]


MEMORY = {
    "on_host": False,
    "during": "training",
    "peak_mib": 15210.4,
    "limit_mib": 16160.0,
    "limit_what": "memory of the device",
    "asked_mib": None,
    "others_mib": 0.0,
    "images": 128,
    "worker_batch_size": 128,
}


def test_the_line_of_a_failure_names_rank_peak_limit_batch_and_the_way_out():
    line = failure_line(3, MEMORY)
    assert line == "rank 3 ran out of memory: peak 15,210 of 16,160 MiB with 128 images a worker"
    assert failure_line(3, MEMORY, advise(on_gpu())) == (
        f"{line}; fits: worker_batch_size 64 (workers: 480, mini_batch_size: 30720 as it is), which is another run"
    )


def test_the_line_of_a_failure_says_who_else_had_memory_and_what_was_asked_for():
    told = MEMORY | {"during": "validation", "asked_mib": 1536.0, "others_mib": 2000.0, "images": 32}
    assert failure_line(0, told) == (
        "rank 0 ran out of memory in validation: peak 15,210 of 16,160 MiB with 32 images a BatchNorm batch "
        "(1,536 MiB more were asked for; 2,000 MiB used by others)"
    )
    nothing = {**MEMORY, "during": "set-up", "peak_mib": None, "limit_mib": None}
    del nothing["images"]
    assert failure_line(0, nothing) == "rank 0 ran out of memory in set-up"


def test_advice_is_readable():
    situation = on_gpu(other_precision="bf16", other_point=Point(128, False, None))
    assert advice_lines(advise(situation)) == [
        "without changing the result:",
        "  at least 14,300 MiB of memory of the device: not tried, by estimate 13,800 MiB",
        "this is another run:",
        "  worker_batch_size 64 (workers: 480, mini_batch_size: 30720 as it is): fits, tried, peak 7,400 MiB",
        "  batchnorm_batch_size: 64 (workers: 240 as they are): fits, tried, peak 7,400 MiB",
        "  precision: bf16: did not fit when tried",
    ]
    assert advice_lines([]) == []


def test_a_rank_killed_for_memory_has_advice_that_nobody_could_try():
    content = {"mini_batch_size": 80, "workers": 5}
    reason = after_kill([1], situation_of(content, {"loader_threads": 2}, 5))
    assert (reason["failure_class"], reason["rank"]) == ("out_of_memory", 1)
    assert reason["failure"] == "rank 1 killed by the kernel for want of memory with 16 images a forward pass"
    words = [each["what"].split()[0] for each in reason["advice"]]
    assert words[:2] == ["placement.loader_threads:", "a"]
    assert by_word(reason["advice"], "worker_batch_size 8")["fits"] is None


def test_a_device_is_asked_for_its_peak_its_size_and_what_others_have(monkeypatch):
    mib = 2**20
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400 * mib, 16160 * mib))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 15000 * mib)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 15210 * mib)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 14000 * mib)
    facts = memory_reason.measure(torch.OutOfMemoryError(CUDA), torch.device("cuda", 0), None)
    assert (facts["peak_mib"], facts["limit_mib"], facts["others_mib"]) == (15210, 16160, 760)
    assert (facts["peak_allocated_mib"], facts["asked_mib"], facts["on_host"]) == (14000, 1536, False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (_ for _ in ()).throw(RuntimeError("CUDA error")))
    assert memory_reason.measure(DEVICE[0], torch.device("cuda", 0), None)["peak_mib"] is None


def test_the_first_rank_that_gives_a_reason_is_heard(tmp_path):
    file = tmp_path / "failure.json"
    assert write_first(file, {"rank": 1})
    assert not write_first(file, {"rank": 0})
    assert read_json(file) == {"rank": 1}
    assert list(tmp_path.iterdir()) == [file]
