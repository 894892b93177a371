"""The JSON schema of a config file, made from the models that validate it, so that editors complete the YAML."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter

from .config import ReplayedConfig, StudyConfig
from .grid import SECTIONS, WorkersAs
from .recipe import Recipe, Strict, leaves


def config_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of a study, trained or replayed: grids know the leaves of a recipe, and every value of a
    recipe is optional."""
    schema = TypeAdapter(StudyConfig | ReplayedConfig).json_schema()
    recipe = Recipe.model_json_schema()
    definitions = schema["$defs"] | recipe.pop("$defs")
    definitions["WorkersAs"] = WorkersAs.model_json_schema()
    _describe(definitions | {"Recipe": recipe})
    recipe.pop("required")
    recipe["properties"]["workers_as"] = {"$ref": "#/$defs/WorkersAs"}
    for section in SECTIONS:  # dotted leaves are allowed beside nested ones
        dotted = [leaf for leaf in leaves() if leaf.startswith(f"{section}.")]
        recipe["properties"] |= {leaf: _leaf_schema(leaf, recipe, definitions) for leaf in dotted}
    point = {name: value for name, value in recipe["properties"].items() if name not in SECTIONS}
    definitions["Recipe"] = recipe
    definitions["Point"] = {"type": "object", "additionalProperties": False, "properties": point}
    definitions["Grid"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"type": "array", "minItems": 1, "items": value} for name, value in point.items()},
    }
    experiment = definitions["Experiment"]["properties"]
    _refer(definitions["StudyConfig"]["properties"], "recipe", "Recipe")
    _refer(experiment, "recipe", "Recipe")
    _refer(definitions["ThroughputExperiment"]["properties"], "recipe", "Recipe")
    _refer(experiment, "grid", "Grid")
    definitions["StudyConfig"]["properties"]["experiments"]["items"] = {
        "if": {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "throughput"}}},
        "then": {"$ref": "#/$defs/ThroughputExperiment"},
        "else": {"$ref": "#/$defs/Experiment"},
    }
    experiment["exclude"]["items"] = {"$ref": "#/$defs/Point", "minProperties": 1}
    _refer(definitions["ExtraPoint"]["properties"], "point", "Point")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study",
        "if": {"type": "object", "required": ["replay"]},  # rather than anyOf: what an editor says is about one of them
        "then": {"$ref": "#/$defs/ReplayedConfig"},
        "else": {"$ref": "#/$defs/StudyConfig"},
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as it is checked in."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe(definitions: dict[str, Any]) -> None:
    """Give the fields their docstrings. Pydantic's `use_attribute_docstrings` would read them at each start of
    Snakemake, which takes a tenth of what our imports take."""
    for model in _models(Strict):
        properties = definitions.get(model.__name__, {}).get("properties", {})
        for name, said in _field_docstrings(model):
            if name in properties:
                properties[name]["description"] = said


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for derived in model.__subclasses__():
        yield from _models(derived)


def _field_docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """(field as a config names it, its docstring), those of base classes first."""
    for owner in reversed([base for base in model.__mro__ if issubclass(base, Strict)]):
        (defined,) = ast.parse(inspect.getsource(owner)).body
        for field, said in itertools.pairwise(defined.body):
            match field, said:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield model.model_fields[name].alias or name, inspect.cleandoc(text)


def _leaf_schema(leaf: str, recipe: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    section, field = leaf.split(".")
    model = recipe["properties"][section]["$ref"].rpartition("/")[2]
    return definitions[model]["properties"][field]


def _refer(properties: dict[str, Any], name: str, definition: str) -> None:
    """Describe a property by a definition, and keep what is said about it."""
    said = {key: value for key, value in properties[name].items() if key in {"description", "default", "title"}}
    properties[name] = {**said, "$ref": f"#/$defs/{definition}"}
