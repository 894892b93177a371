"""What of a placement's options for training passes is carried out, and what is refused."""

import pytest
import torch
from torch import nn

from warmscale.study.config import Placement
from warmscale.training.model import ConfigError
from warmscale.training.passes import largest_divisor
from warmscale.training.speed import Speed, choose_speed
from warmscale.training.trial import try_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
RECIPE = {"model": "resnet50", "precision": "bf16", "optimizer": {"name": "sgd"}, "dataset": {"image_size": 16}}


def choose(*, device=CUDA, model=None, workers=20, images=32, ranks=1, recipe=None, **placement):
    """The choice for a model; `model` only for one's own."""
    recipe = RECIPE | (recipe or {})
    settings = Placement(**placement).model_dump()
    parts = {"images_a_worker": images, "workers": workers, "ranks": ranks}
    return choose_speed(settings, recipe, model, **parts, device=device)


class Net(nn.Module):
    """A small model with something in its middle."""

    def __init__(self, middle):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.middle, self.last = middle, nn.Linear(4, 5)

    def forward(self, images):
        return self.last(self.middle(self.first(images)).mean(dim=(2, 3)))


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class OwnBatchNorm(nn.BatchNorm2d):
    """What it does is not known."""


APART = {
    "batch normalisation of its own": OwnBatchNorm(4),
    "mean over the batch": Function(lambda x: x - 0.001 * x.mean(0)),
    "order of the batch": Function(lambda x: x * torch.arange(1.0, len(x) + 1).view(-1, 1, 1, 1)),
    "size of the batch": Function(lambda x: x * len(x)),
}
TOGETHER = {
    "nothing": nn.Identity(),
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4),
    "batch norm without statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "dropout of nothing": nn.Dropout(0.0),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_a_model_whose_images_do_not_see_each_other_takes_several_workers(what):
    assert try_model(Net(TOGETHER[what]), image_size=8).why_apart is None


@pytest.mark.parametrize("what", APART)
def test_a_model_whose_images_see_each_other_does_not(what):
    trial = try_model(Net(APART[what]), image_size=8)
    assert trial.why_apart == "what it says of one worker's images depends on another's"
    assert not trial.draws


def test_a_model_that_draws_is_noticed_and_the_random_numbers_are_as_before():
    drawing = (nn.Dropout(0.1), nn.Dropout2d(0.1), Function(lambda x: x + torch.rand_like(x)))
    models = [Net(layer) for layer in drawing]
    state = torch.get_rng_state()
    assert all(try_model(model, image_size=8).draws for model in models)
    assert torch.equal(torch.get_rng_state(), state)


def test_trying_a_model_leaves_it_as_it_is():
    model = Net(nn.BatchNorm2d(4)).eval()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    try_model(model, image_size=8)
    assert type(model.middle) is nn.BatchNorm2d
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32
    assert not model.training


def test_a_model_that_cannot_be_tried_stays_apart():
    trial = try_model(Net(Function(lambda x: x.float() @ torch.zeros(3, 3))), image_size=8)
    assert trial.why_apart.startswith("it cannot be tried: ")
    assert "\n" not in trial.why_apart


@pytest.mark.parametrize(
    "asked, workers, together", [(1, 20, 1), (4, 20, 4), (8, 20, 5), (20, 20, 20), (64, 20, 20), (6, 7, 1)]
)
def test_the_largest_divisor_of_a_ranks_workers_shares_a_pass(asked, workers, together):
    assert choose(workers=workers, workers_per_pass=asked).workers_per_pass == together
    assert workers % together == 0


def test_largest_divisors_are_the_largest():
    for number in range(1, 61):
        for most in range(1, 65):
            fitting = [each for each in range(1, most + 1) if number % each == 0]
            assert largest_divisor(number, most) == max(fitting)


