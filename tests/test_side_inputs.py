"""Models with other inputs: each row gets the side input of its image, wherever the model runs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled

SIDES = torch.tensor([[0.5, 2.0, -1.0], [-1.5, 0.3, 1.0], [1.0, -2.0, 0.2]])


class Asked(nn.Module):
    """Answers a question about an image: the question changes the colors that are seen, and weights the scores."""

    def __init__(self, vision: nn.Module) -> None:
        super().__init__()
        self.vision = vision
        self.weights = nn.Linear(3, 5)

    def forward(self, images: Tensor, question: Tensor) -> Tensor:
        return self.vision(images + images.flip(1) * question[:, :, None, None]) * self.weights(question)


def with_all_questions(model: nn.Module, images: Tensor, of: Tensor) -> Tensor:
    return model(images, SIDES[of])


def alone(model: nn.Module, number: int) -> xai.Engine:
    """An engine that asks the question of one image, whatever the image."""
    return xai.Engine(model, forward=lambda model, images: model(images, SIDES[number].expand(len(images), -1)))


METHODS = {
    "cnn": [
        "grad-cam", "score-cam", "ablation-cam", "smoothed(grad-cam)", "noise-smoothed(saliency):n=2",
        "integrated-gradients:n_steps=2", "feature-ablation:patch=16", "occlusion:size=16,stride=16", "rise:masks=8",
    ],
    "vit": ["grad-cam", "legrad", "generic-attention", "rollout", "ablation-cam"],
}  # fmt: skip
METRICS = ["deletion:steps=3", "infidelity", "max-sensitivity:samples=2", "parameter-randomization:layers=2"]


@pytest.fixture(scope="module", params=METHODS)
def family(request: pytest.FixtureRequest) -> tuple[nn.Module, list[str]]:
    torch.manual_seed(0)
    return settled(Asked(SmallCNN() if request.param == "cnn" else fused_vit(depth=2))), METHODS[request.param]


@pytest.mark.parametrize("block", [None, 2])
def test_maps_are_those_of_each_image_with_its_own_side_input(
    family: tuple[nn.Module, list[str]], images: Tensor, block: int | None
) -> None:
    model, methods = family
    together = xai.Engine(model, forward=with_all_questions, block=block).explain(images, methods, 1)
    for i in range(len(images)):
        for name, expected in alone(model, i).explain(images[i : i + 1], methods, 1).items():
            torch.testing.assert_close(together[name].raw[i], expected.raw[0], rtol=1e-3, atol=1e-5, msg=name)


def test_metrics_use_the_side_input_of_each_image(family: tuple[nn.Module, list[str]], images: Tensor) -> None:
    model, _ = family
    engine = xai.Engine(model, forward=with_all_questions)
    together = engine.evaluate(images, engine.explain(images, "grad-cam", 1), METRICS)["grad-cam"]
    for i in range(len(images)):
        single = alone(model, i)
        maps = single.explain(images[i : i + 1], "grad-cam", 1)
        for name, expected in single.evaluate(images[i : i + 1], maps, METRICS)["grad-cam"].items():
            torch.testing.assert_close(together[name].values[i], expected.values[0], rtol=1e-3, atol=1e-5, msg=name)


def test_a_map_of_any_origin_is_scored_for_the_class_that_is_predicted_with_the_side_input(images: Tensor) -> None:
    model = settled(Asked(SmallCNN()))
    with torch.no_grad():
        predicted = model(images, SIDES).argmax(1)
        assert predicted.tolist() != model(images, SIDES[:1].expand(3, -1)).argmax(1).tolist()
    engine = xai.Engine(model, forward=with_all_questions)
    relevance = torch.rand(3, 8, 8)
    [ours] = engine.evaluate(images, relevance, "deletion:steps=3").values()
    assert ours.curve is not None
    with torch.no_grad():
        expected = model(images, SIDES).softmax(1).gather(1, predicted[:, None])[:, 0]
    torch.testing.assert_close(ours.curve[:, 0], expected)


def test_attention_is_recorded_with_the_side_input_of_each_image(images: Tensor) -> None:
    model = settled(Asked(fused_vit(depth=2)))
    together = xai.Engine(model, forward=with_all_questions).attention(images)
    for i in range(len(images)):
        single: Any = alone(model, i).attention(images[i : i + 1])
        for ours, expected in zip(together.layers, single.layers, strict=True):
            torch.testing.assert_close(ours.weights[i], expected.weights[0])
