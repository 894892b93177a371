"""The sections of a study's config file around the recipe, and the keys that trained and replayed studies share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from .claims import Claim
from .metric import Metric, TrainedMetric
from .planning import Budget, Planning
from .recipe import Count, Fraction, NonNegative, Number, Percent, Positive, Seed, Strict
from .replay import Replay

NAME_PATTERN = r"^[a-z][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=60)]
"""A name that is also a file name and a Snakemake wildcard."""

Seeds = Annotated[int, Field(gt=0, le=1000)] | Annotated[list[Seed], Field(min_length=1, max_length=1000)]
"""A number of seeds, 1 to n, or the seeds themselves."""

PLACE_OF_DATASET = {"root", "pack", "check"}
"""Fields of a data set that say where it is, not what it is."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Reencode(Strict):
    """How images that are too large are coded anew in a pack. This changes the data, so it makes other runs."""

    longest_side: Annotated[int, Field(ge=32)] = 500
    """Pixels: images with a longer side are resized, all others stay as they are."""
    quality: Annotated[int, Field(ge=50, le=100)] = 90
    """JPEG quality of those."""


class Dataset(Strict):
    """An ImageFolder tree `train/<class>/*`, `val/<class>/*`; the declared sizes are compared with it once."""

    name: Name
    """`digits` is made from scikit-learn's scans by a rule; any other name is a tree that is there already."""
    version: str = ""
    """Raise it when the images change: part of the run id."""
    root: str
    """Folder of the tree, or of a pack of it (`warmscale pack`). Not part of the run id."""
    pack: str | None = None
    """Folder in which the workflow packs the tree before it trains from there; the runs stay the same. null: none."""
    reencode: Reencode | None = None
    """Large images coded anew when packed: less to read, but other runs. null: as they are in the tree."""
    check: Literal["none", "ends", "decode"] = "ends"
    """Before training: look at no image, at the first and last bytes of each, or decode each; of a pack: nothing, the
    sizes of its files, or their checksums."""
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
    decoder: Literal["turbo", "pil"] = "turbo"
    """Decoder and resize, bilinear with antialiasing, 8 bit. turbo: libjpeg-turbo and PyTorch; what is no plain JPEG is
    decoded by Pillow. pil: Pillow, slower; pixels differ by one grey level, two in a rare one."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Dataset:
        if self.val_resize < self.image_size:
            raise ValueError(f"val_resize {self.val_resize} is smaller than image_size {self.image_size}")
        return self

    @model_validator(mode="after")
    def _pack_is_elsewhere(self) -> Dataset:
        if self.pack is not None and os.path.abspath(self.pack) == os.path.abspath(self.root):
            raise ValueError(f"pack {self.pack} is root itself: give another folder, or no pack if it is one already")
        return self

    def content(self) -> dict[str, Any]:
        """What decides a result: all but the place, defaults left out, but for how images are coded anew."""
        content = self.model_dump(exclude=PLACE_OF_DATASET, exclude_defaults=True)
        return content | ({"reencode": self.reencode.model_dump()} if self.reencode else {})

    @property
    def place(self) -> str:
        """Folder that is trained from."""
        return self.pack or self.root

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
    kind: Literal["training", "throughput"] = "training"
    """training: a grid of runs. throughput: steps that are timed at several places, with keys of its own."""
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


class ThroughputExperiment(Strict):
    """Steps that are timed, not trained: a measurement for each number of nodes, ranks, workers and batch."""

    name: Name
    """Its figures are called <name>-<kind>."""
    kind: Literal["throughput"]
    """What tells it from a grid of runs."""
    title: str = ""
    """Heading of its figures; the name if there is none."""
    recipe: dict[str, Any] = {}
    """Values of the recipe that this experiment changes; its schedule and its mini-batch are not asked for."""
    nodes: Annotated[list[Count], Field(min_length=1)] = [1]
    """Numbers of nodes."""
    ranks_per_node: Annotated[list[Count], Field(min_length=1)] | None = None
    """Ranks on each of them; null: the placement's."""
    worker_batch_size: Annotated[list[Count], Field(min_length=1)]
    """Images of a worker in a step."""
    workers: Annotated[list[Count], Field(min_length=1)] | None = None
    """So many workers, whatever the ranks: strong scaling. null: one worker a rank, weak scaling."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 40
    """Timed steps: so many whole ones, so many without averaging gradients, so many averages alone."""
    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 10
    """Steps before those, which are not timed."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    """Measurements of each point, each by processes of its own."""
    minutes: Count = 15
    """Most that the batch job of a measurement may take, start and all, up to the site's limit; on this machine any."""
    data: Literal["synthetic", "dataset"] = "synthetic"
    """synthetic: the same images again and again, made on the device. dataset: what the loader delivers."""


TRAININGS = "trainings"
"""Figures by placement of all trainings are called trainings-<kind>."""
KINDS = {"kind=training": Experiment, "kind=throughput": ThroughputExperiment}
"""{tag: model} of an entry of `experiments`; the tags stand in pydantic's locations."""


def kind_tag(entry: Any) -> str:
    """The tag of an entry; what is no throughput experiment is meant to be a training."""
    kind = entry.get("kind") if isinstance(entry, Mapping) else getattr(entry, "kind", None)
    return "kind=throughput" if kind == "throughput" else "kind=training"


