"""Models by name: outputs, initial weights of a seed of their own, and what cannot be had."""

import sys

import pytest
import torch
from torch import nn

from warmscale.study.recipe import BUILT_IN_MODELS
from warmscale.training.model import ConfigError, build_model


def build(name="resnet8", num_classes=10, zero_init_residual=False, init_seed=1):
    return build_model(name, num_classes=num_classes, zero_init_residual=zero_init_residual, init_seed=init_seed)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", BUILT_IN_MODELS)
def test_every_model_has_an_output_a_class(name):
    with torch.device("meta"):
        model = build(name, num_classes=7)
        assert model(torch.empty(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet8", "resnet18"])
def test_initial_weights_depend_on_the_init_seed_alone(name):
    torch.manual_seed(5)
    first = weights(build(name))
    torch.manual_seed(6)
    assert torch.equal(weights(build(name)), first)
    assert not torch.equal(weights(build(name, init_seed=2)), first)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "own_models:tiny", "resnet51"])
def test_building_a_model_leaves_the_global_random_numbers_alone(name, own_models):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    try:
        build(name)
    except ConfigError:
        assert name == "resnet51"
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name, last, blocks", [("resnet8", "bn2", 3), ("resnet18", "bn2", 8), ("resnet50", "bn3", 16)])
def test_zero_init_residual_zeroes_the_last_gamma_of_every_block_and_no_other(name, last, blocks):
    gammas = {
        path: module.weight
        for path, module in build(name, zero_init_residual=True).named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    zero = [path for path, gamma in gammas.items() if not gamma.any()]
    assert len(zero) == blocks
    assert zero == [path for path in gammas if path.endswith(f".{last}")]
    assert all(gamma.any() for gamma in (m.weight for m in build(name).modules() if isinstance(m, nn.BatchNorm2d)))


def test_zero_init_residual_changes_no_other_weight():
    plain, zeroed = build().state_dict(), build(zero_init_residual=True).state_dict()
    changed = [name for name in plain if not torch.equal(plain[name], zeroed[name])]
    assert len(changed) == 3
    assert all(name.endswith("bn2.weight") for name in changed)


def test_resnet8_has_three_blocks_of_two_convolutions_and_78_thousand_parameters():
    model = build()
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 1 + 3 * 2 + 2
    assert weights(model).numel() == 78042
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("side", [8, 16, 28, 33])
def test_resnet8_takes_small_images_of_any_size(side):
    logits = build().eval()(torch.zeros(1, 3, side, side))
    assert logits.shape == (1, 10)
    assert logits.isfinite().all()


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    text = """
    import torch

    def tiny(num_classes):
        return torch.nn.Linear(4, num_classes)

    class Family:
        small = staticmethod(tiny)
    """
    (tmp_path / "own_models.py").write_text("\n".join(line[4:] for line in text.splitlines()))
    (tmp_path / "broken_models.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_models", None)
    sys.modules.pop("broken_models", None)


def test_a_model_of_ones_own_is_built_by_import_path_from_the_init_seed(own_models):
    model = build("own_models:tiny", num_classes=6)
    assert model.out_features == 6
    assert torch.equal(weights(build("own_models:tiny", num_classes=6)), weights(model))
    assert not torch.equal(weights(build("own_models:tiny", num_classes=6, init_seed=2)), weights(model))


@pytest.mark.parametrize(
    "path, reason",
    [
        ("no_such_module:tiny", "No module named 'no_such_module'"),
        ("own_models:huge", "module 'own_models' has no attribute 'huge'"),
        ("broken_models:tiny", "No module named 'no_such_package'"),
    ],
)
def test_what_cannot_be_imported_is_a_config_error_with_the_path_and_the_reason(own_models, path, reason):
    with pytest.raises(ConfigError) as error:
        build(path)
    assert str(error.value) == f"recipe.model: {path} cannot be imported: {reason}"


def test_an_unknown_name_is_a_config_error_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"^recipe\.model: resnet51 is none of resnet8, resnet18, .*, nor package"):
        build("resnet51")


def test_zeroed_gammas_of_a_model_of_ones_own_are_a_config_error(own_models):
    with pytest.raises(ConfigError, match=r"^recipe\.zero_init_residual: own_models:tiny is a model of your own"):
        build("own_models:tiny", zero_init_residual=True)
