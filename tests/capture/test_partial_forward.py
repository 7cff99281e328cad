"""The part of a model after a layer, run alone or not, gives what the whole model gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, MobileNetV3, SwinTransformer
from torchvision.models.mobilenetv3 import InvertedResidualConfig

import xai_core as xai
from support.models import FAMILIES, SmallCNN, fused_vit, settled
from xai_core.capture.partial_forward import PartialForward

INVERTED_RESIDUALS = [
    InvertedResidualConfig(8, 3, 16, 12, True, "RE", 2, 1, 1),
    InvertedResidualConfig(12, 3, 24, 12, True, "HS", 1, 1, 1),  # an in-place activation inside a skip connection
]
MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    **{name: (make, 32) for name, make in FAMILIES.items()},
    "fused vit": (lambda: fused_vit(depth=2), 32),
    "swin": (lambda: SwinTransformer([4, 4], 16, [1, 2], [2, 4], [4, 4], num_classes=5), 32),
    "mobilenet": (lambda: MobileNetV3(INVERTED_RESIDUALS, 32, num_classes=5), 32),
    "densenet": (lambda: DenseNet(4, (2, 2, 2), 8, num_classes=5), 64),
}
SLOW = dict.fromkeys(("mobilenet", "densenet", "torchvision vit"), pytest.mark.slow)


def plain(model: nn.Module, images: Tensor, of: Tensor) -> Tensor:
    return model(images)


@contextmanager
def hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    yield
    handle.remove()


def output_of(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What a layer gives, the last time that it runs, before the model writes to it in place."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output).clone())

    with hooked(layer, keep), torch.no_grad():
        model(images)
    return kept[-1]


@torch.no_grad()
def substituted(model: nn.Module, layer: nn.Module, activation: Tensor, images: Tensor, runs: int = 1) -> Tensor:
    """What the model gives for images with an activation in the place of what the layer gives the last time."""
    left = iter(range(runs - 1, -1, -1))

    def put(_: nn.Module, __: object, output: Any) -> Any:
        if next(left):
            return output
        return (activation.clone(), *output[1:]) if isinstance(output, tuple) else activation.clone()

    with hooked(layer, put):
        return model(images)


@pytest.mark.parametrize("family", [pytest.param(name, marks=SLOW.get(name, ())) for name in MODELS])
def test_every_layer_gives_what_the_model_gives(family: str) -> None:
    """And it runs alone exactly where nothing goes round it: where the images no longer matter."""
    make, size = MODELS[family]
    model = settled(make())
    images, others = torch.randn(2, 2, 3, size, size)
    expected = model(images).detach()
    probe = xai.Engine(model).adapter(images).probe
    kinds = set()
    for name in probe.features:
        layer, runs, site = model.get_submodule(name), probe.runs[name], probe.site(name)
        assert site is not None
        activation = output_of(model, layer, images)
        nothing_around = torch.allclose(substituted(model, layer, activation, others, runs), expected, atol=1e-5)
        replay, before = PartialForward(model, plain, layer, images, runs - 1, site.path), activation.clone()
        for _ in range(2):
            torch.testing.assert_close(replay(activation, torch.arange(2)), expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(activation, before), "what was given is left as it was"
        assert replay.alone == nothing_around, name
        kinds.add(replay.alone)
    assert kinds == {True, False}


@pytest.mark.parametrize("layer", ["stem", "body", "body.0", "body.1"])
def test_each_activation_belongs_to_an_image(images: Tensor, layer: str) -> None:
    model = settled(SmallCNN())
    module, of = model.get_submodule(layer), torch.tensor([2, 0, 2, 1])
    changed = output_of(model, module, images)[of] * torch.tensor([1, 2, 0, -1])[:, None, None, None]
    expected = substituted(model, module, changed, images[of])
    torch.testing.assert_close(PartialForward(model, plain, module, images)(changed, of), expected)


def test_a_layer_that_runs_several_times_is_replaced_the_last_time(images: Tensor) -> None:
    """One ReLU for the whole model, as many have: its first output, which the sum needs, stays."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.deep, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 1, 1), nn.Linear(6, 5)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.wide(x))
            return self.head((self.relu(self.deep(x)) + x.mean(1, keepdim=True)).mean((2, 3)))

    model = Shared()
    (ours,) = xai.Engine(model).explain(images, "ablation-cam:layer=relu", target=1).values()
    x = model.wide(images).relu()
    activation = model.deep(x).relu()

    def score(activation: Tensor) -> Tensor:
        return model.head((activation + x.mean(1, keepdim=True)).mean((2, 3)))[:, 1]

    expected = torch.zeros(3, 16, 16)
    for k in range(6):
        ablated = activation.clone()
        ablated[:, k] = 0
        drop = (score(activation) - score(ablated)) / score(activation).abs()
        expected += drop[:, None, None] * activation[:, k]
    torch.testing.assert_close(ours.raw, expected.relu().detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_the_models_own_error_reaches_the_user(images: Tensor) -> None:
    class Choosy(SmallCNN):
        def forward(self, x: Tensor) -> Tensor:
            x = self.last(self.stem(x))
            if x.shape[0] > 3:
                raise ArithmeticError("at most three")
            return self.head(self.pool(x).flatten(1))

    engine = xai.Engine(settled(Choosy()))
    with pytest.raises(ArithmeticError, match="at most three"):
        engine.explain(images, "ablation-cam")
    xai.Engine(engine.model, block=3).explain(images, "ablation-cam")


def test_values_that_the_tail_reads(images: Tensor) -> None:
    """A tail that branches on values, or makes new tensors, runs alone: its values are there."""

    class Branching(SmallCNN):
        def forward(self, x: Tensor) -> Tensor:
            x = self.last(self.stem(x))
            scale = torch.ones(len(x), 1, device=x.device)
            return self.head(self.pool(x).flatten(1)) * (scale if x.sum().item() > 0 else -scale)

    model = settled(Branching())
    replay = PartialForward(model, plain, model.last, images)
    activation = output_of(model, model.last, images)
    torch.testing.assert_close(replay(activation, torch.arange(3)), model(images).detach())
    assert replay.alone


def test_values_that_the_trunk_reads(images: Tensor) -> None:
    """A trunk that branches on values needs them: the whole model runs."""

    class Branching(SmallCNN):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x if x.sum().item() > 0 else -x)
            return self.head(self.pool(self.last(x)).flatten(1))

    model = settled(Branching())
    replay = PartialForward(model, plain, model.last, images)
    activation = output_of(model, model.last, images)
    torch.testing.assert_close(replay(activation, torch.arange(3)), model(images).detach())
    assert not replay.alone


