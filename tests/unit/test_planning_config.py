"""What may stand under `planning` and `budget`, and what is refused in which words."""

from __future__ import annotations

from typing import get_args

import pytest

from warmscale.planning.hardware import PRESETS
from warmscale.study.planning import HardwareName

from .study_builders import lines_of, make_config, study_of

CLAIM = {"id": "uphill", "statement": "up", "kind": "above", "a": {"warmup_epochs": 1}, "value": 50.0}


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"weights": {"uphil": 2.0}}, "planning.weights.uphil: is no claim; did you mean uphill?"),
        ({"required": ["frist"]}, "planning.required[0]: frist is no experiment; did you mean first?"),
        ({"required": [{"warmups": 1}]}, "planning.required[0].warmups: is no column of runs; did you mean warmup"),
        (
            {"required": [{"warmup_epochs": 7}]},
            "planning.required[0]: {'warmup_epochs': 7} selects no run of the study",
        ),
        ({"sd": [{"where": {"seed": 9}, "sd": 1.0}]}, "planning.sd[0].where: {'seed': 9} selects no run of the study"),
        ({"sd": -1.0}, "planning.sd: is -1.0, must be greater than 0"),
        (
            {"smallest_effect": [{"where": {"seed": 9}, "smallest_effect": 1.0}]},
            "planning.smallest_effect[0].where: {'seed': 9} selects no run of the study",
        ),
        ({"smallest_effect": 0}, "planning.smallest_effect: is 0, must be greater than 0"),
        ({"smallest_effect": [{"where": {"seed": 1}}]}, "planning.smallest_effect[0].smallest_effect: is missing"),
        ({"hardware": "summit"}, "planning.hardware: is 'summit', must be 'summit-v100', 'h100-node', 'h200-node'"),
        ({"power": 1.5}, "planning.power: is 1.5, must be less than 1"),
        ({"marign": 0.5}, "planning.marign: is not a known key: did you mean margin?"),
        ({"model": {"parameters": 5}}, "planning.model.gflops_per_image: is missing"),
    ],
)
def test_wrong_assumptions_are_one_line(section, line):
    (found,) = lines_of(make_config(claims=[CLAIM], planning=section))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        ({"node_hours": 0}, "budget.node_hours: is 0, must be greater than 0"),
        ({"nodes": 5}, "budget.nodes: is not a known key: "),
        ({"concurrent_nodes": 2.5}, "budget.concurrent_nodes: is 2.5, must be a valid integer"),
        (2000, "budget: is 2000, must be a mapping"),
    ],
)
def test_a_wrong_budget_is_one_line(budget, line):
    (found,) = lines_of(make_config(budget=budget))
    assert found.startswith(line)


def test_neither_assumptions_nor_budget_are_part_of_a_run():
    planning = {"sd": 0.3, "weights": {"uphill": 2}, "required": ["first", {"seed": 1}], "hardware": "cpu"}
    assert study_of(claims=[CLAIM], planning=planning, budget={"node_hours": 5}).runs == study_of(claims=[CLAIM]).runs


def test_the_hardware_that_may_be_named_is_the_hardware_that_is_known():
    assert set(get_args(HardwareName)) == set(PRESETS)
