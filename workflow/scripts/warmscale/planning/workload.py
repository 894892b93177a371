"""What a training step of a model is made of: parameters, bytes of its gradients, floating-point operations."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..study.config import Dataset
from ..study.errors import StudyError
from ..study.planning import OwnWork, Planning
from ..study.recipe import Recipe, arithmetic

PUBLISHED_SIZE = 224
"""Pixels a side of the images that operations are published for."""
PUBLISHED_CLASSES = 1000
TRAINING = 3.0
"""Operations of a forward and a backward pass, in forward passes: one further product for the gradients of the images,
one for those of the weights."""
BUCKET_BYTES = 25 * 2**20
"""Gradients are averaged in pieces of this size, after a first one that is smaller: training/reduction.py."""
FIRST_BUCKET_BYTES = 2**20
OWN_LAYERS = 50
"""Assumed of a model of one's own."""


class PlanningError(StudyError):
    """Why costs cannot be predicted, one line a finding."""


@dataclass(frozen=True)
class Published:
    """A model as it is published, for 1,000 classes and images of 224 x 224."""

    parameters: int
    gigamacs: float
    """Multiply-adds of a forward pass, in 10^9."""
    features: int
    """What the last layer sees: it has so many weights a class, and a bias."""
    layers: int
    """Layers with weights, which the model is named after. The kernels of a pass are about as many times some."""


RESNETS = {
    "resnet8": Published(142_392, 0.61262, 64, 8),
    "resnet18": Published(11_689_512, 1.814, 512, 18),
    "resnet34": Published(21_797_672, 3.664, 512, 34),
    "resnet50": Published(25_557_032, 4.089, 2048, 50),
    "resnet101": Published(44_549_160, 7.801, 2048, 101),
    "resnet152": Published(60_192_808, 11.514, 2048, 152),
}
"""As torchvision documents them with its weights (https://docs.pytorch.org/vision/stable/models.html), layers by table
1 of He et al. 2016, "Deep residual learning for image recognition". resnet8 is this project's own: by hand."""


@dataclass(frozen=True)
class Workload:
    """What is computed and communicated in a step, whatever carries it out."""

    model: str
    image_size: int
    """Pixels a side."""
    precision: str
    """fp64, fp32, tf32, bf16 or fp16."""
    parameters: int
    gradient_bytes: int
    """Averaged over ranks once a step, in the precision of the parameters: autocast leaves them in fp32."""
    flops_per_image: float
    """Of a forward and a backward pass, a multiply-add counted as two."""
    layers: int = OWN_LAYERS
    """Layers with weights."""

    @property
    def all_reduces(self) -> int:
        """Pieces in which gradients are averaged: about, as no parameter is cut in two."""
        return 1 + max(0, math.ceil((self.gradient_bytes - FIRST_BUCKET_BYTES) / BUCKET_BYTES))


def workload_of(recipe: Recipe, dataset: Dataset, planning: Planning | None = None) -> Workload:
    """What a step of a recipe is made of; raises PlanningError for a model of one's own whose size is not given."""
    precision = arithmetic(recipe.precision, recipe.tf32)
    return workload(recipe.model, dataset.image_size, dataset.num_classes, precision, planning and planning.model)


def workload(model: str, image_size: int, num_classes: int, precision: str, own: OwnWork | None = None) -> Workload:
    """The same from values. Operations of convolutions grow with the number of pixels."""
    if model in RESNETS:
        of = RESNETS[model]
        parameters = of.parameters + (of.features + 1) * (num_classes - PUBLISHED_CLASSES)
        convolutions = of.gigamacs * 1e9 - of.features * PUBLISHED_CLASSES
        macs = convolutions * (image_size / PUBLISHED_SIZE) ** 2 + of.features * num_classes
        forward, layers = 2 * macs, of.layers
    elif own:
        parameters, forward, layers = own.parameters, own.gflops_per_image * 1e9, OWN_LAYERS
    else:
        raise PlanningError(
            [f"planning.model: is missing: how large {model} is, as {{parameters: 25000000, gflops_per_image: 8.2}}"]
        )
    return Workload(
        model=model,
        image_size=image_size,
        precision=precision,
        parameters=parameters,
        gradient_bytes=parameters * (8 if precision == "fp64" else 4),
        flops_per_image=TRAINING * forward,
        layers=layers,
    )


RESNET50 = workload("resnet50", PUBLISHED_SIZE, PUBLISHED_CLASSES, "fp32")
"""What the speed of hardware is told for."""
