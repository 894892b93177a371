"""The recipe of a run: every choice that can change its result. Any leaf may be a factor of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Exponent = Annotated[float, Field(ge=-10, le=10)]
Count = Annotated[int, Field(gt=0, le=10**12)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

BuiltInModel = Literal["resnet8", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
BUILT_IN_MODELS = get_args(BuiltInModel)
OWN_MODEL_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
OwnModel = Annotated[str, Field(pattern=OWN_MODEL_PATTERN)]


class Strict(BaseModel):
    """A frozen section of a config: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LrScaling(Strict):
    """How base_lr becomes peak_lr: peak_lr = base_lr * k^exponent."""

    rule: Literal["none", "linear", "sqrt", "power"] = "linear"
    """Exponent of k: none 0, linear 1, sqrt 0.5, power the `exponent` below."""
    of: Literal["mini_batch_size", "workers"] = "mini_batch_size"
    """k is mini_batch_size / reference_batch_size (Goyal et al. 2017) or workers / reference_workers (Horovod)."""
    exponent: Exponent | None = None
    """Exponent of rule `power`; not allowed with another rule."""

    @model_validator(mode="after")
    def _exponent_belongs_to_power(self) -> LrScaling:
        if (self.rule == "power") != (self.exponent is not None):
            raise ValueError(f"exponent is {self.exponent} with rule {self.rule}: give it with rule power, only there")
        return self


class WarmupRule(Strict):
    """warmup_epochs = base_epochs * (mini_batch_size / base_mini_batch_size)^exponent; LEGW is exponent 1."""

    base_epochs: NonNegative
    base_mini_batch_size: Count
    exponent: Exponent


class Decay(Strict):
    """The learning rate after warmup, relative to peak_lr."""

    kind: Literal["step", "cosine", "polynomial"] = "step"
    """step: `factor` at each milestone. cosine: half a period (Loshchilov & Hutter 2017). polynomial: (1 - t)^power."""
    epochs: tuple[Positive, ...] = Field(default=(30.0, 60.0, 80.0), strict=False)
    """Milestones of `step`, increasing, fractions allowed."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of `step` at each milestone."""
    power: Annotated[float, Field(gt=0, le=100)] = 2.0
    """Power of `polynomial`."""
    final_fraction: Fraction = 0.0
    """Where `cosine` and `polynomial` end, as a fraction of peak_lr."""

    @model_validator(mode="after")
    def _milestones_increase(self) -> Decay:
        if any(later <= earlier for earlier, later in zip(self.epochs, self.epochs[1:], strict=False)):
            raise ValueError(f"epochs {list(self.epochs)} must increase")
        return self


class Optimizer(Strict):
    """The optimizer. Fields that the chosen one does not have must stay at their defaults."""

    name: Literal["sgd", "lars", "lamb"] = "sgd"
    """SGD of PyTorch; LARS (You et al. 2017) and LAMB (You et al. 2020) of timm."""
    momentum: Fraction = 0.9
    """SGD and LARS."""
    nesterov: bool = False
    """SGD and LARS: Nesterov's momentum."""
    weight_decay: NonNegative = 0.0
    """Coefficient of the penalty on weights."""
    decay_norm_and_bias: bool = True
    """False: no weight decay on BatchNorm parameters and biases (Goyal et al. 2017: none on BatchNorm's gamma)."""
    trust_coefficient: Positive = 0.001
    """LARS: local rate = trust_coefficient * |w| / |g| (You et al. 2017)."""
    always_adapt: bool = False
    """LARS, LAMB: also adapt parameters without weight decay; timm adapts only those with it otherwise."""
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.999), strict=False)
    """LAMB."""
    eps: Positive | None = None
    """Added to denominators; null: the optimizer's own default."""

    @model_validator(mode="after")
    def _fields_belong_to_name(self) -> Optimizer:
        foreign = {
            "sgd": ("trust_coefficient", "always_adapt", "betas", "eps"),
            "lars": ("betas",),
            "lamb": ("momentum", "nesterov", "trust_coefficient"),
        }[self.name]
        if given := [name for name in foreign if getattr(self, name) != type(self).model_fields[name].default]:
            raise ValueError(f"{', '.join(given)} has no meaning for {self.name}: leave it out")
        return self


class Divergence(Strict):
    """When a run counts as diverged. A loss that is not finite always does."""

    loss_above: Positive | None = None
    """Bound on the loss of a step; null: none."""
    for_steps: Count = 1
    """Steps in a row above the bound."""


