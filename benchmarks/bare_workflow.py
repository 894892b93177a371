"""The bare workflow that ours is measured against: as many trivial jobs of the same shape, as a good user writes it.

One short wildcard, settings looked up by it, three outputs a job and a log, one index that all of them need, one table
of all of them, and the same profile. It knows nothing else: no config to check, no report.
"""

from __future__ import annotations

import json
from pathlib import Path

SNAKEFILE = '''"""A run a point of a grid and seed, and a table of all runs."""

import itertools
import json

SIZES, WARMUPS, SEEDS = config["grid"]
RUNS = {
    f"mb{size}-up{warmup}-s{seed}": {"mini_batch_size": size, "warmup_epochs": warmup, "seed": seed}
    for size, warmup, seed in itertools.product(SIZES, WARMUPS, SEEDS)
}


wildcard_constraints:
    run="mb[0-9][-.a-z0-9]+",


localrules:
    all,


rule all:
    input:
        "results/tables/runs.csv",


rule index:
    output:
        "results/data/index.tsv",
    log:
        "results/logs/index.log",
    localrule: True
    shell:
        "touch {output} 2> {log}"


rule train:
    input:
        "results/data/index.tsv",
    output:
        run="results/runs/{run}/run.json",
        epochs="results/runs/{run}/epochs.csv",
        steps="results/runs/{run}/steps.csv",
    log:
        "results/logs/train/{run}.log",
    params:
        settings=lambda wildcards: json.dumps(RUNS[wildcards.run]),
    shell:
        "sh trivial.sh --settings {params.settings:q} --published results/runs/{wildcards.run} 2>> {log}"


rule tables:
    input:
        runs=expand("results/runs/{run}/run.json", run=RUNS),
        epochs=expand("results/runs/{run}/epochs.csv", run=RUNS),
        steps=expand("results/runs/{run}/steps.csv", run=RUNS),
    output:
        "results/tables/runs.csv",
    log:
        "results/logs/tables.log",
    localrule: True
    shell:
        "touch {output} 2> {log}"
'''
TRIVIAL = """while [ $# -gt 0 ]; do
    [ "$1" = --published ] && folder=$2
    shift
done
: > "$folder/run.json"
: > "$folder/epochs.csv"
: > "$folder/steps.csv"
"""
"""The trivial program of both workflows: three empty files, without starting a Python."""


def write_bare(folder: Path) -> Path:
    """The bare workflow in a folder, its index there already."""
    folder.mkdir(parents=True)
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "trivial.sh").write_text(TRIVIAL)
    (folder / "results/data").mkdir(parents=True)
    (folder / "results/data/index.tsv").touch()
    return folder


def grid_words(grid: dict[str, list], seeds: int) -> list[str]:
    """Words of the command line that give the bare workflow its grid."""
    axes = [grid["mini_batch_size"], grid["warmup_epochs"], list(range(1, seeds + 1))]
    return ["--config", f"grid={json.dumps(axes)}"]


def first_run(grid: dict[str, list]) -> str:
    """Id of one of its runs."""
    return f"mb{grid['mini_batch_size'][0]}-up{grid['warmup_epochs'][0]}-s1"
