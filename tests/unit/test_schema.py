"""The JSON schema and the reference of config files: fresh, and of one mind with the models."""

import jsonschema
import pytest

from warmscale import cli
from warmscale.study import load_study
from warmscale.study.config import Dataset, Experiment, Placement, StudyConfig, ThroughputExperiment
from warmscale.study.grid import LEAVES
from warmscale.study.reference import reference_text
from warmscale.study.schema import config_schema

from .study_builders import CONFIGS, changed_config, lines_of, read_config

SCHEMA = jsonschema.Draft202012Validator(config_schema())
FIRST = "experiments[0]."
SPEED = {"name": "speed", "kind": "throughput", "worker_batch_size": [32]}
REJECTED_BY_BOTH = [
    ("recipe.warmup_epoch", 5),
    ("recipe.decay.milestones", [3]),
    ("dataset.num_clases", 5),
    ("placement.ranks", 5),
    ("experiment", []),
    ("experiments", []),
    (FIRST + "grid.warmup_epoch", [1]),
    (FIRST + "grid.warmup_epochs", []),
    (FIRST + "grid.warmup_epochs", 5),
    (FIRST + "grid.optimizer", [{"name": "lars"}]),
    (FIRST + "grid.decay.kind", ["stairs"]),
    (FIRST + "exclude", [{}]),
    (FIRST + "exclude", [{"warmup": 0}]),
    (FIRST + "extra", [{"point": {"epochs": "10"}}]),
    (FIRST + "extra", [{"point": {"optimizer": {"name": "lars"}}}]),
    (FIRST + "extra", [{"seeds": 3}]),
    (FIRST + "figures", ["curve"]),
    (FIRST + "recipe.worker", 2),
    (FIRST + "recipe.lr_scaling.rule", "cubic"),
    (FIRST + "zoom", {"epochs": [1]}),
    (FIRST + "zoom", {"epochs": [1, 2, 3]}),
    (FIRST + "name", "First one"),
    ("recipe.epochs", 10.5),
    ("recipe.epochs", 0),
    ("recipe.base_lr", "5e-5"),
    ("recipe.base_lr", 0),
    ("recipe.base_lr", True),
    ("recipe.label_smoothing", 1.5),
    ("recipe.warmup_start", "peak"),
    ("recipe.warmup_epochs", -1),
    ("recipe.warmup_epochs", {"base_epochs": 5}),
    ("recipe.workers_as", {"nodes": 40}),
    ("recipe.optimizer", {"betas": [0.9]}),
    ("recipe.decay", "step"),
    ("recipe.model", "resnet51"),
    ("recipe.lr_scaling.exponent", 11),
    (FIRST + "kind", "thruput"),
    (FIRST + "kind", "throughput"),
    ("experiments", [{**SPEED, "steps": 0}]),
    ("experiments", [{**SPEED, "nodes": 1}]),
    ("experiments", [{**SPEED, "data": "real"}]),
    ("experiments", [{**SPEED, "grid": {"epochs": [1]}}]),
    ("experiments", [{**SPEED, "recipe": {"modle": "resnet8"}}]),
    ("experiments", [{"name": "speed", "kind": "throughput"}]),
    ("dataset.mean", [0.5, 0.5]),
    ("dataset.num_classes", 1),
    ("metric", {"name": "top2"}),
    ("seeds", 0),
    ("seeds", []),
    ("seeds", [-1]),
    ("study", None),
    ("target", "75"),
]


def is_valid(config):
    return SCHEMA.is_valid(config)


def test_schema_is_itself_valid():
    jsonschema.Draft202012Validator.check_schema(config_schema())


def test_checked_in_schema_and_reference_are_fresh():
    assert cli.main(["schema", "--check"]) == 0


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """Schema and reference where a test may write them."""
    monkeypatch.setattr(cli, "SCHEMA", tmp_path / "schemas/config.schema.json")
    monkeypatch.setattr(cli, "REFERENCE", tmp_path / "docs/config.md")


def test_missing_files_fail_the_check_by_name_and_are_written(own_files, capsys):
    assert cli.main(["schema", "--check"]) == 1
    assert capsys.readouterr().err == (
        "warmscale: config.schema.json, config.md: not what the models say; run `warmscale schema --write` and commit\n"
    )
    assert cli.main(["schema", "--write"]) == 0
    assert cli.main(["schema", "--check"]) == 0


@pytest.mark.parametrize("name", ["SCHEMA", "REFERENCE"])
def test_a_stale_file_fails_the_check_by_name(own_files, capsys, name):
    cli.main(["schema", "--write"])
    path = getattr(cli, name)
    path.write_text(path.read_text().replace("resnet50", "resnet51"))
    assert cli.main(["schema", "--check"]) == 1
    assert capsys.readouterr().err.startswith(f"warmscale: {path.name}: not what the models say")


def test_reference_has_a_row_for_every_key():
    rows = [line.split(" | ")[0] for line in reference_text().splitlines() if line.startswith("| `")]
    assert {f"| `{leaf.rpartition('.')[2]}`" for leaf in LEAVES} <= set(rows)
    for model in (StudyConfig, Dataset, Experiment, ThroughputExperiment, Placement):
        assert {f"| `{field.alias or name}`" for name, field in model.model_fields.items()} <= set(rows)
    assert all(line.replace("\\|", "").count("|") == 5 for line in reference_text().splitlines() if line[:1] == "|")


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configs_are_valid(name):
    assert is_valid(read_config(name))


def test_experiments_of_both_kinds_are_valid():
    training = changed_config()["experiments"][0]
    config = changed_config(("experiments", [SPEED, {**training, "kind": "training"}, {**SPEED, "name": "more"}]))
    assert is_valid(config)
    assert len(load_study(config).measurements) == 3


@pytest.mark.parametrize("path, value", REJECTED_BY_BOTH)
def test_schema_rejects_what_the_models_reject(path, value):
    assert is_valid(changed_config())
    config = changed_config((path, value))
    assert lines_of(config)
    assert not is_valid(config)


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_is_known_to_recipes_grids_and_points_and_described(leaf):
    definitions = config_schema()["$defs"]
    assert leaf in definitions["Recipe"]["properties"]
    assert leaf in definitions["Grid"]["properties"]
    assert leaf in definitions["Point"]["properties"]


def test_fields_carry_their_description_into_the_schema():
    models = {name: model["properties"] for name, model in config_schema()["$defs"].items() if "properties" in model}
    assert models["Recipe"]["warmup_counts"]["description"].startswith("inside: decay counts from the first step")
    assert models["StudyConfig"]["recipe"]["description"] == "Values common to all experiments."
