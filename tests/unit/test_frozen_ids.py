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
    """{"experiment, leaf=level, ..., seed n": run id} of all points of a config."""
    points = load_study(read_config(name)).points
    return {
        ", ".join([p.experiment, *(f"{leaf}={level}" for leaf, level in p.factors.items()), f"seed {p.seed}"]): p.run_id
        for p in points
    }


def write_frozen_ids():
    FROZEN.write_text(json.dumps({name: ids_of(name) for name in CONFIGS}, indent=2) + "\n")


@pytest.mark.parametrize("name", CONFIGS)
def test_ids_of_shipped_studies_are_the_frozen_ones(name):
    assert ids_of(name) == json.loads(FROZEN.read_text())[name]


def test_every_point_of_a_study_is_frozen():
    frozen = json.loads(FROZEN.read_text())
    assert {name: len(ids) for name, ids in frozen.items()} == {
        name: len(load_study(read_config(name)).points) for name in CONFIGS
    }


if __name__ == "__main__":
    write_frozen_ids()
