"""Whatever stands in a config: a study or a StudyError comes of it, never another exception."""

import copy
import re

import jsonschema
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warmscale.study import StudyError, canonical_json, load_study
from warmscale.study.grid import LEAVES, SECTIONS
from warmscale.study.schema import config_schema

from .study_builders import make_config

RUN_ID = re.compile("mb[0-9][-.a-z0-9]+")  # the wildcard constraint of workflow/rules/job_or_study.smk
SCHEMA = jsonschema.Draft202012Validator(config_schema())
FULL = make_config(
    title="t",
    note="n",
    seeds=[1, 2],
    metric={"name": "top1", "goal": "maximize", "of_run": None},
    target=75.3,
    placement={"ranks_per_node": 2, "checkpoint_minutes": 1.5},
)
FULL["dataset"] |= {"version": "1", "check": "ends", "image_size": 224, "val_resize": 256, "mean": [0.1, 0.2, 0.3]}
FULL["recipe"] |= {
    "lr_scaling": {"rule": "power", "of": "workers", "exponent": 0.5},
    "warmup_epochs": {"base_epochs": 1, "base_mini_batch_size": 100, "exponent": 1},
    "warmup_start": 0.1,
    "optimizer": {"name": "lamb", "betas": [0.9, 0.99], "eps": 1e-6},
    "divergence": {"loss_above": 5, "for_steps": 2},
}
FULL["experiments"] = [
    {
        "name": "first",
        "title": "t",
        "grid": {"warmup_epochs": [0, 1.5], "lr_scaling.exponent": [0.5, 1.0], "decay.epochs": [[3], [4, 5]]},
        "exclude": [{"warmup_epochs": 0, "decay.epochs": [3]}],
        "extra": [{"point": {"workers_as": {"nodes": 2, "per_node": 5}}, "seeds": [7]}],
        "recipe": {"decay.factor": 0.5, "decay": {"kind": "cosine"}},
        "seeds": 2,
        "figures": ["curves", "final"],
        "zoom": {"epochs": [1, 2], "top1": [0, 100]},
    },
    {"name": "second", "recipe": {"workers_as": {"nodes": 2, "per_node": 2}}, "extra": [{"point": {"base_lr": 1}}]},
]

WORDS = st.sampled_from(
    [
        *(*LEAVES, *SECTIONS, *FULL, *FULL["experiments"][0], *FULL["dataset"], "workers_as", "nodes", "per_node"),
        *("Model", "int", "5e-5", "none", "linear", "zero", "cosine", "sgd", "a b", "x\ny", "mb-1", ""),
    ]
)
NUMBERS = (
    st.sampled_from([0, 1, -1, 2, 5, 10, 100, 1e9, 1e308, 5e-324, -0.0, float("nan"), float("inf"), 10**400, 2**63])
    | st.integers()
    | st.floats()
)
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=5) | st.dates()
KEYS = WORDS | st.text(max_size=3) | st.integers(0, 3) | st.none()
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=6,
)


def places(value, path=()):
    """Paths of all values of a config."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(config, path, value):
    if not path:
        return value
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return config


@st.composite
def spoiled(draw):
    """A valid config in which a few values are replaced, added or deleted."""
    config = copy.deepcopy(draw(st.sampled_from([FULL, make_config()])))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(config))))
        inner = config
        for key in path:
            inner = inner[key]
        if isinstance(inner, dict) and draw(st.booleans()):
            inner[draw(KEYS)] = draw(GARBAGE)
        elif isinstance(inner, list) and draw(st.booleans()):
            inner.append(draw(GARBAGE))
        else:
            config = put(config, path, draw(GARBAGE))
    return config


def test_the_config_that_is_spoiled_is_valid():
    assert len(load_study(FULL).points) == (2 * 2 * 2 - 2) * 2 + 1 + 2


NATURAL = st.integers(1, 200) | st.sampled_from([1, 4, 100, 1000, 10**6, 10**9, 10**12])
REAL = st.sampled_from([0, 1, 5e-324, 1e-300, 1e-9, 0.3, 2.5, 9, 10, 1e6, 1e300, 1.7e308, -3]) | st.floats(0, 1)
CHOICES = [["none", "linear", "sqrt", "power"], ["gradual", "constant", "none"], ["inside", "before"], ["t", "t+1"]]
CHOICES += [
    ["step", "cosine", "polynomial"],
    ["sgd", "lars", "lamb"],
    ["drop", "carry"],
    ["workers", "mini_batch_size"],
]


@st.composite
def extreme(draw):
    """A valid config in which numbers are replaced by extreme ones and choices by other choices."""
    config = copy.deepcopy(FULL)
    config["recipe"] |= {"warmup_shape": "gradual", "warmup_counts": "inside", "warmup_step": "t", "last_batch": "drop"}
    config["recipe"] |= {"reference_workers": 1, "data_seed": None}
    del config["experiments"][0]["exclude"]
    for path in draw(st.lists(st.sampled_from(list(places(config))), min_size=1, max_size=12)):
        value = config
        for key in path:
            value = value[key]
        others = [choice for choices in CHOICES if value in choices for choice in choices]
        if others:
            put(config, path, draw(st.sampled_from(others)))
        elif isinstance(value, int | float):
            put(config, path, draw(NATURAL if isinstance(value, int) else REAL))
    return config


def check_garbage(config):
    try:
        study = load_study(config)
    except StudyError as error:
        assert error.lines
        assert all(line and line == " ".join(line.split()) and len(line) < 1000 for line in error.lines)
    else:
        assert study.runs
        assert all(RUN_ID.fullmatch(run_id) and len(run_id) < 100 for run_id in study.runs)
        assert {point.run_id for point in study.points} == set(study.runs)
        assert list(SCHEMA.iter_errors(config)) == []
        assert canonical_json(config)  # the workflow hands it on as JSON


@settings(max_examples=800)
@given(spoiled())
@example(make_config(seeds=10**12))
@example(make_config(seeds=[[1], {}]))
@example(make_config(experiments=[{"name": "x", "extra": [{"point": {"lr_scaling": {"rule": "none"}}}]}]))
def test_garbage_is_a_study_or_a_study_error(config):
    check_garbage(config)


@settings(max_examples=300)
@given(extreme())
def test_extreme_numbers_are_a_study_or_a_study_error(config):
    check_garbage(config)
