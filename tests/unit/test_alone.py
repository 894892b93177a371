"""Places of measurements: what they take up, and which of them a site does not have."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from warmscale.cluster.alone import alone_on, lack, left_out_lines
from warmscale.cluster.lasting import Lasting
from warmscale.cluster.lsf import bsub_words
from warmscale.cluster.placement import Where
from warmscale.cluster.site import Site
from warmscale.cluster.slurm import sbatch_words
from warmscale.diagnosis.places import placement_lines
from warmscale.monitoring.manifest import write_manifest
from warmscale.records import write_json
from warmscale.study.planned import with_plan

from .study_builders import study_of

CLUSTER = {
    "scheduler": "slurm",
    "launcher": "srun",
    "node": {"gpus": 4, "cores": 64},
    "walltime": [{"up_to_nodes": 2, "minutes": 60}, {"up_to_nodes": 20, "minutes": 360}],
}
POINTS = {"name": "speed", "kind": "throughput", "worker_batch_size": [16], "repeats": 3}


def site(**facts):
    return Site.model_validate(CLUSTER | facts)


def here(**facts):
    return Site.model_validate({"node": {"gpus": 0, "cores": 4}} | facts)


@pytest.mark.parametrize(("snakemake_has", "threads"), [(2, 2), (4, 4), (32, 32), (None, 4)])
def test_on_this_machine_a_measurement_takes_all_cores_that_snakemake_has(snakemake_has, threads):
    assert alone_on(here(), Where(1, 2), cores=snakemake_has).threads == threads


def test_on_a_cluster_a_measurement_is_a_job_like_any_other():
    assert alone_on(site(), Where(2, 4), cores=32).threads == 1


@pytest.mark.parametrize(("minutes", "asked"), [(15, 15), (60, 60), (90, 60), (None, 60)])
def test_its_job_asks_for_the_minutes_of_its_experiment_up_to_the_sites_limit(minutes, asked):
    place = alone_on(site(), Where(2, 4), minutes)
    assert place.job["runtime"] == asked
    assert f"--walltime-min {asked}" in place.options
    assert "runtime" not in alone_on(here(), Where(1, 1), minutes).job


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_on_a_cluster_a_measurement_has_all_of_its_nodes_bound_alike_on_fewer_ranks_too(ranks):
    where, there = Where(1, ranks), site(node={"gpus": 4, "cores": 64, "memory_gb": 512})
    plan = alone_on(there, where).plan
    assert (plan.cores_per_node, plan.gpus_per_node, plan.bind) == (64, 4, True)
    facts = {"where": where, "name": "tp", "log": "log", "cwd": ".", "walltime_min": 5, "command": "true"}
    asked = sbatch_words(there, **facts, alone=True)
    assert {"--gres=gpu:4", "--mem=512G", f"--cpus-per-task={64 // ranks}"} <= {*asked}
    on_lsf = bsub_words(there, **facts, alone=True)
    assert (on_lsf[on_lsf.index("-n") + 1], on_lsf[on_lsf.index("-gpu") + 1]) == ("64", "num=4:mode=exclusive_process")
    assert f"--gres=gpu:{ranks}" in sbatch_words(there, **facts)  # a run leaves the others to others


def test_executors_ask_for_whole_nodes_for_measurements_only(tmp_path):
    executor = SimpleNamespace(workflow=SimpleNamespace(workdir_init="."))
    for is_measured in (True, False):
        task = SimpleNamespace(is_measured=is_measured, job={"runtime": 5})
        run = SimpleNamespace(run_id="x", where=Where(1, 1), study="s", task=task)
        facts = Lasting.common_facts(executor, run, tmp_path / "log")
        assert facts["alone"] == is_measured


@pytest.mark.parametrize(
    ("where", "there", "words"),
    [
        (Where(20, 4), site(), ""),
        (Where(40, 4), site(), "more nodes than this site has (20)"),
        (Where(2, 1), here(), "more nodes than this site has (1)"),
        (Where(1, 64), here(), ""),
        (Where(2, 1), site(launcher="local"), "more nodes than this site has (1)"),
        (Where(1, 6), site(), "more ranks on a node than this site has GPUs there (4)"),
        (Where(1, 6), site(placement={"device": "cpu"}), ""),
    ],
)
def test_what_a_site_lacks_is_told_in_words_and_only_that_is_refused(where, there, words):
    assert lack(there, where) == words
    if not words:
        assert alone_on(there, where).where == where


@pytest.mark.parametrize(
    ("there", "hardware", "is_lacking"),
    [
        (here(), "summit-v100", True),
        (here(), "cpu", False),
        (here(), None, False),
        (here(placement={"device": "cpu"}), "summit-v100", False),
        (site(), "summit-v100", False),
    ],
)
def test_what_is_asked_of_gpus_is_left_out_on_a_machine_without(there, hardware, is_lacking):
    found = lack(there, Where(1, 1), hardware)
    assert found == ("GPUs, as planning.hardware (summit-v100) has, or placement.device: cpu" if is_lacking else "")


def test_each_experiment_has_a_line_with_how_many_are_left_out_and_why():
    nodes = {**POINTS, "nodes": [1, 2, 10, 40], "ranks_per_node": [1]}
    ranks = {**POINTS, "name": "ranks", "ranks_per_node": [4, 6]}
    measured = study_of(experiments=[nodes, ranks]).measurements.values()
    assert left_out_lines(measured, site()) == [
        "experiments.speed: 3 of 12 measurements need more nodes than this site has (20); they are left out",
        "experiments.ranks: 3 of 6 measurements need more ranks on a node than this site has GPUs there (4); "
        "they are left out",
    ]
    assert left_out_lines(measured, here()) == [
        "experiments.speed: 9 of 12 measurements need more nodes than this site has (1); they are left out"
    ]


def test_what_the_last_call_had_no_place_for_is_not_awaited_unless_it_is_done(tmp_path):
    study = study_of(experiments=[{**POINTS, "nodes": [1, 2], "ranks_per_node": [1]}])
    here_too, done, *others = study.measurements
    assert with_plan(study, tmp_path).not_here == frozenset()
    write_manifest(tmp_path, {here_too: {}}, "snakemake", [])
    write_json(tmp_path / "throughput" / done / "measurement.json", {"state": "finished"})
    assert with_plan(study, tmp_path).not_here == set(others)


def test_the_doctor_warns_of_points_that_are_left_out_and_places_the_others():
    study = study_of(experiments=[{**POINTS, "nodes": [1, 2], "ranks_per_node": [1]}])
    found = [(line.level, line.detail) for line in placement_lines(study, here())]
    assert found == [
        ("warn", "experiments.speed: 3 of 6 measurements need more nodes than this site has (1); they are left out"),
        ("ok", "3 measurements on 1 node x 1 rank"),
    ]
