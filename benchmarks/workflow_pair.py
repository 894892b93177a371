"""Our workflow and the bare one with as many runs, and what Snakemake is asked to do with both, in turns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from bare_workflow import TRIVIAL, first_run, grid_words, write_bare
from common import PYTHON, make_checkout
from costs import Cost, cost_of, in_turns
from large_study import large_config

PROFILE = ("--profile", "profiles/local", "--cores", "2")
SPAWNED = (
    "--cores",
    "1",
    "--attempt",
    "1",
    "--force-use-threads",
    "--force",
    "--target-files-omit-workdir-adjustment",
    "--keep-storage-local-copies",
    "--max-inventory-time",
    "0",
    "--retries",
    "0",
    "--nocolor",
    "--no-hooks",
    "--nolock",
    "--ignore-incomplete",
    "--rerun-triggers",
    "mtime",
    "params",
    "input",
    "code",
    "--latency-wait",
    "60",
    "--scheduler",
    "greedy",
    "--mode",
    "remote",
)
"""What Snakemake's executors give the Snakemake in a job."""


@dataclass(frozen=True)
class Pair:
    """Our workflow and the bare one with as many runs."""

    runs: int
    ours: Path
    bare: Path

    @property
    def ours_words(self) -> list[str]:
        """Words of Snakemake for ours."""
        return ["--configfile", "config/large.yaml"]

    @property
    def bare_words(self) -> list[str]:
        """Words of Snakemake for the bare one."""
        config = large_config(self.runs)
        return grid_words(config["experiments"][0]["grid"], config["seeds"])


def make_pair(folder: Path, runs: int) -> Pair:
    """Both workflows, without a result; our programs are replaced by the trivial one."""
    ours, bare = make_checkout(folder / f"ours-{runs}"), write_bare(folder / f"bare-{runs}")
    shutil.copytree(ours / "profiles", bare / "profiles")
    config = large_config(runs) | {"placement": {"warm_starts": False}}
    (ours / "config/large.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (ours / "trivial.sh").write_text(TRIVIAL)
    with (ours / "workflow/rules/job_or_study.smk").open("a") as rules:
        rules.write('\n\ndef program(name):\n    """The trivial one."""\n    return "sh trivial.sh"\n')
    index = index_of(runs)
    (ours / index).parent.mkdir(parents=True)
    (ours / index).touch()
    return Pair(runs, ours, bare)


def index_of(runs: int) -> Path:
    """Where our workflow expects the index of the data set: there, it is not made."""
    from warmscale.study import load_study

    data = load_study(large_config(runs)).config.dataset
    return Path(f"results/large/data/{data.name}-{data.fingerprint}.tsv")


def snakemake(*words: str) -> list[str]:
    """Command line of Snakemake."""
    return [PYTHON, "-m", "snakemake", *words]


def dry_run(pair: Pair, repeats: int, *words: str) -> tuple[list[Cost], list[Cost]]:
    """`snakemake -n`, in turns."""
    return in_turns(
        lambda: cost_of(snakemake("-n", *words, *PROFILE, *pair.ours_words), pair.ours),
        lambda: cost_of(snakemake("-n", *words, *PROFILE, *pair.bare_words), pair.bare),
        repeats,
    )


def dispatch(pair: Pair, repeats: int) -> tuple[list[Cost], list[Cost]]:
    """All training jobs, in turns, each time from nothing; the last results stay."""

    def start(folder: Path, results: str, words: Sequence[str]) -> Cost:
        for left in (folder / results / "runs", folder / ".snakemake"):
            shutil.rmtree(left, ignore_errors=True)
        cost = cost_of(snakemake("--until", "train", *PROFILE, *words), folder)
        assert len(list((folder / results / "runs").glob("*/steps.csv"))) == pair.runs
        return cost

    return in_turns(
        lambda: start(pair.ours, "results/large", pair.ours_words),
        lambda: start(pair.bare, "results", pair.bare_words),
        repeats,
    )


def leave_traces(pair: Pair) -> None:
    """What the trivial program leaves out of ours: the record of an attempt of each run, and a table made of them."""
    from warmscale.records import StateFolder

    results = pair.ours / "results/large"
    attempt = {"number": 1, "state": "finished", "failure_class": None, "failure": None, "job_id": None, "node": "n"}
    for run in (results / "runs").iterdir():
        state = StateFolder(results / "state" / run.name)
        state.path.mkdir(parents=True)
        state.attempts.write_text(json.dumps(attempt) + "\n")
    (results / "tables").mkdir()
    (results / "tables/runs.csv").touch()


def batch_job(pair: Pair, repeats: int) -> tuple[list[Cost], list[Cost]]:
    """The Snakemake in the job of one run."""
    from warmscale.cluster.tasks import VARIABLE, Task, leave_task
    from warmscale.study import load_study

    run_id, run = next(iter(load_study(large_config(pair.runs)).runs.items()))
    index, task = str(index_of(pair.runs)), pair.ours / "task.json"
    leave_task(task, Task(run_id, run.content_json(), "results/large", index, "", "", 1, {"nodes": 1}))
    other = first_run(large_config(pair.runs)["experiments"][0]["grid"])

    def words(name: str) -> list[str]:
        return snakemake("--target-jobs", f"train:run={name}", "--allowed-rules", "train", *SPAWNED)

    return in_turns(
        lambda: cost_of([*words(run_id), "--configfiles", "config/large.yaml"], pair.ours, **{VARIABLE: str(task)}),
        lambda: cost_of([*words(other), *pair.bare_words], pair.bare),
        repeats,
    )
