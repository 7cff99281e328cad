"""A twin scores and differentiates as the model does, and what is placed on it never reaches the model."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import captured_by
from support.models import FAMILIES, SmallCNN, made, settled
from support.observing import trace
from support.references import relative
from xai_core.errors import UnsuitableError
from xai_core.model.shared_copy import SharedModel

OF = torch.tensor([2, 0, 0, 1])
CLASSES = torch.tensor([1, 4, 2])


def captured(model: nn.Module, images: Tensor, target: Any = CLASSES, **options: Any) -> xai.Captured:
    kept = []

    class Keep(xai.Explainer):
        name = "keep"

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.Needs()

        def explain(self, captured: xai.Captured) -> Tensor:
            kept.append(captured)
            return captured.images[:, 0].float()

    xai.Engine(model, **options).explain(images, Keep(), target)
    return kept[0]


def differentiated(twin: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of four images, each of one of the batch, and the gradients at them."""
    given = images[OF].clone().requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        scores = twin(given, OF)
        (gradient,) = torch.autograd.grad(scores.sum(), given)
    return scores.detach(), gradient


def plainly(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    given = images[OF].clone().requires_grad_()
    scores = model(given).gather(1, CLASSES[OF][:, None])[:, 0]
    return scores.detach(), torch.autograd.grad(scores.sum(), given)[0]


def assert_equal(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_scores_and_gradients_are_those_of_the_model(model: nn.Module, images: Tensor) -> None:
    twin = captured(model, images).shared_model()
    assert_equal(differentiated(twin, images), plainly(model, images))
    with torch.no_grad():
        assert not twin(images, torch.arange(3)).requires_grad


def test_a_precise_copy_has_the_scores_and_gradients_of_the_float64_model(model: nn.Module, images: Tensor) -> None:
    twin = captured(model, images).shared_model(precise=True)
    scores = differentiated(twin, images.double())
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    torch.testing.assert_close(scores, plainly(copy.deepcopy(model).double(), images.double()))


def test_the_model_is_as_before(model: nn.Module, images: Tensor) -> None:
    model.train()
    before = trace(model)
    twin = captured(model, images).shared_model()
    for module in twin.modules():
        module.register_forward_hook(lambda _, __, output: None)
    differentiated(twin, images)
    after = trace(model)
    torch.testing.assert_close(after.pop("values"), before.pop("values"), atol=0, rtol=0)
    assert after == before
    assert not any(module.training for module in twin.model.modules())


def test_parameters_and_buffers_are_the_very_same(model: nn.Module, images: Tensor) -> None:
    twin = captured(model, images).shared_model()
    for ours, theirs in [(twin.model.parameters(), model.parameters()), (twin.model.buffers(), model.buffers())]:
        pairs = list(zip(ours, theirs, strict=True))
        assert all(one is other for one, other in pairs)
    assert not set(twin.modules()) & set(model.modules())


def test_each_twin_has_modules_of_its_own(images: Tensor) -> None:
    given = captured(made("cnn"), images)
    assert not set(given.shared_model().model.modules()) & set(given.shared_model().model.modules())


def test_hooks_of_the_user_are_kept_and_those_of_others_are_not_placed(images: Tensor) -> None:
    model, seen = made("cnn"), []
    model.last.register_forward_hook(lambda module, _, output: seen.append(module))
    given = captured(model, images)
    twin = given.shared_model()
    seen.clear()
    twin(images, torch.arange(3))
    assert seen == [twin.model.last]


@pytest.mark.parametrize("case", ["frozen", "bfloat16", "double", "training", "data parallel"])
def test_gradients_of_models_of_every_kind(model: nn.Module, images: Tensor, case: str) -> None:
    expected, given = plainly(model, images), model
    if case == "frozen":
        given = model.requires_grad_(False)
    elif case == "training":
        given = model.train()
    elif case == "data parallel":
        given = nn.DataParallel(model)
    else:
        model.to(getattr(torch, case))
        expected = plainly(model, images.to(getattr(torch, case)))
    twin = captured(given, images).shared_model()
    scores, gradient = differentiated(twin, images)  # of float32 images, whatever the model's type
    assert gradient.dtype == torch.float32
    assert scores.dtype == (torch.float64 if case == "double" else torch.float32)
    if case == "bfloat16":
        assert relative(gradient, expected[1].float()) < 0.02
    else:
        assert_equal((scores, gradient), (expected[0], expected[1].float()))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_with_compiled_parts_runs_eagerly(images: Tensor) -> None:
    model = made("cnn")
    expected = plainly(model, images)
    torch.compiler.reset()
    model.stem.compile(backend="eager")
    model.last = torch.compile(model.last, backend="eager")
    with torch.no_grad():
        model(images)
    given, seen = captured(model, images), []
    twin = given.shared_model()
    for layer in ("stem.0", "last._orig_mod.0"):
        twin.layer(layer).register_forward_hook(lambda _, __, output: seen.append(output))
    assert_equal(differentiated(twin, images), expected)
    assert len(seen) == 2


def test_two_threads(images: Tensor) -> None:
    """One doubles the scores of its twins by a hook, while the other does not."""
    model = made("cnn")
    start = threading.Barrier(2)
    expected = plainly(model, images)[1]

    def work(factor: int) -> list[Tensor]:
        given = captured(model, images)
        start.wait()
        found = []
        for _ in range(20):
            twin = given.shared_model()
            twin.register_forward_hook(lambda _, __, scores: factor * scores)
            found.append(differentiated(twin, images)[1])
        return found

    with ThreadPoolExecutor(2) as pool:
        once, twice = pool.map(work, (1, 2))
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(two, 2 * expected, atol=1e-5, rtol=1e-4)


def test_a_callable_target_and_forward(images: Tensor) -> None:
    class TakesTwo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made("cnn")

        def forward(self, images: Tensor, factor: float) -> dict[str, Tensor]:
            return {"scores": self.inner(images) * factor}

    model = TakesTwo()
    given = captured(
        model,
        images,
        target=lambda output: output["scores"].square().sum(1),
        forward=lambda model, images: model(images, factor=3.0),
    )
    scores, gradient = differentiated(given.shared_model(), images)
    plain = images[OF].clone().requires_grad_()
    expected = model.inner(plain).mul(3).square().sum(1)
    assert_equal((scores, gradient), (expected.detach(), torch.autograd.grad(expected.sum(), plain)[0]))


def test_the_callers_autocast_reaches_the_model(images: Tensor) -> None:
    kinds = []
    model = made("cnn")
    model.register_forward_hook(lambda _, __, output: kinds.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        twin = captured(model, images).shared_model()
    assert twin(images, torch.arange(3)).dtype == torch.float32
    assert set(kinds) == {torch.bfloat16}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_grad_mode_comes_back(images: Tensor, mode: Any) -> None:
    model = made("cnn")
    with mode():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        captured(model, images).shared_model()(images, torch.arange(3))
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == state


@pytest.mark.parametrize("name", FAMILIES)
def test_a_layer_shows_its_output_and_hands_on_another(name: str, images: Tensor) -> None:
    model = made(name)
    layer = xai.Engine(model).adapter(images).default_layer
    needs = xai.Needs(activations=(layer,), gradients=True)
    given = captured_by(model, images, needs, target=CLASSES)
    seen: list[Tensor] = []
    twin = given.shared_model()
    handle = twin.layer(layer).register_forward_hook(lambda _, __, output: seen.append(output))
    scores = twin(images, torch.arange(3))
    (gradient,) = torch.autograd.grad(scores.sum(), seen[0])
    adapter = given.adapter
    torch.testing.assert_close(adapter.spatial(seen[0], layer), given.activation(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(adapter.spatial(gradient, layer), given.gradient(), atol=1e-6, rtol=1e-4)

    handle.remove()
    twin = given.shared_model()
    twin.layer(layer).register_forward_hook(lambda _, __, output: torch.zeros_like(output))
    assert not torch.allclose(twin(images, torch.arange(3)), scores)


def test_a_leaf_put_in_a_layers_place_survives_what_is_written_to_it(images: Tensor) -> None:
    """`stem.1` is batch norm, and an activation in place follows."""
    given = captured(made("cnn"), images)
    twin = given.shared_model()
    leaf = torch.randn(3, 8, 16, 16, requires_grad=True)
    before = leaf.detach().clone()
    twin.layer("stem.1").register_forward_hook(lambda *_: leaf)
    (gradient,) = torch.autograd.grad(twin(images, torch.arange(3)).sum(), leaf)
    assert gradient.abs().sum() > 0
    assert torch.equal(leaf, before)


class Repeated(SmallCNN):
    """Runs its body twice."""

    def gated(self, x: Tensor) -> Tensor:
        return self.body(x)


def test_a_layer_that_runs_twice_is_seen_the_last_time(images: Tensor) -> None:
    model, inner, outer = settled(Repeated()), [], []
    given = captured(model, images)
    model.body.register_forward_hook(lambda _, __, output: inner.append(output.detach().clone()))
    twin = given.shared_model()
    twin.layer("body").register_forward_hook(lambda _, __, output: outer.append(output.detach().clone()))
    for _ in range(2):
        inner.clear()
        outer.clear()
        twin(images, torch.arange(3))
        [seen] = outer
        assert torch.equal(seen, inner[1])


def test_the_block_is_what_the_memory_allows_a_graph(images: Tensor) -> None:
    model = made("cnn")
    given = captured(model, images, memory=2**20)
    assert given.shared_model().block == 2**20 // sum(given.adapter.probe.sizes.values())
    assert captured(model, images, block=5).shared_model().block == 5
    assert captured(model, images, memory=1).shared_model().block == 1


def test_tensors_of_any_kind_are_shared(images: Tensor) -> None:
    """Those of a list, and one that is no leaf, which a deep copy would refuse."""
    model = made("cnn")
    model.tables = [torch.ones(2), {"scaled": model.head.weight * 2}]
    twin: SharedModel = captured(model, images).shared_model()
    assert twin.model.tables[0] is model.tables[0]
    assert twin.model.tables[1]["scaled"] is model.tables[1]["scaled"]


def test_modules_that_cannot_be_copied_are_an_error(images: Tensor) -> None:
    model = made("cnn")
    model.lock = threading.Lock()
    with pytest.raises(UnsuitableError, match=r"copy of the model's modules.*grad-cam"):
        captured(model, images).shared_model()
