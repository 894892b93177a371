"""Results behind a link, under a configured root, a colleague's, copied, or restored from a purge: nothing retrains."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from warmscale.records import StateFolder, read_json, read_lines

from .conftest import Checkout, make_checkout

COLLEAGUE, GROUP = 54_321, 54_320
"""Ids that no account of the machine has."""
ONE = {"name": "warmup", "grid": {"warmup_epochs": [1]}, "figures": ["curves"]}
DAY_SEC = 86_400
SHARED = stat.S_IRGRP | stat.S_IWGRP


def point(checkout: Checkout, root: Path) -> Checkout:
    """Let the local profile of a checkout have its results under a root."""
    profile = checkout.folder / "profiles/local"
    (profile / "site.yaml").write_text(yaml.safe_dump({"results": str(root)}))
    facts = yaml.safe_load((profile / "config.yaml").read_text())
    (profile / "config.yaml").write_text(yaml.safe_dump(facts | {"config": ["site=profiles/local/site.yaml"]}))
    return checkout


@pytest.fixture(scope="module")
def at_root(tmp_path_factory: pytest.TempPathFactory, tiny) -> tuple[Checkout, Path]:
    """A checkout whose study of one run was finished under a configured root, with umask 002; do not change them."""
    folder = tmp_path_factory.mktemp("elsewhere")
    root = folder / "shared/studies"
    root.mkdir(parents=True)
    root.chmod(0o2775)
    if os.geteuid() == 0:
        os.chown(root, -1, GROUP)
    made = point(make_checkout(folder / "checkout"), root)
    made.write(tiny(experiments=[ONE]))
    before = os.umask(0o002)
    try:
        done = made.snakemake()
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stdout
    return made, root


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that others may enter, as they may not enter pytest's."""
    with tempfile.TemporaryDirectory(prefix="warmscale-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def copied(at_root: tuple[Checkout, Path], open_path: Path) -> tuple[Checkout, Path]:
    """A copy of both to change, time stamps, modes and groups kept: `cp -a`, and another root in the site file."""
    checkout, root = at_root
    for source, target in ((checkout.folder, open_path / "checkout"), (root, open_path / "moved")):
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    return point(Checkout(open_path / "checkout"), open_path / "moved"), open_path / "moved"


def attempts(root: Path) -> dict[str, int]:
    """{run id: attempts at it}, of runs that left any state."""
    return {path.name: len(read_lines(StateFolder(path).attempts)) for path in (root / "tiny/state").glob("*")}


def test_a_study_under_a_configured_root_is_done_and_the_checkout_has_no_results(at_root):
    checkout, root = at_root
    assert checkout.jobs() == {}
    assert not (checkout.folder / "results").exists()
    assert list(attempts(root).values()) == [1]


def test_the_same_results_behind_a_link_are_done_in_this_checkout_and_in_a_fresh_one(at_root, tmp_path, tiny):
    """A fresh checkout has no metadata of Snakemake's, and no data."""
    checkout, root = at_root
    shutil.copytree(checkout.folder, tmp_path / "same", symlinks=True)
    same, fresh = point(Checkout(tmp_path / "same"), Path("results")), make_checkout(tmp_path / "fresh")
    fresh.write(tiny(experiments=[ONE]))
    for one in (same, fresh):
        (one.folder / "results").symlink_to(root)
        assert one.jobs() == {}


def test_results_that_were_moved_to_another_root_are_done(copied):
    assert copied[0].jobs() == {}


@pytest.mark.parametrize("newest", ["runs", "data", "state", "tables"])
def test_whatever_a_copy_made_the_newest_files_nothing_retrains(copied, newest):
    checkout, root = copied
    now = time.time()
    for path in root.rglob("*"):
        then = now if newest in path.relative_to(root).parts else now - DAY_SEC
        os.utime(path, (then, then), follow_symlinks=False)
    assert "train" not in checkout.jobs()


def test_without_its_private_state_a_study_is_done(copied):
    checkout, root = copied
    shutil.rmtree(root / "tiny/state")
    assert checkout.jobs() == {}


def test_from_published_runs_alone_the_tables_are_the_same_and_nothing_trains(copied):
    checkout, root = copied
    rows = (root / "tiny/tables/epochs.csv").read_bytes()
    for path in (root / "tiny").iterdir():
        if path.name != "runs":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout
    assert (root / "tiny/tables/epochs.csv").read_bytes() == rows
    assert (root / "tiny/report/index.html").exists()
    assert attempts(root) == {}
    assert checkout.jobs() == {}


def test_with_umask_002_the_group_may_write_all_that_a_study_leaves(at_root):
    _, root = at_root
    private = [path for path in root.rglob("*") if not (path.is_symlink() or path.stat().st_mode & SHARED == SHARED)]
    assert private == []


class Colleague(Checkout):
    """Somebody else, in a checkout of their own, of the group that owns the results.

    May read everything, because the Python of the tests may be in a private home: that the group may read, modes tell.
    """

    def run(self, *words: str) -> subprocess.CompletedProcess:
        """Run a command as this user."""
        ids = ["--reuid", str(COLLEAGUE), "--regid", str(GROUP), "--clear-groups"]
        reads = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
        home = {"HOME": str(self.folder / "home"), "USER": "colleague", "LOGNAME": "colleague"}
        return subprocess.run(
            ["setpriv", *ids, *reads, *words],
            cwd=self.folder,
            env={**os.environ, **home, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
            umask=0o002,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )


@pytest.fixture
def colleague(copied: tuple[Checkout, Path], open_path: Path) -> Colleague:
    """Who has results of somebody else behind a link, and no data yet."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("becoming another user needs root and setpriv (util-linux)")
    made = Colleague(make_checkout(open_path / "colleague").folder)
    (made.folder / "results").symlink_to(copied[1])
    (made.folder / "home").mkdir()
    subprocess.run(["chown", "-R", f"{COLLEAGUE}:{GROUP}", str(made.folder)], check=True)
    return made


def test_another_user_of_the_group_finds_nothing_to_do_and_goes_on_with_a_study(colleague, copied, tiny):
    """Takes over a run that the first user began, adds one, and renews tables, figures and report.

    The index is there, the digits in this checkout are not: they are written before the runs begin.
    """
    study = tiny(experiments=[ONE])
    colleague.write(study)
    assert colleague.jobs() == {}
    (begun,) = (copied[1] / "tiny/state").glob("*")
    StateFolder(begun).outcome.unlink()
    shutil.rmtree(copied[1] / "tiny/runs" / begun.name)
    colleague.write({**study, "experiments": [ONE | {"grid": {"warmup_epochs": [1, 0]}}]})
    done = colleague.snakemake()
    assert done.returncode == 0, done.stdout
    records = {path.parent.name: path for path in (copied[1] / "tiny/runs").glob("*/run.json")}
    assert [read_json(path)["state"] for path in records.values()] == ["finished"] * 2
    assert {path.stat().st_uid for path in records.values()} == {COLLEAGUE}
    assert sorted(attempts(copied[1]).values()) == [1, 2] and attempts(copied[1])[begun.name] == 2
    assert colleague.jobs() == {}