@pytest.mark.parametrize(
    "images, size, together", [(32, 16, 10), (32, 224, 1), (1, 16, 20), (256, 16, 2), (1024, 16, 1)]
)
def test_auto_fills_the_caches_of_a_cpu(images, size, together):
    recipe = {"dataset": {"image_size": size}}
    assert choose(device=CPU, images=images, recipe=recipe).workers_per_pass == together


def test_auto_is_one_worker_a_pass_on_a_gpu():
    assert choose().workers_per_pass == 1


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), OwnBatchNorm(4)])
def test_auto_leaves_workers_apart_where_they_must_be(layer):
    recipe = {"model": "mine:net"}
    assert choose(device=CPU, model=Net(layer), recipe=recipe, images=4).workers_per_pass == 1
    assert choose(device=CPU, model=Net(nn.Identity()), recipe=recipe, images=4).workers_per_pass == 20


REFUSED = {
    "placement.workers_per_pass: must be 1 for mine:net: it draws random numbers": {"workers_per_pass": 4},
    "placement.compile: mine:net draws random numbers": {"compile": "default"},
    "placement.cuda_graphs: mine:net draws random numbers": {"cuda_graphs": True},
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_would_draw_other_random_numbers_is_refused_in_one_line(line, monkeypatch):
    from warmscale.training import speed, trial

    on_cpu = trial.try_model(Net(nn.Dropout(0.5)), image_size=8)
    monkeypatch.setattr(speed, "try_model", lambda *_, **__: on_cpu)  # the device is said to be a GPU
    with pytest.raises(ConfigError) as error:
        choose(recipe={"model": "mine:net"}, **REFUSED[line])
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line, recipe, placement",
    [
        ("placement.compile: max-autotune", {}, {"compile": "max-autotune"}),
        ("placement.cuda_graphs: compile", {}, {"compile": "reduce-overhead", "cuda_graphs": True}),
        ("placement.cuda_graphs: not at zero_stage 1", {}, {"cuda_graphs": True, "zero_stage": 1}),
        ("placement.channels_last: not at zero_stage 1", {}, {"channels_last": True, "zero_stage": 1}),
        (
            "placement.fused_optimizer: there is none of lars",
            {"optimizer": {"name": "lars"}},
            {"fused_optimizer": True},
        ),
        ("placement.fused_optimizer: not with fp16", {"precision": "fp16"}, {"fused_optimizer": True}),
    ],
)
def test_combinations_that_do_not_go_are_refused_in_one_line(line, recipe, placement):
    with pytest.raises(ConfigError) as error:
        choose(recipe=recipe, **placement)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_a_model_is_not_captured_after_ddp_has_wrapped_it():
    asked = {"engine": "ddp", "cuda_graphs": True}
    with pytest.raises(ConfigError) as error:
        choose(ranks=2, **asked)
    assert str(error.value).startswith("placement.cuda_graphs: not with engine ddp on several ranks")
    assert "\n" not in str(error.value)
    assert choose(**asked).cuda_graphs  # nothing is wrapped
    assert choose(ranks=2, cuda_graphs=True).cuda_graphs
    assert not choose(ranks=2, device=CPU, **asked).cuda_graphs


def test_defaults_on_a_gpu_and_on_a_cpu():
    assert choose() == Speed(1, channels_last=True, fused_optimizer=True)
    assert choose(device=CPU) == Speed(10, channels_last=False, fused_optimizer=True)
    assert choose(zero_stage=1) == Speed(1, channels_last=False, fused_optimizer=True)


@pytest.mark.parametrize("recipe", [{"precision": "fp16"}, {"optimizer": {"name": "lamb"}}])
def test_auto_leaves_the_optimizer_as_it_is_where_a_fused_one_does_not_go(recipe):
    assert not choose(recipe=recipe).fused_optimizer


def test_cuda_graphs_have_no_effect_on_a_cpu():
    assert not choose(device=CPU, cuda_graphs=True).cuda_graphs


def test_max_autotune_goes_without_deterministic():
    assert choose(compile="max-autotune", deterministic=False).compile == "max-autotune"