AnyExperiment = Annotated[
    Annotated[Experiment, Tag("kind=training")] | Annotated[ThroughputExperiment, Tag("kind=throughput")],
    Discriminator(kind_tag),
]


ZERO_1_ONLY = ("sgd", "fp32")
"""Optimizer and precision with which DeepSpeed's ZeRO stage 1 trains what stage 0 does. It flattens the parameters of a
group: LARS and LAMB would adapt to pieces of it; autocast's gradients are averaged in 16 bit; and the fp16 scaler is
not told of overflows."""


WHERE_FIELDS = {"ranks_per_node", "max_nodes", "nodes", "warm_starts"}
"""Fields of a placement that say where the ranks of a run are and how they start; the trainer is told the others."""


class Placement(Strict):
    """How runs are carried out here. Never part of a run id."""

    ranks_per_node: Count | None = None
    """Most ranks of a run on a node; null: one a GPU of the node, or 1 on CPUs."""
    max_nodes: Count = 1
    """A run uses the most ranks on up to so many nodes that divide its workers."""
    nodes: Count | Annotated[list[Count], Field(min_length=1)] | None = None
    """Number of nodes, or allowed numbers, whatever max_nodes is: a run uses the largest whose ranks, on full nodes,
    divide its workers; null: any up to max_nodes."""
    warm_starts: bool = True
    """On this machine, without GPUs: runs are forked from one process that has imported what all of them import, which
    saves each the seconds of its imports. It lives as long as Snakemake does; results are the same bit by bit. Why runs
    start cold is in the study's logs/warm.log."""
    engine: Literal["deepspeed", "ddp"] = "deepspeed"
    """What averages gradients and steps the optimizer; ddp: PyTorch's DistributedDataParallel."""
    zero_stage: Literal[0, 1] = 0
    """ZeRO stage: 1 spreads the optimizer's state over ranks."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    loader_threads: Annotated[int, Field(ge=0)] | None = None
    """Threads of a rank that decode images ahead; 0: decoded when needed; null: one a core of the rank but that which
    trains, on a GPU at least one."""
    deterministic: bool = True
    """On a GPU: deterministic algorithms only. On a CPU they always are."""
    workers_per_pass: Literal["auto"] | Count = "auto"
    """Workers of a rank whose images go through the model in one pass, each share with a BatchNorm of its own: small
    shares do not fill a big device. The largest divisor of the rank's workers up to it; 1 for a model that draws random
    numbers (dropout) or in which images see each other: tried, and an error where more were asked for. auto: on a CPU
    as many as have 131,072 pixels together; on a GPU 1."""
    channels_last: Literal["auto"] | bool = "auto"
    """Weights of convolutions lie in memory as images do. auto: on a GPU at zero_stage 0, with which alone it goes."""
    fused_optimizer: Literal["auto"] | bool = "auto"
    """One kernel updates all parameters. For sgd, not with fp16; auto: there."""
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = "none"
    """Training passes through torch.compile in this mode: a minute at the start of every attempt. Gradients come all at
    once, so that several ranks do not communicate while they are computed. Not for models that draw random numbers, and
    max-autotune only without deterministic."""
    cuda_graphs: bool = False
    """A training pass is captured once and replayed: for small passes, whose kernels a CPU is too slow to start. Not
    for models that draw random numbers, at zero_stage 0, with engine ddp on one rank only; without effect on a CPU."""
    checkpoint_minutes: NonNegative | None = None
    """A checkpoint at the end of each epoch (null), or every so many minutes; always when paused."""
    audit_every_steps: Count = 50
    """The schedule audit records and checks every Nth step on all ranks."""
    gradients: bool = True
    """Gradient norms and noise, and how far updates go, are measured; the weights stay what they are, bit by bit. Not
    at zero_stage 1."""
    gradients_every_steps: Count = 20
    """At every Nth step; an epoch's row has the means over it."""
    gradients_first_epochs: Annotated[int, Field(ge=0)] = 5
    """In so many epochs each of those steps has a row of its own."""
    keep_weights: bool = False
    """Keep the last checkpoint of a finished run."""

    @model_validator(mode="after")
    def _zero_is_deepspeeds(self) -> Placement:
        if self.zero_stage and self.engine != "deepspeed":
            raise ValueError(
                f"zero_stage {self.zero_stage} is DeepSpeed's: engine {self.engine} has stage 0 only; "
                f"set one or the other"
            )
        return self


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
    experiments: Annotated[list[AnyExperiment], Field(min_length=1)]
    """The grids, and what is measured. Points that experiments share are trained once, or measured once."""
    imported: Replay | None = Field(default=None, alias="import")
    """Results that are there already, for cells of these experiments: what they stand for is not trained."""
    planning: Planning = Planning()
    """What `snakemake plan` assumes and aims at."""
    budget: Budget | None = None
    """What the study may use, so that a plan chooses; null: as much as all of it needs."""

    @property
    def trainings(self) -> list[Experiment]:
        """The experiments that have runs."""
        return [experiment for experiment in self.experiments if experiment.kind == "training"]

    @property
    def throughputs(self) -> list[ThroughputExperiment]:
        """The experiments that have measurements."""
        return [experiment for experiment in self.experiments if experiment.kind == "throughput"]


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

    @property
    def trainings(self) -> list[ReplayedExperiment]:
        """All of them: their runs are there already."""
        return self.experiments

    @property
    def throughputs(self) -> list[ThroughputExperiment]:
        """None."""
        return []
