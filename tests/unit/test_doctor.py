"""`warmscale doctor`: what each line says, from facts that are made up."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.study_builders import make_dataset
from warmscale.cluster.launchers import LaunchPlan
from warmscale.cluster.site import Site
from warmscale.diagnosis import dataset, meeting, quota, schedulers, software, steps, storage
from warmscale.diagnosis.findings import Findings, ask, ok
from warmscale.diagnosis.on_nodes import CheckFolder
from warmscale.diagnosis.some_steps import SomeSteps

NEED = storage.need_of(runs=2, at_a_time=2, ranks=4, checkpoint_bytes=100 * 2**20, keep_weights=False)


def texts(lines) -> list[str]:
    return [str(line) for line in lines]


def only(lines) -> str:
    (line,) = texts(lines)
    return line


def test_a_check_that_breaks_is_a_line_and_the_next_one_runs():
    findings = Findings(out=io.StringIO())

    def breaks():
        yield ok("first", "fine")
        raise ZeroDivisionError("by zero")

    assert not findings.check("broken", breaks)
    assert findings.check("next", lambda: [ok("next", "fine")])
    assert [line.level for line in findings.lines] == ["ok", "FAIL", "ok"]
    assert findings.failed == 1


def test_programs_that_hang_or_are_missing_answer_all_the_same():
    assert ask(["sleep", "60"], within_sec=0.1).code == 124
    assert ask(["no-such-program"]).text == "no-such-program is not on the PATH"


def test_packages_are_compared_with_their_bounds():
    wrong = software.wrong_packages(["numpy>=99", "no-such-package>=1", "pydantic>=2"])
    assert len(wrong) == 2
    assert wrong[0].startswith("numpy is ") and wrong[0].endswith(">=99 is needed")
    assert wrong[1] == "no-such-package is not installed, >=1 is needed"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("60", 60), ("30:00", 30), ("12:00:00", 720), ("1-00:00:00", 1440), ("2-12", 3600), ("infinite", None)],
)
def test_limits_of_slurm_are_minutes(text, minutes):
    assert schedulers.slurm_minutes(text) == minutes


def test_the_run_limit_of_an_lsf_queue_is_the_hard_one():
    text = "DEFAULT LIMITS:\n RUNLIMIT\n 10.0 min of host\n\nMAXIMUM LIMITS:\n RUNLIMIT\n 720.0 min of host\n"
    assert schedulers.run_limit_min(text) == 720


def test_missing_commands_of_the_scheduler_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    site = Site(scheduler="lsf", walltime=[{"up_to_nodes": 1, "minutes": 60}], node={"cores": 1})
    assert only(schedulers.scheduler(site)).startswith("FAIL scheduler: bsub, bjobs, bkill: not on the PATH")


def test_a_full_disk_and_a_used_up_quota_say_what_to_do(tmp_path, monkeypatch):
    for number, hint in ((errno.ENOSPC, "`df -i`"), (errno.EDQUOT, "quota"), (errno.EROFS, "`results`")):

        def full(_, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(storage.os, "fsync", full)
        line = only(storage.writable(tmp_path))
        assert line.startswith(f"FAIL results folder: {tmp_path}: {os.strerror(number)}") and hint in line


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path):
    (tmp_path / "results").touch()
    assert only(storage.writable(tmp_path / "results" / "study")).startswith("FAIL results folder")


def test_bytes_and_inodes_are_compared_with_the_need(tmp_path, monkeypatch):
    def statvfs(free_bytes, free_files, files=10**6):
        facts = SimpleNamespace(f_bavail=free_bytes, f_frsize=1, f_favail=free_files, f_files=files)
        monkeypatch.setattr(storage.os, "statvfs", lambda _: facts)
        return [line.level for line in storage.room(tmp_path, NEED)]

    assert statvfs(100 * NEED.bytes, 100 * NEED.files) == ["ok", "ok"]
    assert statvfs(NEED.bytes - 1, 100 * NEED.files) == ["FAIL", "ok"]
    assert statvfs(NEED.bytes + 1, NEED.files - 1) == ["warn", "FAIL"]
    assert statvfs(100 * NEED.bytes, 0, files=0) == ["ok", "ok"]


def test_the_longest_mount_point_decides_the_kind_of_a_file_system():
    mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /gpfs rw - gpfs fs1 rw\n3 1 0:6 / /gpfsx rw - tmpfs t rw\n"
    assert storage.mount_of(Path("/gpfs/me"), mounts) == ("gpfs", "/gpfs")
    assert storage.mount_of(Path("/home/me"), mounts) == ("ext4", "/")
    assert only(storage.shared(Path("/gpfs/me"), True, mounts)).startswith("ok ")
    assert only(storage.shared(Path("/gpfsx/me"), True, mounts)).startswith("warn file system")


def test_quotas_are_read_from_the_three_programs():
    lustre = "/lustre/me 2048* 1024 4096 - 10 0 0 -"
    assert quota.rows_of_quota(lustre) == [quota.Quota("/lustre/me", 2**21, 2**20, 10, 0)]
    assert quota.rows_of_quota("Disk quotas for user me (uid 1): none") == []
    names = "mmlsquota::HEADER:version:filesystemName:blockUsage:blockQuota:filesUsage:filesQuota"
    assert quota.rows_of_mmlsquota(f"{names}\nmmlsquota::0:1:fs1:8:16:3:4") == [quota.Quota("fs1", 8192, 16384, 3, 4)]


def tree(root: Path, classes: int = 3, images: int = 4) -> Path:
    for split in ("train", "val"):
        for name in range(classes):
            (root / split / str(name)).mkdir(parents=True)
            for number in range(images):
                (root / split / str(name) / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n....IEND\xaeB`\x82")
    return root


def test_a_tree_is_compared_with_its_declared_sizes(tmp_path):
    sizes = {"num_train_images": 12, "num_val_images": 12, "num_classes": 3, "root": str(tree(tmp_path))}
    assert not [
        line for line in texts(dataset.dataset(make_dataset(**sizes), dataset.Look(), full=True)) if "FAIL" in line
    ]
    lines = texts(dataset.dataset(make_dataset(**sizes | {"num_classes": 4}), dataset.Look(), full=True))
    assert lines[0].startswith("FAIL declared sizes: dataset.num_classes: 4 declared, 3 found")


def test_a_tree_seen_in_part_gives_an_index_of_the_declared_sizes(tmp_path):
    look = dataset.Look()
    dataset.look_at(tree(tmp_path), look, 0.0)
    assert not look.complete and look.looked == {"train": 1, "val": 1}
    rows = look.index({"num_train_images": 12, "num_val_images": 5}).splitlines()[1:]
    assert [sum(row.startswith(split) for row in rows) for split in ("train", "val")] == [12, 5]


def test_a_tree_that_is_not_there_is_one_line(tmp_path):
    lines = dataset.dataset(make_dataset(root=str(tmp_path / "none")), dataset.Look(), full=False)
    assert only(lines).startswith("FAIL data set: dataset.root:")


def met(folder: Path, plan: LaunchPlan, *facts: dict, shells: int | None = None) -> meeting.Met:
    check = CheckFolder(folder)
    for place in (check.ranks, check.started):
        place.mkdir()
    for number, fact in enumerate(facts):
        base = {"host": f"h{number}", "stage": "done", "rank": number, "world_size": len(facts), "local_rank": 0}
        (check.ranks / f"{number}.json").write_text(json.dumps(base | fact))
    for number in range(len(facts) if shells is None else shells):
        (check.started / f"h{number}-1").touch()
    check.end("meet").write_text(json.dumps({"codes": [0], "timed_out": False, "error": None, "sec": 1.0}))
    return meeting.Met(check, plan)


TWO = LaunchPlan(launcher="mpirun", nodes=2)


def test_a_launcher_that_starts_everything_on_one_host_is_found_out(tmp_path):
    found = met(tmp_path, TWO, {"host": "a"}, {"host": "a", "local_rank": 1})
    assert only(meeting.discovery_lines(found)).startswith("FAIL ranks: 2 ranks are on 1 node (a), not on 2: mpirun")


def test_ranks_that_do_not_know_each_other_are_found_out(tmp_path):
    alone = {"rank": 0, "world_size": 1, "unknown_launcher": "PMI_RANK"}
    assert "takes itself for the only rank: it sets PMI_RANK" in only(
        meeting.discovery_lines(met(tmp_path, TWO, alone, alone))
    )


def test_the_rank_that_came_least_far_says_why(tmp_path):
    failed = {"stage": "joining", "error": "DistNetworkError: connection refused"}
    found = met(tmp_path, TWO, {"stage": "joining", "error": "timed out"}, failed)
    line = only(meeting.stage_lines(found))
    assert line.startswith(
        "FAIL joining: rank 1 on h1: DistNetworkError: connection refused; can nodes open connections"
    )
    assert "NCCL_SOCKET_IFNAME" in line


def test_a_rank_that_hangs_says_where(tmp_path):
    line = only(meeting.stage_lines(met(tmp_path, TWO, {}, {"stage": "choosing a device"})))
    assert line.startswith("FAIL choosing a device: rank 1 on h1 came no further")


def test_steps_stop_after_their_number_and_are_timed():
    stop = SomeSteps(steps=3)
    assert [stop.is_due() for _ in range(3)] == [False, False, True]
    stop.begun = [0.0, 10.0, 11.0, 13.0]
    assert stop.step_sec == 1.5  # the first one warms up
    assert SomeSteps(steps=9, seconds=-1.0).is_due()


def test_a_failed_training_is_one_line_with_its_class(tmp_path):
    folder = CheckFolder(tmp_path)
    folder.end("train").write_text(json.dumps({"codes": [1], "timed_out": False, "error": None, "sec": 1.0}))
    folder.state("train").path.mkdir()
    folder.state("train").failure.write_text(json.dumps({"failure_class": "data", "failure": "no image", "rank": 1}))
    line = only(steps.step_lines(folder, None, 20, None, Site(), None))
    assert line.startswith("FAIL training: data: no image; see ") and line.endswith("rank1.log")
