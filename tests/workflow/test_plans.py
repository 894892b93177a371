"""What Snakemake would run: exactly what is missing, and nothing because of a comment or a time stamp."""

from __future__ import annotations

import os
import re
import time

import pytest
import yaml

from .conftest import REPOSITORY, TINY


def poster(**changes):
    return {**yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()), **changes}


def test_the_posters_study_is_13_runs_a_seed(checkout):
    jobs = checkout.jobs()
    assert jobs["train"] == 13 * 3
    assert {name: jobs[name] for name in ("index", "tables", "figures", "report", "all")} == dict.fromkeys(
        ("index", "tables", "figures", "report", "all"), 1
    )
    checkout.write(poster(seeds=5))
    assert checkout.jobs()["train"] == 13 * 5


def test_a_warmup_value_more_in_the_posters_study_is_its_runs_only(checkout):
    before = checkout.jobs()["train"]
    study = poster()
    study["experiments"][1]["grid"]["warmup_epochs"].append(40)
    checkout.write(study)
    assert checkout.jobs()["train"] == before + 3


def test_the_reading_by_workers_is_13_runs_a_seed(checkout):
    assert checkout.jobs("--configfile", "config/poster-by-workers.yaml")["train"] == 13 * 3


def test_a_configfile_replaces_the_default_study(checkout):
    done = checkout.snakemake("-n", "--configfile", "config/digits.yaml")
    assert "results/digits/" in done.stdout
    assert "results/poster" not in done.stdout
    assert "imagenet" not in done.stdout


def test_missing_data_is_one_line_in_a_dry_run(checkout):
    done = checkout.snakemake("-n")
    assert done.returncode == 0
    warnings = [line for line in done.stdout.splitlines() if "data/imagenet" in line and "dataset.root" in line]
    assert warnings == ["dataset.root: data/imagenet is not there; a dry run does not need it, training does"]


def test_the_posters_measurements_on_nodes_or_gpus_that_are_not_here_are_left_out_with_a_line_each(checkout):
    done = checkout.snakemake("-n")
    assert done.returncode == 0
    assert "experiments.communication: 45 of 60 measurements need more nodes than this site has (1)" in done.stdout
    assert "experiments.communication: 15 of 60 measurements need GPUs, as planning.hardware (summit" in done.stdout
    assert "measure" not in checkout.jobs()
    checkout.write(poster(placement={"device": "cpu"}))
    assert checkout.jobs()["measure"] == 5 * 3


def test_missing_data_is_an_error_when_something_is_to_run(checkout):
    checkout.write(poster())
    done = checkout.snakemake()
    assert done.returncode != 0
    assert "dataset.root: data/imagenet/train is no folder; expected data/imagenet/train/<class>/<image>" in done.stdout
    assert not (checkout.folder / "results/poster/state").exists()


def test_every_published_file_is_the_input_of_one_job(checkout):
    """The time of a dry run grows with the inputs of all jobs, and ten thousand runs have many."""
    done = checkout.snakemake("-n")
    inputs = [line for line in done.stdout.splitlines() if line.strip().startswith("input:")]
    for name in ("run.json", "epochs.csv", "steps.csv"):
        assert sum(len(re.findall(rf"/runs/[^/,]+/{name}", line)) for line in inputs) == 13 * 3


def test_a_finished_study_has_nothing_to_do(finished):
    assert finished.jobs() == {}


def test_a_warmup_value_more_trains_its_runs_only(finished, tiny):
    warmup, scaling = TINY["experiments"]
    finished.write(tiny(experiments=[{**warmup, "grid": {"warmup_epochs": [0, 0.5, 1]}}, scaling]))
    assert finished.jobs()["train"] == 1
    finished.write(tiny(experiments=[{**warmup, "grid": {"warmup_epochs": [0, 0.5, 1]}, "seeds": 3}, scaling]))
    assert finished.jobs()["train"] == 3 + 2 + 2


def test_an_experiment_that_shares_all_its_points_trains_nothing(finished, tiny):
    again = {"name": "again", "extra": [{"point": {"warmup_epochs": 1, "lr_scaling.rule": "none"}}]}
    finished.write(tiny(experiments=[*TINY["experiments"], again]))
    jobs = finished.jobs()
    assert "train" not in jobs
    assert jobs["tables"] == jobs["figures"] == jobs["report"] == 1


@pytest.mark.parametrize("path", ["train.py", "train_run.py", "index_data.py", "warmscale/training/loop.py"])
def test_a_comment_in_a_script_runs_nothing(finished, path):
    script = finished.folder / "workflow/scripts" / path
    script.write_text(script.read_text() + "\n# a comment\n")
    assert finished.jobs() == {}


def test_editing_the_analysis_retrains_nothing(finished):
    for path in (finished.folder / "workflow/scripts/warmscale/analysis").glob("*.py"):
        path.write_text(path.read_text() + "\n# a comment\n")
    jobs = finished.jobs()
    assert "train" not in jobs
    assert jobs["tables"] == jobs["figures"] == 1


def test_new_time_stamps_of_data_and_programs_retrain_nothing(finished):
    later = time.time() + 60
    for folder in ("data", "workflow", "config", "profiles"):
        for path in (finished.folder / folder).rglob("*"):
            os.utime(path, (later, later))
    assert "train" not in finished.jobs()


def test_placement_and_titles_retrain_nothing(finished, tiny):
    placement = {"ranks_per_node": 2, "loader_threads": 1}
    finished.write(tiny(title="Another", note="Text", target=50.0, placement=placement))
    jobs = finished.jobs()
    assert "train" not in jobs
    assert jobs["report"] == 1


def test_another_value_of_the_recipe_is_another_run(finished, tiny):
    finished.write(tiny(recipe={"label_smoothing": 0.1}))
    assert finished.jobs()["train"] == 3


def test_keys_in_another_order_are_the_same_study(finished):
    finished.write(dict(reversed(TINY.items())) | {"recipe": dict(reversed(TINY["recipe"].items()))})
    assert "train" not in finished.jobs()


def test_another_data_root_retrains_nothing(finished, tiny):
    (finished.folder / "data/digits").rename(finished.folder / "data/moved")
    finished.write(tiny(dataset={**TINY["dataset"], "root": "data/moved"}))
    assert "train" not in finished.jobs()
