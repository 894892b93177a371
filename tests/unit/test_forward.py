"""Training passes that are compiled, captured, or in another layout are the same passes."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from warmscale.training.batchnorm import RunningStatistics, keep_workers_apart
from warmscale.training.forward import as_written, own_gradients, plain_layout, speed_up, to_channels_last
from warmscale.training.model import ConfigError, build_model
from warmscale.training.speed import Speed

IMAGES = 12
SHAPE = (IMAGES, 3, 8, 8)


def make_model(together=1, dtype=torch.float64):
    model = build_model("resnet8", num_classes=5, zero_init_residual=False, init_seed=1).to(dtype)
    keep_workers_apart(model, together)
    return model


def batches(count=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, IMAGES, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    return [each.contiguous(memory_format=torch.channels_last) for each in images]


def step(model, images, *, own=False):
    """Gradients and running statistics after passes of these batches, and the logits of the last one."""
    statistics = RunningStatistics(model, momentum=0.3, batches=len(images))  # again: it does not matter
    statistics.begin_step()
    for number, batch in enumerate(images):
        logits = model(batch)
        functional.cross_entropy(logits, torch.arange(len(batch)) % 5).backward()
        if own and number == 0:
            own_gradients(model.parameters())
        statistics.end_pass()
    statistics.end_step(len(images))
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return gradients, statistics.flat(), logits.detach()


def assert_same(first, second, tolerance=1e-12):
    for one, other in zip(first, second, strict=True):
        assert (one - other).norm() <= tolerance * one.norm()


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_pass_is_the_same_pass(together, backend, mode):
    torch.compiler.reset()
    model = make_model(together)
    speed_up(model, Speed(compile=mode), shape=SHAPE, deterministic=True, backend=backend)
    assert_same(step(make_model(together), batches()), step(model, batches()))


def test_a_pass_is_compiled_once_for_all_passes_and_steps():
    torch.compiler.reset()
    model, graphs = make_model(3), []

    def counting(graph, _):
        graphs.append(graph)
        return graph.forward

    speed_up(model, Speed(compile="default"), shape=SHAPE, deterministic=True, backend=counting)
    for _ in range(3):
        step(model, batches())
    assert len(graphs) == 1


def test_validation_and_passes_of_another_size_are_not_compiled():
    model = make_model()

    def never(*_):
        raise AssertionError("compiled")

    speed_up(model, Speed(compile="default"), shape=SHAPE, deterministic=True, backend=never)
    model(batches()[0][:5])
    model.eval()(batches()[0])
    with torch.inference_mode():
        model(batches()[0])
    model.train()
    with pytest.raises(ConfigError, match=r"^placement\.compile: .*; use none$"):
        model(batches()[0])
    as_written(model)
    model(batches()[0])


def test_names_in_checkpoints_do_not_tell_of_compilation():
    model = make_model(3)
    speed_up(model, Speed(compile="default"), shape=SHAPE, deterministic=True, backend="eager")
    assert list(model.state_dict()) == list(
        build_model("resnet8", num_classes=5, zero_init_residual=False, init_seed=1).state_dict()
    )


class Static(torch.autograd.Function):
    """A captured pass as autograd sees it: gradients are handed out in memory that the next pass writes again."""

    @staticmethod
    def forward(ctx, owner, images, *parameters):
        ctx.owner = owner
        with torch.enable_grad():
            owner.logits = owner.whole(images)
        return owner.logits.detach()

    @staticmethod
    def backward(ctx, upstream):
        owner = ctx.owner
        for kept, new in zip(
            owner.gradients, torch.autograd.grad(owner.logits, owner.parameters, upstream), strict=True
        ):
            kept.copy_(new)
        return None, None, *(each.detach() for each in owner.gradients)


class Graphed:
    """What `torch.cuda.make_graphed_callables` does, without a GPU: passes that warm up, then memory used again."""

    def __init__(self, whole, samples, allow_unused_input):
        assert allow_unused_input
        assert not whole._forward_hooks and not whole._forward_pre_hooks
        self.whole, self.parameters = whole, tuple(whole.parameters())
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        for _ in range(3):
            torch.autograd.grad(whole(*samples).sum(), self.parameters)

    def __call__(self, images):
        return Static.apply(self, images, *self.parameters)


@pytest.mark.parametrize("together", [1, 3])
def test_a_captured_pass_is_the_same_pass_and_warming_up_leaves_no_trace(together, monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", Graphed)
    model = make_model(together)
    model.register_forward_pre_hook(lambda *_: None)  # DeepSpeed has some
    RunningStatistics(model)
    speed_up(model, Speed(cuda_graphs=True), shape=SHAPE, deterministic=True)
    plain = make_model(together)
    assert_same(step(plain, batches()), step(model, batches(), own=True))
    assert_same(
        [buffer.double() for buffer in plain.buffers() if buffer.ndim == 0],
        [buffer.double() for buffer in model.buffers() if buffer.ndim == 0],
    )
    hooked = []
    model.fc.weight.register_post_accumulate_grad_hook(hooked.append)
    step(model, batches(), own=True)
    assert len(hooked) == 3


def test_without_gradients_of_their_own_passes_would_overwrite_each_other(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", Graphed)
    model = make_model()
    RunningStatistics(model)
    speed_up(model, Speed(cuda_graphs=True), shape=SHAPE, deterministic=True)
    right, wrong = step(make_model(), batches())[0], step(model, batches())[0]
    assert (right - wrong).norm() > 0.1 * right.norm()


def test_capturing_happens_once_in_the_precision_asked_for_and_outside_of_the_cache_of_autocast(monkeypatch):
    seen = []

    def noting(whole, samples, **more):
        seen.append((torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled(), samples[0].stride()))
        return Graphed(whole, samples, **more)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", noting)
    model, images = make_model(dtype=torch.float32), batches(dtype=torch.float32)
    precision = torch.autocast("cpu", dtype=torch.float16)
    RunningStatistics(model)
    speed_up(model, Speed(cuda_graphs=True), shape=SHAPE, deterministic=True, precision=precision)
    for batch in images:
        model(batch)
    assert seen == [(torch.float16, False, images[0].stride())]


def test_a_pass_with_momenta_that_will_change_is_not_captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", Graphed)
    with pytest.raises(RuntimeError, match="momenta that RunningStatistics has not set"):
        speed_up(make_model(), Speed(cuda_graphs=True), shape=SHAPE, deterministic=True)


def test_gradients_of_their_own_are_copies_and_a_parameter_without_one_stays_so():
    model, made = nn.Linear(2, 2), torch.ones(2, 2).t()
    model.weight.grad = made
    own_gradients(model.parameters())
    made.zero_()
    assert torch.equal(model.weight.grad, torch.ones(2, 2)) and model.weight.grad.stride() == made.stride()
    assert model.bias.grad is None


def test_channels_last_weights_train_as_others():
    model, other = make_model(), make_model()
    to_channels_last(other)
    other.fc.weight.data = other.fc.weight.data.t().contiguous().t()
    assert other.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not other.stem[0].weight.is_contiguous()
    assert_same(step(model, batches()), step(other, batches()))
    for parameter in other.parameters():
        assert parameter.grad.stride() == parameter.stride()


def test_the_plain_layout_lasts_as_long_as_it_is_asked_for():
    model = make_model()
    to_channels_last(model)
    model.fc.weight.data = model.fc.weight.data.t().contiguous().t()  # a model of one's own may have such
    before = copy.deepcopy(model.state_dict())
    strides = [parameter.stride() for parameter in model.parameters()]
    references = list(model.parameters())
    with plain_layout(model):
        assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert [parameter.stride() for parameter in model.parameters()] == strides
    assert all(one is other for one, other in zip(model.parameters(), references, strict=True))
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_nothing_is_replaced_where_nothing_is_asked_for():
    model = make_model()
    speed_up(
        model, Speed(workers_per_pass=3, channels_last=True, fused_optimizer=True), shape=SHAPE, deterministic=True
    )
    assert "forward" not in model.__dict__
