"""Reading a run's content back: the fields that it leaves out because they are at their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import Dataset
from .recipe import Divergence, Optimizer, Recipe

SECTIONS = {"optimizer": Optimizer, "divergence": Divergence}
PLAIN = (
    "zero_init_residual",
    "batchnorm_momentum",
    "batchnorm_momentum_per",
    "last_batch",
    "label_smoothing",
    "gradient_clipping",
    "augmentation",
    "precision",
    "tf32",
)


def filled(content: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a content but schedule and seeds, with defaults where it says nothing."""
    recipe = {name: content.get(name, Recipe.model_fields[name].default) for name in PLAIN}
    recipe |= {name: model.model_validate(content.get(name, {})).model_dump() for name, model in SECTIONS.items()}
    dataset = Dataset.model_validate({**content["dataset"], "root": "."}).model_dump()
    return recipe | {"model": content["model"], "dataset": dataset}
