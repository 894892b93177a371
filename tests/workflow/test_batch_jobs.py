"""The Snakemake inside the batch job of a run: it expands no grid, and Snakemake compares the same in both."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lsf_double.cluster import Cluster
from warmscale.cluster.tasks import VARIABLE
from warmscale.records import StateFolder, read_json, read_lines

from .conftest import TINY, Checkout, make_checkout
from .test_lsf import ONE_RUN, LsfCheckout
from .test_throughput import SPEED

IN_JOB = ("--cores", "1", "--force", "--nolock", "--no-hooks", "--mode", "remote")
SITE = ("--config", "site=profiles/lsf/site.yaml")
STUDY = {**TINY, "experiments": [ONE_RUN, SPEED]}


@contextlib.contextmanager
def only_for_masters(rules: Path) -> Iterator[None]:
    """Rules that fail in a job: one that is told of its run does not include them."""
    as_they_are = rules.read_text()
    rules.write_text(f"{as_they_are}\n\nassert workflow.is_main_process\n")
    yield
    rules.write_text(as_they_are)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose one run was trained by a batch job, and whose one measurement was made by another; each was told
    of its own alone."""
    folder = tmp_path_factory.mktemp("batch")
    checkout = make_checkout(folder / "checkout")
    checkout.write(STUDY)
    with Cluster(folder / "cluster", hosts=1, slots_per_host=1, kill_interval_sec=1.0) as cluster:
        lsf = LsfCheckout(checkout, cluster)
        with only_for_masters(checkout.folder / "workflow/rules/common.smk"):
            assert lsf.finish() == 0, lsf.log()
        lsf.end()
    return checkout


@pytest.fixture
def left(trained: Checkout) -> Iterator[StateFolder]:
    """The state of its run; what is told of it, and the config, are put back behind the test."""
    (folder,) = (trained.folder / "results/tiny/state").glob("mb*")
    state = StateFolder(folder)
    told = state.task.read_text()
    yield state
    state.task.write_text(told)
    trained.write(STUDY)


def job(checkout: Checkout, state: StateFolder, *words: str, rule: str = "train", wildcard: str = "run") -> str:
    """What the Snakemake says that the executor starts in the job of a run, or of a measurement."""
    target = ("--target-jobs", f"{rule}:{wildcard}={state.path.name}", "--allowed-rules", rule)
    variable = f"{VARIABLE}={state.task}"
    done = checkout.run("env", variable, sys.executable, "-m", "snakemake", *target, *IN_JOB, *SITE, *words)
    assert done.returncode == 0, done.stdout
    return done.stdout


def nothing_is_to_be_done(checkout: Checkout) -> bool:
    """Whether the master finds that nothing changed: no input, no parameter, no code."""
    done = checkout.run(sys.executable, "-m", "snakemake", "--profile", "lsf", "-n")
    assert done.returncode == 0, done.stdout
    return "Nothing to be done" in done.stdout


def without(text: str) -> dict:
    """The study with a text where its grid was: whoever expands it fails."""
    return {**STUDY, "experiments": text}


def test_what_a_batch_job_records_is_what_the_master_expects(trained, left):
    assert json.loads(left.task.read_text())["run_id"] == left.path.name
    assert nothing_is_to_be_done(trained)


def test_a_batch_job_expands_no_grid(trained, left):
    trained.write(without("no grid"))
    assert f"run={left.path.name}" in job(trained, left)
    trained.write(STUDY)
    assert nothing_is_to_be_done(trained)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_batch_job_measures_what_the_master_expects(trained, is_told):
    (folder,) = (trained.folder / "results/tiny/state").glob("tp-*")
    state = StateFolder(folder)
    (attempt,) = read_lines(state.attempts)
    assert (attempt["state"], attempt["job_id"]) == ("finished", read_json(state.job)["job_id"])
    told = state.task.read_text()
    if not is_told:
        state.task.unlink()
    assert f"measurement={folder.name}" in job(trained, state, rule="measure", wildcard="measurement")
    state.task.write_text(told)
    assert nothing_is_to_be_done(trained)


@pytest.mark.parametrize("text", [None, "{"])
def test_a_batch_job_that_is_told_nothing_expands_the_grid_and_finds_the_same(trained, left, text):
    left.task.unlink() if text is None else left.task.write_text(text)
    assert f"run={left.path.name}" in job(trained, left)
    assert nothing_is_to_be_done(trained)


def test_a_batch_job_imports_no_model_of_a_config(trained, left):
    rules = trained.folder / "workflow/rules/train.smk"
    rules_as_they_are = rules.read_text()
    check = 'assert not {name for name in sys.modules if name.startswith("warmscale.study")}, "a model of a config"\n'
    try:
        rules.write_text(f"{rules_as_they_are}\n\n{check}")
        job(trained, left, "-n")
    finally:
        rules.write_text(rules_as_they_are)


def test_a_job_takes_its_place_from_the_file(trained, left):
    told = json.loads(left.task.read_text())
    left.task.write_text(json.dumps({**told, "job": {**told["job"], "nodes": 7}}))
    assert "nodes=7" in job(trained, left, "-n")
