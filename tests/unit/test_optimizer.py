"""Optimizers by name: what PyTorch's and timm's do, as far as this project relies on it."""

import pytest
import torch
from torch import nn

from warmscale.study.recipe import Optimizer
from warmscale.training.forward import to_channels_last
from warmscale.training.optimizer import build_optimizer, parameter_groups

RATES = [0.1, 0.1, 0.5, 2.0, 0.0, 0.3]


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2)).double()


def build(model, fused=False, **settings):
    return build_optimizer(model, Optimizer(**settings).model_dump(), fused=fused)


def steps(optimizer, parameters, gradient_of):
    """Steps with a rate that is set before each, as the loop does."""
    for number, rate in enumerate(RATES):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for index, parameter in enumerate(parameters):
            parameter.grad = gradient_of(index, number, parameter)
        optimizer.step()


def gradient(index, number, parameter):
    generator = torch.Generator().manual_seed(100 * index + number)
    return torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_keeps_the_rate_outside_the_momentum_buffer(nesterov, weight_decay, fused):
    model = make_model()
    parameters = list(model.parameters())
    weights = [parameter.detach().clone() for parameter in parameters]
    optimizer = build(model, fused, momentum=0.9, nesterov=nesterov, weight_decay=weight_decay)
    assert bool(optimizer.param_groups[0]["fused"]) is fused
    steps(optimizer, parameters, gradient)
    for index, weight in enumerate(weights):
        buffer = torch.zeros_like(weight)
        for number, rate in enumerate(RATES):
            g = gradient(index, number, weight) + weight_decay * weight
            buffer = 0.9 * buffer + g
            weight = weight - rate * (g + 0.9 * buffer if nesterov else buffer)
        assert torch.allclose(parameters[index], weight, rtol=1e-12)


def test_a_fused_update_sees_the_rate_and_the_hooks_as_another():
    model, rates = make_model(), []
    optimizer = build(model, True, momentum=0.9)
    optimizer.register_step_pre_hook(lambda stepping, *_: rates.append(stepping.param_groups[0]["lr"]))
    steps(optimizer, list(model.parameters()), gradient)
    assert rates == RATES


@pytest.mark.parametrize("fused", [False, True])
def test_momenta_of_a_checkpoint_lie_in_memory_as_the_parameters_do(fused):
    models = [make_model(), make_model()]
    to_channels_last(models[1])
    saved = build(models[0], not fused, momentum=0.9)
    steps(saved, list(models[0].parameters()), gradient)
    with torch.no_grad():
        for own, other in zip(models[1].parameters(), models[0].parameters(), strict=True):
            own.copy_(other)
    loaded = build(models[1], fused, momentum=0.9)
    loaded.load_state_dict(saved.state_dict())
    assert bool(loaded.param_groups[0]["fused"]) is fused
    for parameter in models[1].parameters():
        assert loaded.state[parameter]["momentum_buffer"].stride() == parameter.stride()
    for model, optimizer in zip(models, (saved, loaded), strict=True):
        steps(optimizer, list(model.parameters()), lambda *about: torch.empty_like(about[2]).copy_(gradient(*about)))
    for first, second in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(first, second, rtol=1e-12)


def test_a_buffer_with_the_rate_inside_would_differ():
    # v = m v + lr g, w = w - v: after a rise of the rate it needs the momentum correction of Goyal et al. 2017
    model = make_model()
    weight = model[3].weight.detach().clone()
    steps(build(model, momentum=0.9), list(model.parameters()), gradient)
    buffer = torch.zeros_like(weight)
    for number, rate in enumerate(RATES):
        buffer = 0.9 * buffer + rate * gradient(4, number, weight)
        weight = weight - buffer
    assert not torch.allclose(model[3].weight, weight, rtol=0.01)


