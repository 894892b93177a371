"""The sections of a study's config file around the recipe, and the keys that trained and replayed studies share."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .claims import Claim
from .metric import Metric, TrainedMetric
from .recipe import Count, Fraction, NonNegative, Number, Percent, Positive, Seed, Strict
from .replay import Replay

NAME_PATTERN = r"^[a-z][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=60)]
"""A name that is also a file name and a Snakemake wildcard."""

Seeds = Annotated[int, Field(gt=0, le=1000)] | Annotated[list[Seed], Field(min_length=1, max_length=1000)]
"""A number of seeds, 1 to n, or the seeds themselves."""

PLACE_OF_DATASET = {"root", "check"}
"""Fields of a data set that say where it is, not what it is."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Dataset(Strict):
    """An ImageFolder tree `train/<class>/*`, `val/<class>/*`; the declared sizes are compared with it once."""

    name: Name
    """`digits` is made from scikit-learn's scans by a rule; any other name is a tree that is there already."""
    version: str = ""
    """Raise it when the images change: part of the run id."""
    root: str
    """Folder of the tree. Not part of the run id."""
    check: Literal["none", "ends", "decode"] = "ends"
    """Before training: look at no image, at the first and last bytes of each, or decode each."""
    num_train_images: Count
    """Declared: schedules and ids use it, and a tree that has another number is refused."""
    num_val_images: Count
    """Declared, likewise."""
    num_classes: Annotated[int, Field(gt=1)]
    """Declared, likewise: folders of train."""
    image_size: Count = 224
    """Pixels a side that the model sees."""
    val_resize: Count = 256
    """Validation: the shorter side is resized to this, then the centre is cropped."""
    mean: tuple[Fraction, Fraction, Fraction] = Field(default=IMAGENET_MEAN, strict=False)
    """Of the channels red, green, blue, for pixels from 0 to 1; ImageNet's unless given."""
    std: tuple[Positive, Positive, Positive] = Field(default=IMAGENET_STD, strict=False)
    """Likewise."""
    decoder: Literal["pil"] = "pil"
    """Decoder and resize: Pillow, bilinear with antialiasing, 8 bit."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Dataset:
        if self.val_resize < self.image_size:
            raise ValueError(f"val_resize {self.val_resize} is smaller than image_size {self.image_size}")
        return self

    def content(self) -> dict[str, Any]:
        """What decides a result: all but the place, defaults left out."""
        return self.model_dump(exclude=PLACE_OF_DATASET, exclude_defaults=True)

    @property
    def declared_sizes(self) -> dict[str, int]:
        """What a tree must have for the declarations to be true."""
        return self.model_dump(include={"num_train_images", "num_val_images", "num_classes"})

    @property
    def fingerprint(self) -> str:
        """Short hash of what an index depends on: name, version and declared sizes."""
        declared = json.dumps([self.name, self.version, self.declared_sizes], sort_keys=True)
        return hashlib.sha256(declared.encode()).hexdigest()[:8]


class Zoom(Strict):
    """Window of a figure of curves."""

    epochs: tuple[NonNegative, NonNegative] | None = Field(default=None, strict=False)
    """First and last epoch; null: all."""
    top1: tuple[Percent, Percent] | None = Field(default=None, strict=False)
    """Percent."""

    @field_validator("epochs", "top1")
    @classmethod
    def _from_low_to_high(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window and window[0] >= window[1]:
            raise ValueError(f"[{window[0]:g}, {window[1]:g}] must be from low to high")
        return window


class ExtraPoint(Strict):
    """A point beside the grid."""

    point: dict[str, Any]
    """{leaf of the recipe: value}, as one point of a grid."""
    seeds: Seeds | None = None
    """Instead of the experiment's."""


class Experiment(Strict):
    """One named grid, the source of one or more figures."""

    name: Name
    """Its figures are called <name>-<kind>."""
    title: str = ""
    """Heading of its figures; the name if there is none."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """{leaf of the recipe: levels}; the cartesian product is run. Nested leaves are dotted: lr_scaling.rule."""
    exclude: list[Annotated[dict[str, Any], Field(min_length=1)]] = []
    """Points with all of these values are left out."""
    extra: list[ExtraPoint] = []
    """Further points."""
    recipe: dict[str, Any] = {}
    """Values of the recipe that this experiment changes."""
    seeds: Seeds | None = None
    """Instead of the study's."""
    figures: list[Literal["curves", "final"]] = ["curves"]
    """curves: accuracy over epochs. final: accuracy over the levels of the first factor."""
    zoom: Zoom = Zoom()
    """A second window beside the whole of the curves."""


ZERO_1_ONLY = ("sgd", "fp32")
"""Optimizer and precision with which DeepSpeed's ZeRO stage 1 trains what stage 0 does. It flattens the parameters of a
group: LARS and LAMB would adapt to pieces of it; autocast's gradients are averaged in 16 bit; and the fp16 scaler is
not told of overflows."""


