"""What can be asked: several targets at once, contrasts, embeddings, callables; and what is refused, with one error."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn

import xai_core as xai
from support.explaining import captured_by, one_pass
from support.models import FAMILIES, SmallCNN, settled
from xai_core.errors import TargetError

SEVERAL = torch.tensor([[0, 3], [4, 1], [2, 2]])


@pytest.fixture(params=["cnn", "fused vit"])
def engine(request: pytest.FixtureRequest) -> xai.Engine:
    return xai.Engine(settled(FAMILIES[request.param]()))


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_several_targets_are_what_each_alone_is(engine: xai.Engine, images: Tensor) -> None:
    methods = [*one_pass(engine, images), "score-cam", "ablation-cam"]
    together = engine.explain(images, methods, SEVERAL)
    for i in range(2):
        alone = engine.explain(images, methods, SEVERAL[:, i])
        for name in methods:
            ours, theirs = together[name].raw[:, i], alone[name].raw
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max(), name


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_scores_of_several_targets_are_those_of_each_alone(engine: xai.Engine, images: Tensor) -> None:
    metrics = ["deletion:steps=4", "insertion:steps=4"]
    together = engine.evaluate(images, engine.explain(images, "grad-cam", SEVERAL), metrics)["grad-cam"]
    for i in range(2):
        alone = engine.evaluate(images, engine.explain(images, "grad-cam", SEVERAL[:, i]), metrics)["grad-cam"]
        for name in metrics:
            assert together[name].values.shape == (3, 2)
            torch.testing.assert_close(together[name].values[:, i], alone[name].values)


class Tiny(nn.Module):
    """Float64, smooth, with a layer whose gradient finite differences can check."""

    def __init__(self, dense: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2, 1)
        self.head = nn.Conv2d(4, 5, 3, 1, 1)
        self.dense = dense

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.layer(x))

    def rest(self, activation: Tensor) -> Tensor:
        logits = self.head(activation.tanh())
        return logits if self.dense else logits.mean((2, 3))


QUESTIONS: dict[str, tuple[bool, Any]] = {
    "region": (True, xai.Region(2, torch.eye(4))),
    "region of each image": (True, xai.Region([0, 3], torch.stack([torch.eye(4), torch.ones(4, 4)]))),
    "contrast": (False, xai.Contrast(1, 4)),
    "contrast of the predicted": (False, xai.Contrast()),
    "similarity": (False, xai.Similarity(torch.arange(5.0, dtype=torch.float64))),
    "callable": (False, lambda output: output.square().sum(1)),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_gradients_of_questions_against_finite_differences(name: str) -> None:
    dense, question = QUESTIONS[name]
    model = Tiny(dense).double().eval()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    captured = captured_by(model, images, xai.Needs(("layer",), gradients=True), target=question)
    activation, gradient = captured.activation(), captured.gradient()
    with torch.no_grad():
        for _ in range(5):
            step = 1e-5 * torch.randn_like(activation)
            up, down = (captured.target.model_score(model.rest(activation + sign * step)) for sign in (1, -1))
            expected = (gradient * step).sum((1, 2, 3))
            torch.testing.assert_close((up - down) / 2, expected, rtol=1e-5, atol=1e-10)


def test_a_contrast_is_of_the_predicted_class_and_the_runner_up(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    best = engine.model(images).topk(2, 1).indices
    default, given = (
        engine.explain(images, "layer-cam", xai.Contrast(*classes))["layer-cam"].raw
        for classes in ((), (best[:, 0], best[:, 1]))
    )
    torch.testing.assert_close(default, given)


def test_the_probability_of_a_contrast_is_between_its_two_classes(images: Tensor) -> None:
    model = settled(SmallCNN())
    target = captured_by(model, images, xai.Needs(), target=xai.Contrast(1, 3)).target
    with torch.no_grad():
        output = model(images)
    torch.testing.assert_close(target.model_score(output), output[:, 1] - output[:, 3])
    torch.testing.assert_close(target.model_score(output, kind="probability"), output[:, [1, 3]].softmax(1)[:, 0])


@pytest.mark.parametrize("ask", [lambda output: output[:, 2], 2, [2, 2, 2], torch.tensor([2, 2, 2])])
def test_a_class_by_number_list_tensor_and_callable(ask: Any, images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    expected = engine.explain(images, "hires-cam", torch.full((3, 1), 2))["hires-cam"].raw[:, 0]
    torch.testing.assert_close(engine.explain(images, "hires-cam", ask)["hires-cam"].raw, expected)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, "target 5 is not a class"),
        (-1, "target -1 is not a class"),
        ([0, 1], "for each of 3 images"),
        ([[1], [2, 3], [1]], "one id or T ids per image"),
        ([0, 1, 7], "target 7 is not a class"),
        ("cat", "no class names: pass a class id instead of 'cat'"),
        (1.5, "a target must be None"),
        (True, "a target must be None"),
        ([], "for each of 3 images"),
        (torch.tensor([0.0, 1.0, 2.0]), "integer class ids"),
        (torch.tensor([True, False, True]), "integer class ids"),
        (torch.tensor([0, 5, 1]), r"images \[1\] are not classes of this model: expected 0 to 4"),
        (torch.zeros(3, 1, 1, dtype=torch.int64), "for each of 3 images"),
        (torch.zeros(3, 0, dtype=torch.int64), "for each of 3 images"),
        (lambda output: output, "one floating-point number per image"),
        (lambda output: output.argmax(1), "one floating-point number per image"),
        (lambda output: 1.0, "one floating-point number per image"),
        (xai.Contrast(1, 1), "two different classes, got 1 twice"),
        (xai.Contrast(0, 9), "target 9 is not a class"),
        (xai.Contrast(torch.tensor([0, 1, 2]), 1), r"images \[1\] are not two different classes"),
        (xai.Similarity(torch.ones(4)), r"have the shape \[5\] or \[3, 5\]"),
        (xai.Region(1), "needs a segmentation model"),
    ],
)
def test_bad_targets_are_one_clear_error(target: Any, message: str, images: Tensor) -> None:
    with pytest.raises(TargetError, match=message):
        xai.Engine(settled(SmallCNN())).explain(images, "grad-cam", target)


def test_a_contrast_needs_two_classes(images: Tensor) -> None:
    with pytest.raises(TargetError, match="at least two classes"):
        xai.Engine(settled(SmallCNN(classes=1))).explain(images, "grad-cam", xai.Contrast())


@pytest.mark.parametrize("make", [tv.resnet18, tv.resnet50], ids=["resnet18", "resnet50"])
def test_a_frozen_trunk_with_a_new_head(make: Callable[[], nn.Module]) -> None:
    trunk = nn.Sequential(*list(make().children())[:-2])
    width = [module for module in trunk.modules() if isinstance(module, nn.BatchNorm2d)][-1].num_features
    model = settled(nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2)))
    images = torch.randn(2, 3, 64, 64)
    methods = ["grad-cam", "layer-cam"]
    free = xai.Engine(model).explain(images, methods, [0, 1])
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
    frozen = xai.Engine(model).explain(images, methods, [0, 1])
    assert xai.Engine(model).adapter(images).grid == (2, 2)
    for name in methods:
        assert torch.equal(free[name].raw, frozen[name].raw)