class Recipe(Strict):
    """Everything that makes a run what it is, but data set and seed."""

    model: BuiltInModel | OwnModel = "resnet50"
    """A model of torchvision's resnet family, resnet8, or one's own as `package.module:function(num_classes)`."""
    zero_init_residual: bool = False
    """Start with gamma 0 in the last BatchNorm of each residual block (Goyal et al. 2017)."""
    epochs: Count
    """Length of training; `warmup_counts: before` adds the warmup."""
    workers: Count
    """Data-parallel workers; each one's share of a mini-batch is one BatchNorm batch."""
    mini_batch_size: Count
    """Images of one update, all workers together."""
    batchnorm_batch_size: Count | None = None
    """Images of one BatchNorm batch; null: worker_batch_size. Must divide it."""
    batchnorm_momentum: Fraction | None = None
    """Weight of a new batch in BatchNorm's running statistics; null: the model's own, 0.1 in PyTorch."""
    batchnorm_momentum_per: Literal["step", "batch"] = "step"
    """step: the running statistics take in all workers' batches of a step with that weight together, as the average of
    data-parallel workers does. batch: as if in turn, 1 - (1 - momentum)^batches together, so that they follow the
    weights as fast with few large steps as with many small ones."""
    last_batch: Literal["drop", "carry"] = "drop"
    """The images of an epoch that fill no mini-batch: left out, or carried into the next epoch's first one."""
    base_lr: Positive
    """Learning rate at reference_batch_size or reference_workers."""
    reference_batch_size: Count = 32
    """Images that base_lr is meant for, with lr_scaling.of mini_batch_size."""
    reference_workers: Count = 1
    """Workers that base_lr is meant for, with lr_scaling.of workers."""
    lr_scaling: LrScaling = LrScaling()
    """How base_lr becomes peak_lr."""
    warmup_epochs: NonNegative | WarmupRule = 0.0
    """Epochs until peak_lr, fractions allowed, or a rule in mini_batch_size."""
    warmup_shape: Literal["gradual", "constant", "none"] = "gradual"
    """gradual: linear, at every step. constant: warmup_start until the end of warmup. none: no warmup."""
    warmup_start: Literal["base_lr", "zero"] | Fraction = "base_lr"
    """Rate at the start of warmup: the unscaled base_lr, zero, or a fraction of peak_lr."""
    warmup_step: Literal["t+1", "t"] = "t+1"
    """Step t (from 0) of a ramp of n has (t+1)/n of the way behind it (Horovod) or t/n (Goyal et al. 2017)."""
    warmup_counts: Literal["inside", "before"] = "inside"
    """inside: decay counts from the first step, so warmup shortens the time at the peak (Horovod, Goyal).
    before: decay counts from the end of warmup, and training is longer by it."""
    decay: Decay = Decay()
    """The learning rate after warmup."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    label_smoothing: Fraction = 0.0
    """Share of the target that is spread over all classes; the training loss includes it."""
    gradient_clipping: NonNegative = 0.0
    """Bound on the global gradient norm; 0: none."""
    augmentation: Literal["crop_flip", "none"] = "crop_flip"
    """crop_flip: RandomResizedCrop (area 0.08 to 1, ratio 3/4 to 4/3) and horizontal flip. none: as in validation."""
    precision: Literal["fp64", "fp32", "bf16", "fp16"] = "fp32"
    """bf16 and fp16: autocast, parameters and BatchNorm in fp32."""
    tf32: bool = False
    """Allow TF32 in matrix products and convolutions of a GPU."""
    divergence: Divergence = Divergence()
    """When a run counts as diverged."""
    data_seed: Seed | None = None
    """Seed of order and augmentation; null: the run's seed."""
    init_seed: Seed | None = None
    """Seed of the initial weights; null: the run's seed."""


def arithmetic(precision: str, tf32: bool) -> str:
    """What matrices are multiplied in: the precision, or tf32 where fp32 may use it."""
    return "tf32" if tf32 and precision == "fp32" else precision


def leaves(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Names of all leaves of a recipe, nested ones dotted: `lr_scaling.rule`."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def leaf_value(recipe: Recipe, leaf: str) -> Any:
    """The value of one leaf of a recipe."""
    section, _, field = leaf.partition(".")
    return getattr(getattr(recipe, section), field) if field else getattr(recipe, section)


def leaf_values(recipe: BaseModel, prefix: str = "") -> dict[str, Any]:
    """{leaf: value} of a recipe, in the order of `leaves`."""
    values: dict[str, Any] = {}
    for name in type(recipe).model_fields:
        value = getattr(recipe, name)
        nested = isinstance(value, BaseModel) and not isinstance(value, WarmupRule)
        values |= leaf_values(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return values