@pytest.mark.parametrize("made", ["before the model", "before the layer", "after the layer"])
def test_an_index_without_values_selects_nothing(images: Tensor, made: str) -> None:
    """An embedding of indices that were made without values returns arbitrary values: the whole model runs."""

    class Asked(SmallCNN):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(7, 12)

        def forward(self, x: Tensor, ids: Tensor | None = None) -> Tensor:
            if made == "before the layer":
                ids = torch.tensor([3, 1, 4])
            x = self.last(self.stem(x))
            ids = torch.tensor([3, 1, 4]) if ids is None else ids
            return self.head(self.pool(x).flatten(1) * self.words(ids).mean(0))

    def forward(model: nn.Module, images: Tensor, of: Tensor) -> Tensor:
        return model(images, torch.tensor([3, 1, 4])) if made == "before the model" else model(images)

    model, of = settled(Asked()), torch.tensor([2, 0])
    replay = PartialForward(model, forward, model.last, images)
    activation = output_of(model, model.last, images)[of]
    torch.testing.assert_close(replay(activation, of), forward(model, images, of).detach()[of])
    assert replay.alone is (made == "after the layer")


def test_shapes_before_the_layer_are_found_once(images: Tensor) -> None:
    """Of blocks of one size, the first finds them; in-place activations have none to find."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), nn.Conv2d(4, 5, 3)).eval()
    replay, of = PartialForward(model, plain, model[3], images), torch.zeros(6, dtype=torch.long)
    sizes = []
    for count in (6, 6, 2):
        replay(torch.randn(count, 5, 28, 28), of[:count])
        sizes.append(len(replay._shapes))
    assert replay.alone
    assert 0 < sizes[0] == sizes[1] < sizes[2]