def adapted(name, always_adapt, weight_decay):
    """Size of a step for each weight matrix and vector; gradients of two scales, 1 and 1000."""
    sizes = []
    for scale in (1.0, 1000.0):
        model = make_model()
        parameters = list(model.parameters())
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer = build(
            model, name=name, weight_decay=weight_decay, decay_norm_and_bias=False, always_adapt=always_adapt
        )
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for index, parameter in enumerate(parameters):
            parameter.grad = scale * gradient(index, 0, parameter)
        optimizer.step()
        sizes.append([(new - old).norm().item() for new, old in zip(parameters, before, strict=True)])
    return torch.tensor(sizes)


def test_lars_adapts_only_groups_with_weight_decay_unless_told_otherwise():
    matrices, vectors = [0, 4], [1, 2, 3, 5]
    small, large = adapted("lars", False, weight_decay=1e-9)
    assert torch.allclose(small[matrices], large[matrices], rtol=1e-4)
    assert torch.allclose(1000 * small[vectors], large[vectors], rtol=1e-4)
    small, large = adapted("lars", True, weight_decay=1e-9)
    moving = [0, 1, 2, 4, 5]  # BatchNorm's bias is 0 at first: nothing to adapt to
    assert torch.allclose(small[moving], large[moving], rtol=1e-4)


def test_local_rate_of_lars_is_the_documented_one():
    model = make_model()
    weight = model[3].weight.detach().clone()
    optimizer = build(model, name="lars", momentum=0.0, weight_decay=0.01, trust_coefficient=0.002)
    optimizer.param_groups[0]["lr"] = 0.1
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = gradient(index, 0, parameter)
    optimizer.step()
    g = gradient(4, 0, weight)
    local = 0.002 * weight.norm() / (g.norm() + 0.01 * weight.norm())
    assert torch.allclose(model[3].weight, weight - 0.1 * local * (g + 0.01 * weight), rtol=1e-6)


def test_lamb_does_not_clip_the_gradient_at_1():
    assert all(group["max_grad_norm"] is None for group in build(make_model(), name="lamb").param_groups)
    model, large = make_model(), make_model()
    for scale, each in ((0.01, model), (100.0, large)):
        optimizer = build(each, name="lamb", eps=1e-3)
        optimizer.param_groups[0]["lr"] = 0.1
        for index, parameter in enumerate(each.parameters()):
            parameter.grad = scale * gradient(index, 0, parameter)
        optimizer.step()
        # Adam's first direction is g / (|g| + eps): clipped at a norm of 1, eps would weigh in
        weight = list(make_model().parameters())[4]
        g = scale * gradient(4, 0, weight)
        assert torch.allclose(weight - list(each.parameters())[4], 0.1 * g / (g.abs() + 1e-3), rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "lars", "lamb"])
def test_without_decay_of_norm_and_bias_only_matrices_decay(name):
    model = make_model()
    optimizer = build(model, name=name, weight_decay=0.3, decay_norm_and_bias=False)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(parameter)] for parameter in model.parameters()] == [0.3, 0.0, 0.0, 0.0, 0.3, 0.0]


def test_with_decay_of_norm_and_bias_all_parameters_stand_in_one_group():
    (group,) = parameter_groups(make_model(), 0.3, True)
    assert group["weight_decay"] == 0.3
    assert len(group["params"]) == 6


@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_frozen_parameters_are_left_out(decay_norm_and_bias):
    model = make_model()
    model[0].weight.requires_grad_(False)
    groups = parameter_groups(model, 0.1, decay_norm_and_bias)
    assert sum(len(group["params"]) for group in groups) == 5


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({"momentum": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}),
        ({"name": "lars", "momentum": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}),
        ({"name": "lars", "trust_coefficient": 0.02, "eps": 1e-5}, {"trust_coeff": 0.02, "eps": 1e-5}),
        ({"name": "lamb", "betas": (0.8, 0.95), "eps": 1e-5}, {"betas": (0.8, 0.95), "eps": 1e-5}),
        ({"name": "lamb", "always_adapt": True}, {"always_adapt": True}),
    ],
)
def test_settings_reach_the_optimizer(settings, kept):
    group = build(make_model(), **settings).param_groups[0]
    assert {name: group[name] for name in kept} == kept
