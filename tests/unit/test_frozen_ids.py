"""Run ids never change by accident: those of all shipped studies are frozen in frozen_ids.json.

A run whose id changes is trained again. Before the first release, and whenever a config changes on purpose, write them
anew and look at the difference:

    PYTHONPATH=workflow/scripts .venv/bin/python -m tests.unit.test_frozen_ids
    git diff tests/unit/frozen_ids.json

After a release, an id in that difference that neither a config nor TRAINING_VERSION accounts for is a bug.
"""

import json
from pathlib import Path

import pytest

from warmscale.study import load_study

from .study_builders import CONFIGS, read_config

FROZEN = Path(__file__).parent / "frozen_ids.json"


def ids_of(name):
    """{"experiment, leaf=level, ..., seed n": run id} of all points of a config, and ids of its measurements."""
    study = load_study(read_config(name))
    return {
        ", ".join([p.experiment, *(f"{leaf}={level}" for leaf, level in p.factors.items()), f"seed {p.seed}"]): p.run_id
        for p in study.points
    } | {
        f"{' and '.join(m.experiments)}, {m.where.nodes} x {m.where.ranks_per_node} ranks, {m.recipe.workers} workers "
        f"of {m.worker_batch_size} images, repeat {m.repeat}": m.measurement_id
        for m in study.measurements.values()
    }


def write_frozen_ids():
    FROZEN.write_text(json.dumps({name: ids_of(name) for name in CONFIGS}, indent=2) + "\n")


@pytest.mark.parametrize("name", CONFIGS)
def test_ids_of_shipped_studies_are_the_frozen_ones(name):
    assert ids_of(name) == json.loads(FROZEN.read_text())[name]


def test_every_point_of_a_study_is_frozen():
    frozen = json.loads(FROZEN.read_text())
    studies = {name: load_study(read_config(name)) for name in CONFIGS}
    assert {name: len(ids) for name, ids in frozen.items()} == {
        name: len(study.points) + len(study.measurements) for name, study in studies.items()
    }


if __name__ == "__main__":
    write_frozen_ids()