WHERE_FIELDS = {"ranks_per_node", "max_nodes", "nodes"}
"""Fields of a placement that say where the ranks of a run are; the others are settings of the trainer."""


class Placement(Strict):
    """How runs are carried out here. Never part of a run id."""

    ranks_per_node: Count | None = None
    """Most ranks of a run on a node; null: one a GPU of the node, or 1 on CPUs."""
    max_nodes: Count = 1
    """A run uses the most ranks on up to so many nodes that divide its workers."""
    nodes: Count | Annotated[list[Count], Field(min_length=1)] | None = None
    """Number of nodes, or allowed numbers, whatever max_nodes is: a run uses the largest whose ranks, on full nodes,
    divide its workers; null: any up to max_nodes."""
    zero_stage: Literal[0, 1] = 0
    """ZeRO stage: 1 spreads the optimizer's state over ranks."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    loader_threads: Annotated[int, Field(ge=0)] = 0
    """Threads of a rank that decode images ahead; 0: decoded when needed."""
    deterministic: bool = True
    """On a GPU: deterministic algorithms only. On a CPU they always are."""
    checkpoint_minutes: NonNegative | None = None
    """A checkpoint at the end of each epoch (null), or every so many minutes; always when paused."""
    audit_every_steps: Count = 50
    """The schedule audit records and checks every Nth step on all ranks."""
    keep_weights: bool = False
    """Keep the last checkpoint of a finished run."""


class Analysis(Strict):
    """What a study says about itself and asks of its runs, wherever they come from."""

    study: Name
    """Name of the study, and of its folder under results/."""
    title: str = ""
    """Heading of the report."""
    note: str = ""
    """Shown wherever results are: what a reader has to know about this study."""
    metric: Metric = Metric()
    """The number of a run that figures, tables and claims compare."""
    target: Number | None = None
    """Drawn as a line in figures, in units of the metric."""
    claims: list[Claim] = []
    """What is to be tested. Write them down before the runs: each one makes the others harder to establish."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of intervals; 1 - confidence is the risk of a false verdict, of supporting and of refuting each."""
    familywise: Literal["holm", "none"] = "holm"
    """holm: that risk is shared by all claims of the study (Holm 1979). none: each claim has it for itself."""
    smallest_effect: Positive = 0.5
    """Smallest difference that matters, in units of the metric: seeds_needed is for one of this size."""
    max_looks: Annotated[int, Field(ge=1, le=100)] = 3
    """How often verdicts may be asked for while seeds are added. Each look has 1 / max_looks of the risk."""
    max_seeds: Annotated[int, Field(ge=2, le=1000)] = 16
    """Most seeds a cell that seeds_needed thinks of."""
    placement: Placement = Placement()
    """How runs are carried out here."""


class StudyConfig(Analysis):
    """A study: one file, everything it makes under results/<study>/."""

    dataset: Dataset
    """What is trained on."""
    recipe: dict[str, Any]
    """Values common to all experiments."""
    metric: TrainedMetric = TrainedMetric()
    """The number of a run that figures, tables and claims compare."""
    target: Percent | None = None
    """Drawn as a line in figures, in percent."""
    seeds: Seeds = 1
    """A number of seeds, 1 to n, or the seeds themselves; an experiment or an extra point may have its own."""
    experiments: Annotated[list[Experiment], Field(min_length=1)]
    """The grids. Points that experiments share are trained once."""
    imported: Replay | None = Field(default=None, alias="import")
    """Results that are there already, for cells of these experiments: what they stand for is not trained."""


class ReplayedExperiment(Strict):
    """Rows of replayed results that are shown and compared together."""

    name: Name
    """Its figures are called <name>-<kind>."""
    title: str = ""
    """Heading of its figures; the name if there is none."""
    where: dict[str, Any] = {}
    """{column: value, or list of values}: rows must have all of them; empty: all rows."""
    figures: list[Literal["curves", "final"]] = ["final"]
    """curves: the metric over epochs, where the sources have epochs. final: over the levels of the first factor."""
    zoom: Zoom = Zoom()
    """A second window beside the whole of the curves."""


class ReplayedConfig(Analysis):
    """A study of results that are there already: `replay` instead of `dataset` and `recipe`. Nothing is trained."""

    replay: Replay
    """Where the results are."""
    max_looks: Annotated[int, Field(ge=1, le=100)] = 1
    """How often verdicts may be asked for while rows are added. Each look has 1 / max_looks of the risk."""
    experiments: Annotated[list[ReplayedExperiment], Field(min_length=1)] = [ReplayedExperiment(name="all")]
    """Which rows belong together; default: all of them."""
