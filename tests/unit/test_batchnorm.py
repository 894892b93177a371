"""Running statistics of workers that ranks carry out in turn: r' = (1 - M) r + M / W * sum of the batch statistics."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from warmscale.training.batchnorm import (
    BY_WORKER,
    DEFAULT_MOMENTUM,
    RunningStatistics,
    keep_workers_apart,
    step_momentum,
)

CHANNELS, IMAGES = 3, 8
RANKS_OF_WORKERS = [(w, r) for w in range(1, 21) for r in (1, 2, 4, 5) if w % r == 0]


def make_model(momentum=0.1):
    model = nn.Sequential(nn.BatchNorm2d(CHANNELS, momentum=momentum), nn.ReLU(), nn.BatchNorm2d(CHANNELS)).double()
    generator = torch.Generator().manual_seed(3)
    for layer in (model[0], model[2]):
        layer.running_mean = torch.randn(CHANNELS, generator=generator, dtype=torch.float64)
        layer.running_var = torch.rand(CHANNELS, generator=generator, dtype=torch.float64) + 0.5
    return model


def worker_batches(workers):
    generator = torch.Generator().manual_seed(4)
    shape = (workers, IMAGES, CHANNELS, 2, 2)
    return list(torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1)


def trained(workers, ranks, per, momentum=None, together=1, own_momentum=0.1):
    """The statistics after a step of the workers on the ranks, averaged over them; so many of them in a pass."""
    flats = []
    for rank in range(ranks):
        model = make_model(own_momentum)
        keep_workers_apart(model, together)
        statistics = RunningStatistics(model, momentum=momentum, per=per, batches=workers)
        shares = worker_batches(workers)[rank * workers // ranks : (rank + 1) * workers // ranks]
        statistics.begin_step()
        passes = torch.stack(shares).split(together)
        for share in passes:
            model(share.flatten(0, 1))
            statistics.end_pass()
        statistics.end_step(len(passes))
        flats.append(statistics.flat())
    return torch.stack(flats).mean(0)


def batch_statistics(workers):
    """Mean and unbiased variance of what each layer sees, as a matrix of a row a worker."""
    rows = []
    for images in worker_batches(workers):
        row, seen = [], images
        for _ in range(2):
            values = seen.transpose(0, 1).flatten(1)
            mean, var = values.mean(1), values.var(1)
            row += [mean, var]
            biased = values.var(1, unbiased=False)
            seen = torch.relu((seen - mean[:, None, None]) / (biased[:, None, None] + 1e-5).sqrt())
        rows.append(torch.cat(row))
    return torch.stack(rows)


@pytest.mark.parametrize("workers, ranks", RANKS_OF_WORKERS)
def test_statistics_after_a_step_are_the_documented_mean_over_workers(workers, ranks):
    before = RunningStatistics(make_model()).flat()
    mean = batch_statistics(workers).mean(0)
    for per, weight in [("step", 0.1), ("batch", 1 - 0.9**workers)]:
        expected = (1 - weight) * before + weight * mean
        assert torch.allclose(trained(workers, ranks, per), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("together", [2, 3, 6])
@pytest.mark.parametrize("per", ["step", "batch"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_statistics_do_not_depend_on_how_many_workers_share_a_pass(together, per, ranks):
    in_turn = trained(12, ranks, per, momentum=0.3)
    assert torch.allclose(trained(12, ranks, per, momentum=0.3, together=together), in_turn, rtol=1e-13, atol=0)


@pytest.mark.parametrize("momentum", [0.1, 0.37])
def test_one_worker_is_plain_pytorch(momentum):
    model = make_model()
    model[0].momentum = model[2].momentum = momentum
    model(worker_batches(1)[0])
    plain = RunningStatistics(model).flat()
    assert torch.allclose(trained(1, 1, "step", momentum=momentum), plain, rtol=1e-14)
    assert torch.allclose(trained(1, 1, "batch", momentum=momentum), plain, rtol=1e-14)


def test_a_momentum_that_is_given_replaces_the_layers_own():
    assert not torch.allclose(trained(4, 2, "step", momentum=0.5), trained(4, 2, "step"))
    assert torch.allclose(trained(4, 2, "step", momentum=0.1), trained(4, 2, "step"), rtol=1e-12)


def test_layers_keep_momenta_of_their_own_without_one():
    first = slice(0, 2 * CHANNELS)  # the layer that has another one than the second
    own, given = trained(4, 2, "step", own_momentum=0.3), trained(4, 2, "step", momentum=0.3)
    assert torch.equal(own[first], given[first])
    assert not torch.allclose(own, given)
    assert torch.equal(own[2 * CHANNELS :], trained(4, 2, "step", momentum=0.1)[2 * CHANNELS :])


def test_a_layer_that_averages_cumulatively_gets_pytorchs_default():
    assert nn.BatchNorm2d(1).momentum == DEFAULT_MOMENTUM
    assert torch.equal(trained(4, 2, "step", own_momentum=None), trained(4, 2, "step", momentum=DEFAULT_MOMENTUM))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind, shape", [(nn.BatchNorm1d, ()), (nn.BatchNorm1d, (5,)), (nn.BatchNorm2d, (4, 3))])
@pytest.mark.parametrize("affine, tracks", [(True, True), (False, True), (True, False)])
def test_workers_in_one_pass_are_normalised_as_each_alone(kind, shape, affine, tracks, compiled, monkeypatch):
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(4 * 6, CHANNELS, *shape, generator=generator, dtype=torch.float64) * 2 + 3
    upstream = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    results = []
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiled)
    for together in (1, 4):
        layer = kind(CHANNELS, momentum=1.0, affine=affine, track_running_stats=tracks).double()
        if affine:
            with torch.no_grad():
                layer.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
                layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
        keep_workers_apart(layer, together)
        seen = images.clone().requires_grad_()
        normalised = torch.cat([layer(part) for part in seen.chunk(4 // together)])
        normalised.backward(upstream)
        results.append([normalised.detach(), seen.grad, *(parameter.grad for parameter in layer.parameters())])
    for alone, together in zip(*results, strict=True):
        assert torch.allclose(alone, together, rtol=1e-12, atol=1e-13)


def test_channels_last_and_half_precision_pass_through_workers_of_a_pass():
    images = torch.randn(8, CHANNELS, 4, 4).bfloat16().contiguous(memory_format=torch.channels_last)
    layer = nn.BatchNorm2d(CHANNELS)
    alone = torch.cat([layer(part) for part in images.chunk(2)])
    keep_workers_apart(layer, 2)
    together = layer(images)
    assert together.dtype == torch.bfloat16
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(together, alone)


def test_a_layer_that_keeps_workers_apart_keeps_its_parameters_and_validates_as_before():
    model = make_model()
    layer, names = model[0], list(model.state_dict())
    weight = layer.weight
    images = worker_batches(1)[0]
    before = model.eval()(images)
    keep_workers_apart(model, 2)
    assert model[0] is layer and layer.weight is weight
    assert isinstance(layer, nn.BatchNorm2d)
    assert list(model.state_dict()) == names
    assert torch.equal(model.eval()(images), before)


def test_a_subclass_with_a_forward_pass_of_its_own_is_left_alone():
    class Own(nn.BatchNorm2d):
        pass

    layer = Own(CHANNELS)
    keep_workers_apart(layer, 2)
    assert type(layer) is Own
    assert Own not in BY_WORKER


@given(st.floats(0, 1), st.integers(1, 40))
def test_momentum_per_batch_is_what_batches_in_turn_would_replace(momentum, batches):
    kept = 1.0
    for _ in range(batches):
        kept -= momentum * kept
    assert step_momentum(momentum, "batch", batches) == pytest.approx(1 - kept, abs=1e-12)
    assert step_momentum(momentum, "step", batches) == momentum


def test_flat_statistics_set_again_are_the_same():
    model, other = make_model(), make_model()
    model(worker_batches(1)[0])
    RunningStatistics(other).set_flat(RunningStatistics(model).flat())
    for first, second in zip(RunningStatistics(model).buffers(), RunningStatistics(other).buffers(), strict=True):
        assert torch.equal(first, second)


def test_a_model_without_running_statistics_has_none():
    for model in (nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)):
        statistics = RunningStatistics(model)
        statistics.begin_step()
        statistics.end_pass()
        statistics.end_step(1)
        assert statistics.flat().numel() == 0
