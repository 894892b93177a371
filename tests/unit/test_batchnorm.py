"""Running statistics of workers that ranks carry out in turn: r' = (1 - M) r + M / W * sum of the batch statistics."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from warmscale.training.batchnorm import DEFAULT_MOMENTUM, RunningStatistics, micro_momentum, step_momentum

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


def trained(workers, ranks, per, momentum=None):
    """The statistics after a step of the workers on the ranks, averaged over them."""
    flats = []
    for rank in range(ranks):
        model = make_model()
        statistics = RunningStatistics(model, momentum=momentum, per=per, batches=workers)
        turns = worker_batches(workers)[rank * workers // ranks : (rank + 1) * workers // ranks]
        for turn, images in enumerate(turns):
            statistics.before_forward(turn, len(turns))
            model(images)
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


@pytest.mark.parametrize("momentum", [0.1, 0.37])
def test_one_worker_is_plain_pytorch(momentum):
    model = make_model()
    model[0].momentum = model[2].momentum = momentum
    model(worker_batches(1)[0])
    plain = RunningStatistics(model).flat()
    assert torch.equal(trained(1, 1, "step", momentum=momentum), plain)
    assert torch.allclose(trained(1, 1, "batch", momentum=momentum), plain, rtol=1e-14)


def test_a_momentum_that_is_given_replaces_the_layers_own():
    assert not torch.allclose(trained(4, 2, "step", momentum=0.5), trained(4, 2, "step"))
    assert torch.allclose(trained(4, 2, "step", momentum=0.1), trained(4, 2, "step"), rtol=1e-12)


def test_layers_keep_momenta_of_their_own_without_one():
    model = make_model(momentum=0.3)
    RunningStatistics(model).before_forward(0, 1)
    assert [layer.momentum for layer in (model[0], model[2])] == pytest.approx([0.3, 0.1])


def test_a_layer_that_averages_cumulatively_gets_pytorchs_default():
    model = make_model(momentum=None)
    RunningStatistics(model).before_forward(0, 1)
    assert model[0].momentum == DEFAULT_MOMENTUM == nn.BatchNorm2d(1).momentum


@given(st.floats(0, 1), st.integers(1, 40))
def test_micro_momenta_leave_equal_weights_to_all_micro_batches(momentum, count):
    kept, weights = 1.0, []
    for turn in range(count):
        share = micro_momentum(momentum, turn, count)
        kept *= 1 - share
        weights = [weight * (1 - share) for weight in weights] + [share]
    assert kept == pytest.approx(1 - momentum, abs=1e-12)
    assert weights == pytest.approx([momentum / count] * count, abs=1e-12)


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
        assert RunningStatistics(model).flat().numel() == 0
