"""`warmscale doctor`: what a node has to have for the jobs on it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from snakemake.common import get_appdirs

from warmscale.diagnosis import first_host, nodes, quota
from warmscale.diagnosis.storage import Need


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A host with no scheduler's command, and a home that can be written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LSB_JOBID", "7")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


def lsf_commands(folder: Path, bjobs: str) -> None:
    for name, said in {"bsub": "true", "bkill": "true", "bjobs": bjobs}.items():
        (folder / name).write_text(f"#!/bin/sh\n{said}\n")
        (folder / name).chmod(0o755)


def on_first_host(folder: Path, scheduler: str = "lsf") -> dict[str, str]:
    """{what: line} of a job whose first host this is."""
    found = first_host.look(scheduler, folder)
    return {line.what: str(line) for line in first_host.first_host_lines(found, scheduler)}


def test_whether_jobs_can_submit_jobs_is_told_from_the_first_host(node):
    line = on_first_host(node)["submit"]
    assert line.startswith("warn submit: bsub, bjobs, bkill not on the PATH on ")
    assert "`warmscale submit`" in line and "tmux" in line
    lsf_commands(node, "echo 'LSF is down. Please wait ...' >&2; exit 255")
    assert "bjobs: LSF is down. Please wait ..." in on_first_host(node)["submit"]
    for answers in ("echo 'No unfinished job found' >&2; exit 255", "echo '7 RUN'"):
        lsf_commands(node, answers)
        assert on_first_host(node)["submit"].startswith("ok   submit: jobs can be submitted from ")


def test_outside_of_a_job_nothing_is_said_of_what_jobs_can_submit(node, monkeypatch):
    monkeypatch.delenv("LSB_JOBID")
    assert list(on_first_host(node)) == ["cache"]


def test_a_home_that_is_missing_on_nodes_and_what_helps(node, monkeypatch):
    assert on_first_host(node)["cache"].startswith(f"ok   cache: {node}/home/.cache/snakemake can be written on ")
    (node / "file").touch()
    monkeypatch.setenv("HOME", str(node / "file"))
    line = on_first_host(node)["cache"]
    assert line.startswith(f"FAIL cache: {node}/file/.cache/snakemake cannot be written on ")
    assert "(Not a directory)" in line and "export XDG_CACHE_HOME=FOLDER" in line
    monkeypatch.setenv("XDG_CACHE_HOME", str(node / "scratch"))
    assert on_first_host(node)["cache"].startswith(f"ok   cache: {node}/scratch/snakemake can be written")


def test_snakemake_looks_for_its_cache_where_the_doctor_does(node, monkeypatch):
    for home in ({"HOME": str(node)}, {"HOME": str(node), "XDG_CACHE_HOME": str(node / "scratch")}):
        for name, value in home.items():
            monkeypatch.setenv(name, value)
        assert Path(get_appdirs().user_cache_dir).is_relative_to(first_host.snakemake_cache(os.environ))


def test_quotas_that_only_nodes_tell_are_judged(node, monkeypatch):
    mounts = node / "mounts"
    mounts.write_text("1 0 8:1 / / rw - gpfs fs1 rw\n")
    monkeypatch.setattr(quota, "MOUNTS", mounts)
    assert first_host.look("local", node)["quotas"] == []
    names = "mmlsquota::HEADER:version:filesystemName:blockUsage:blockQuota:filesUsage:filesQuota"
    (node / "mmlsquota").write_text(f"#!/bin/sh\necho '{names}'\necho mmlsquota::0:1:fs1:8:16:3:4\n")
    (node / "mmlsquota").chmod(0o755)
    (row,) = json.loads(json.dumps(first_host.look("local", node)["quotas"]))
    (line,) = quota.quota_lines([quota.Quota(**row)], Need(bytes=2**30, files=100), "quota on nodes")
    assert str(line).startswith("FAIL quota on nodes: fs1: 8 KiB left of 16 KiB, 1 files left; the study needs about")


def name_lines(*facts: dict, have_met: bool = False) -> list[str]:
    base = {"is_named": False, "chosen_network": None, "networks": {}}
    return [str(line) for line in nodes.name_lines([base | fact for fact in facts], have_met)]


def test_a_host_whose_own_name_is_loopback_is_named_with_the_network_that_ranks_take():
    named = {"host": "h1", "is_named": True}
    looped = {"host": "h2", "networks": {"eth0": "10.0.0.2", "ib0": "10.1.0.2"}}
    assert name_lines(named)[0].startswith("ok   names: ")
    (line,) = name_lines(named, looped)
    assert line.startswith("warn names: hosts whose own name is loopback to them, and what ranks take: h2 eth0 (10.0.0")
    assert "GLOO_SOCKET_IFNAME" in line
    assert name_lines(looped | {"chosen_network": "ib0"})[0].startswith("ok")


def test_a_host_with_no_other_network_is_wrong_unless_the_ranks_met_all_the_same():
    alone = {"host": "h3"}
    assert name_lines(alone)[0].startswith("FAIL names: h3: loopback is the only network there")
    assert name_lines(alone, have_met=True)[0].startswith("warn names: ")
