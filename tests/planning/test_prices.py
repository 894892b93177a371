"""What is said of costs that may be those of another machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from warmscale.cluster.site import Site
from warmscale.planning.hardware import PRESETS
from warmscale.planning.plan import make_plan
from warmscale.planning.prices import Prices
from warmscale.planning.summary import summary_lines

from .machines import measured_on, weak
from .studies import BETTER, study_of


def here(gpus, **facts):
    return Site.model_validate({"node": {"gpus": gpus, "cores": 4}, **facts})


def doubts(site, measured=(), placement=None, **planning):
    study = study_of(BETTER, planning=planning, placement=placement or {})
    prices = Prices(study, site, measured)
    prices.model_of(next(iter(study.runs.values())))
    return prices.doubts()


@pytest.mark.parametrize(
    ("gpus", "said", "beginning"),
    [
        (0, {}, None),
        (0, {"hardware": "cpu"}, None),
        (0, {"hardware": "summit-v100"}, "Costs are those of summit-v100, but runs would be here, without GPUs"),
        (
            4,
            {},
            "Costs are those of CPUs, but this machine has GPUs: set planning.hardware to the nearest of summit-v100",
        ),
        (4, {"hardware": "cpu"}, None),
        (4, {"hardware": "h100-node"}, None),
    ],
)
def test_hardware_that_is_not_that_of_this_machine_is_said(gpus, said, beginning):
    lines = doubts(here(gpus), **said)
    assert [line[: len(beginning or "")] for line in lines] == ([beginning] if beginning else [])


def test_gpus_that_are_not_used_do_not_count():
    assert doubts(here(4), placement={"device": "cpu"}) == []


def test_of_a_cluster_its_own_file_says_what_its_nodes_are():
    cluster = {"scheduler": "slurm", "launcher": "srun", "walltime": [{"up_to_nodes": 4, "minutes": 600}]}
    assert doubts(here(0, **cluster), hardware="summit-v100") == []


def test_measurements_of_something_else_are_counted():
    machine = PRESETS["cpu"]
    other = measured_on(machine, weak(1, 1))
    study = study_of(BETTER)
    prices = Prices(study, here(0), [])
    work = prices.model_of(next(iter(study.runs.values()))).work
    own = replace(other, model=work.model, image_size=work.image_size, precision=work.precision)
    assert doubts(here(0), [own]) == []
    elsewhere = [
        replace(own, **change) for change in ({"precision": "bf16"}, {"device": "Tesla V100"}, {"image_size": 1})
    ]
    (line,) = doubts(here(0), [own, *elsewhere])
    assert line.startswith("3 of 4 measurements and trainings tell nothing of these costs")


def test_the_plan_says_so(tmp_path):
    study = study_of(BETTER, planning={"hardware": "summit-v100", "sd": 1.0, "smallest_effect": 2.0})
    lines = summary_lines(make_plan(study, here(0), tmp_path), tmp_path)
    assert any("without GPUs" in line for line in lines)
