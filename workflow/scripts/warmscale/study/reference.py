"""The reference of config files as Markdown, from the same models as validation and schema."""

from __future__ import annotations

import json
from typing import Any

from .schema import config_schema

INTRODUCTION = """# Keys of a config file

Made from the models that validate a config (`warmscale schema --write`). `warmscale check FILE` says what is wrong
with one.
Values under `recipe` hold for all experiments; an experiment changes them with its own `recipe`, its `grid` (any key of
the recipe, nested ones dotted: `lr_scaling.rule`) and its `extra` points, in this order. A key of the recipe without a
default may come from any of them.
`workers_as: {nodes: 40, per_node: 6}` is shorthand for `workers: 240` and says nothing about where they run.
In YAML, write `5.0e-5`: without the dot it is text.
"""
SECTIONS = {
    "StudyConfig": "A study",
    "Dataset": "`dataset`",
    "Reencode": "`dataset.reencode`",
    "Recipe": "`recipe`",
    "LrScaling": "`recipe.lr_scaling`",
    "WarmupRule": "`recipe.warmup_epochs` as a rule",
    "Decay": "`recipe.decay`",
    "Optimizer": "`recipe.optimizer`",
    "Divergence": "`recipe.divergence`",
    "Experiment": "an entry of `experiments`",
    "ExtraPoint": "an entry of `experiments.<name>.extra`",
    "Zoom": "`experiments.<name>.zoom`",
    "ThroughputExperiment": "an entry of `experiments` of kind throughput",
    "ReplayedConfig": "A study of replayed results",
    "ReplayedExperiment": "an entry of `experiments` of replayed results",
    "Replay": "`replay`: results that are there already",
    "TensorBoard": "`replay.tensorboard`",
    "TrainedMetric": "`metric` of a study",
    "Metric": "`metric` of replayed results and of a claim",
    "Claim": "an entry of `claims`",
    "Planning": "`planning`: what `snakemake plan` assumes",
    "CellSpread": "an entry of `planning.sd`",
    "CellEffect": "an entry of `planning.smallest_effect`",
    "OwnWork": "`planning.model`",
    "Budget": "`budget`",
    "Placement": "`placement`: how runs are carried out here, never part of a run",
}


def reference_text() -> str:
    """The whole reference, as it is checked in."""
    models = config_schema()["$defs"]
    return "\n".join([INTRODUCTION, *(_section(title, models[name]) for name, title in SECTIONS.items())])


def _section(title: str, model: dict[str, Any]) -> str:
    """A heading, what the model says of itself, and a table of its keys."""
    keys = [name for name in model["properties"] if "." not in name and name != "workers_as"]
    rows = [("key", "value", "default", "meaning"), ("---",) * 4]
    rows += [_row(key, model["properties"][key], key in model.get("required", ())) for key in keys]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    said = "" if title == "A study" else _one_line(model.get("description", ""))
    return f"## {title}\n\n{said}\n\n{table}" if said else f"## {title}\n\n{table}"


def _row(name: str, field: dict[str, Any], required: bool) -> tuple[str, ...]:
    default = "required" if required else "none"
    if "default" in field:
        is_section = isinstance(field["default"], dict) and field["default"]
        default = "as below" if is_section else f"`{json.dumps(field['default'])}`"
    return f"`{name}`", _kind(field), default, _one_line(field.get("description", ""))


def _kind(field: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return "mapping"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(option) for option in field["anyOf"]))
    if field.get("type") == "array":
        return "list"
    return {"object": "mapping", "string": "text"}.get(field.get("type"), field.get("type", "any"))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
