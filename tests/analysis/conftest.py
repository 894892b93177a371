"""A small study with runs in every state, published without training and taken through the whole analysis once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from warmscale.analysis.figures import draw_all
from warmscale.analysis.tables import Tables, make_tables, read_tables
from warmscale.analysis.verdicts import make_verdicts
from warmscale.study import Study, load_study

from .published_runs import publish, run_at

WORKFLOW = Path(__file__).parents[2] / "workflow"
TEMPLATE = WORKFLOW / "report" / "index.html.j2"
NOTE = "Costs $5 & $6 a <b>run</b>"
EPOCHS = 8


def raw_study() -> dict:
    """A config as Snakemake hands it over."""
    pair = {"mini_batch_size": 64, "workers": 2}
    return {
        "study": "small",
        "title": "Small & <simple>",
        "note": NOTE,
        "target": 75.0,
        "seeds": 3,
        "dataset": {
            "name": "toy",
            "root": "data/toy",
            "num_train_images": 1280,
            "num_val_images": 100,
            "num_classes": 10,
            "image_size": 16,
            "val_resize": 16,
        },
        "recipe": {"model": "resnet8", "epochs": EPOCHS, "workers": 1, "base_lr": 0.1, "decay": {"epochs": [4, 6]}},
        "experiments": [
            {
                "name": "sizes",
                "extra": [{"point": {"mini_batch_size": 128, "workers": 4}}, {"point": dict(pair)}],
            },
            {
                "name": "warmup",
                "title": "Warmup of two workers",
                "recipe": dict(pair),
                "grid": {"warmup_epochs": [0, 2, 4]},
                "figures": ["curves", "final"],
                "zoom": {"epochs": [4, 8], "top1": [60, 90]},
            },
            {
                "name": "scaling",
                "recipe": dict(pair),
                "grid": {"lr_scaling.rule": ["linear", "none"], "warmup_epochs": [0, 2]},
                "figures": ["final"],
            },
        ],
    }


CLAIMS = [
    {
        "id": "two-beats-none",
        "statement": "Two epochs of warmup are better than <none>.",
        "source": "ours & others",
        "kind": "better",
        "experiment": "warmup",
        "factor": "warmup_epochs",
        "levels": [2, 0],
    },
    {
        "id": "four-as-two",
        "statement": "Four epochs of warmup are as good as two.",
        "kind": "equivalent",
        "experiment": "warmup",
        "factor": "warmup_epochs",
        "levels": [4, 2],
        "margin": 3.0,
    },
    {
        "id": "large-learns",
        "statement": "A mini-batch of 128 reaches 50 %.",
        "kind": "above",
        "experiment": "sizes",
        "factor": "mini_batch_size",
        "level": 128,
        "value": 50.0,
    },
    {
        "id": "large-fails",
        "statement": "A mini-batch of 128 stays below 50 %.",
        "kind": "below",
        "a": {"mini_batch_size": 128},
        "value": 50.0,
    },
]
"""One inconclusive for a diverged run, one that is not run, one supported, one refuted."""


def raw_with_claims() -> dict:
    """The config of the study that the fixtures are of."""
    return raw_study() | {"claims": CLAIMS}


def accuracy(run, epoch: int) -> float:
    """Top-1 accuracy of a synthetic run, percent; another for every seed and warmup."""
    return 80 * (1 - 0.6**epoch) + run.seed - run.recipe.warmup_epochs / 2


@pytest.fixture(scope="session")
def study() -> Study:
    return load_study(raw_with_claims())


@pytest.fixture(scope="session")
def odd_runs(study) -> dict[str, str]:
    """{state: run_id} of the runs that did not finish."""
    at = {"diverged": (0, 2), "failed": (4, 1), "pending": (4, 3)}
    return {
        state: run_at(study, "warmup", seed=seed, warmup_epochs=warmup).run_id for state, (warmup, seed) in at.items()
    }


@pytest.fixture(scope="session")
def results(study, odd_runs, tmp_path_factory) -> Path:
    """results/small with tables, figures and report."""
    folder = tmp_path_factory.mktemp("results") / "small"
    states = {run_id: state for state, run_id in odd_runs.items()}
    for run in study.runs.values():
        state = states.get(run.run_id, "finished")
        epochs = {"diverged": 3, "failed": 5, "pending": 0}.get(state, EPOCHS)
        if state != "pending":
            publish(folder, run, state, [accuracy(run, epoch) for epoch in range(1, epochs + 1)])
    return analysed(study, folder)


@pytest.fixture(scope="session")
def nothing_yet(study, tmp_path_factory) -> Path:
    """results/small before any run is published."""
    return analysed(study, tmp_path_factory.mktemp("results") / "small")


def analysed(study: Study, folder: Path) -> Path:
    """Make tables, verdicts, figures and report of what is published in a folder, or of what is replayed."""
    make_tables(study, folder)
    tables = read_tables(folder / "tables")
    make_verdicts(study, tables, folder)
    draw_all(study, tables, folder / "figures")
    script("write_report").write_report(study, folder, TEMPLATE)
    return folder


@pytest.fixture(scope="session")
def tables(results) -> Tables:
    return read_tables(results / "tables")


def script(name: str) -> ModuleType:
    """An entry point of a rule as a module: importing it does nothing."""
    spec = importlib.util.spec_from_file_location(name, WORKFLOW / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
