from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.study_builders import make_dataset, make_recipe
from warmscale.planning.workload import RESNETS, PlanningError, workload, workload_of
from warmscale.study.planning import Planning
from warmscale.study.recipe import BUILT_IN_MODELS
from warmscale.training.model import build_model
from warmscale.training.reduction import bucketed


def real_model(name: str, num_classes: int) -> nn.Module:
    """A model without memory behind its weights."""
    with torch.device("meta"):
        return build_model(name, num_classes=num_classes, zero_init_residual=False, init_seed=1)


def test_every_built_in_model_is_known():
    assert set(RESNETS) == set(BUILT_IN_MODELS)


@pytest.mark.parametrize("name", BUILT_IN_MODELS)
@pytest.mark.parametrize("num_classes", [10, 1000])
def test_parameters_are_those_of_the_real_model(name, num_classes):
    model = real_model(name, num_classes)
    work = workload(name, 224, num_classes, "fp32")
    assert work.parameters == sum(each.numel() for each in model.parameters())
    assert work.gradient_bytes == sum(each.nbytes for each in model.parameters())


@pytest.mark.parametrize("name", BUILT_IN_MODELS)
@pytest.mark.parametrize("image_size", [64, 224])
def test_operations_are_those_of_the_real_model_within_three_percent(name, image_size):
    model = real_model(name, 1000)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(2, 3, image_size, image_size, device="meta")).sum().backward()
    # the first convolution makes no gradients of images, which the factor of three has not heard of
    assert workload(name, image_size, 1000, "fp32").flops_per_image == pytest.approx(
        counter.get_total_flops() / 2, rel=0.03
    )


@pytest.mark.parametrize("name", BUILT_IN_MODELS)
def test_all_reduces_are_about_those_of_the_trainer(name):
    buckets = sum(1 for _ in bucketed(real_model(name, 1000).parameters()))
    assert abs(workload(name, 224, 1000, "fp32").all_reduces - buckets) <= 1


def test_autocast_leaves_gradients_in_fp32_and_fp64_doubles_them():
    sizes = {
        precision: workload("resnet50", 224, 1000, precision).gradient_bytes for precision in ("fp32", "bf16", "fp64")
    }
    assert sizes["bf16"] == sizes["fp32"] == sizes["fp64"] / 2


def test_the_recipe_and_the_data_set_say_what_is_trained():
    work = workload_of(make_recipe(model="resnet18", tf32=True), make_dataset(image_size=64, val_resize=64))
    assert (work.model, work.image_size, work.precision, work.layers) == ("resnet18", 64, "tf32", 18)
    assert work.parameters == RESNETS["resnet18"].parameters - 513 * 990  # ten classes


@given(st.sampled_from(BUILT_IN_MODELS), st.integers(8, 256))
def test_operations_of_twice_the_side_are_four_times_as_many(name, image_size):
    small, large = (workload(name, size, 2, "fp32").flops_per_image for size in (image_size, 2 * image_size))
    assert large / small == pytest.approx(4, rel=0.05)  # but for the last layer's


def test_a_model_of_ones_own_has_the_size_that_the_config_gives():
    recipe, dataset = make_recipe(model="mine.nets:net"), make_dataset()
    planning = Planning.model_validate({"model": {"parameters": 1000, "gflops_per_image": 0.5}})
    work = workload_of(recipe, dataset, planning)
    assert (work.parameters, work.gradient_bytes, work.flops_per_image) == (1000, 4000, 1.5e9)


def test_a_model_of_ones_own_without_a_size_is_one_line():
    with pytest.raises(PlanningError) as caught:
        workload_of(make_recipe(model="mine.nets:net"), make_dataset(), Planning())
    (line,) = caught.value.lines
    assert line.startswith("planning.model: is missing") and "mine.nets:net" in line
