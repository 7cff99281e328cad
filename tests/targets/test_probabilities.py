"""Models that end in a softmax or a sigmoid: their scores are probabilities, and no second softmax is applied."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class Ending(nn.Module):
    """A classifier whose logits [B,5] end in a function."""

    def __init__(self, end: Callable[[Tensor], Any], *vision: nn.Module) -> None:
        super().__init__()
        self.vision = nn.ModuleList(vision or [SmallCNN()])
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(*(vision(x) for vision in self.vision))


class Pixels(nn.Module):
    """A segmentation model whose logits [B,K,32,32] end in a function."""

    def __init__(self, classes: int, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, classes, 3, 1, 1))
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(nn.functional.interpolate(self.layers(x), scale_factor=2.0, mode="bilinear"))


def by_hand(logits: Tensor) -> Tensor:
    exponentials = logits.exp()
    return exponentials / exponentials.sum(1, keepdim=True)


PROBABILITIES: dict[str, Callable[[Tensor], Any]] = {
    "softmax": lambda y: y.softmax(1),
    "softmax in a dict": lambda y: {"loss": y.sum(), "logits": y.softmax(1)},
    "softmax by hand": by_hand,
    "exponential of log softmax": lambda y: y.log_softmax(1).exp(),
    "softmax without a graph": lambda y: y.softmax(1).detach().requires_grad_(),
    "sigmoid of each class": lambda y: y.sigmoid(),
    "sigmoid of one class": lambda y: y[:, :1].sigmoid(),
    "hard sigmoid of one class": lambda y: nn.functional.hardsigmoid(y[:, :1]),
    "one of two probabilities": lambda y: y[:, :2].softmax(1)[:, 1:],
    "a class and its complement": lambda y: torch.cat([y[:, :1].sigmoid(), 1 - y[:, :1].sigmoid()], 1),
    "float16": lambda y: y.softmax(1).half(),
    "mean of flips": lambda y: torch.stack([y.softmax(1), y.flip(1).softmax(1)]).mean(0),
    "softmax in another order": lambda y: y.softmax(1) @ torch.eye(5).flip(1),
    "weighted mean of one class": lambda y: 0.3 * y[:, :1].sigmoid() + y[:, 1:2].sigmoid() * 0.7,
}


def scored(model: nn.Module, kind: str, target: Any = None) -> tuple[Tensor, Any]:
    bound = xai.Engine(model).explain(IMAGES, "center", target)["center"].target
    assert not isinstance(bound, tuple)
    with torch.no_grad():
        output = model(IMAGES)
    return bound.model_score(output, kind=kind), output


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_probabilities_are_taken_as_they_are(name: str) -> None:
    model = settled(Ending(PROBABILITIES[name]))
    for kind in ("logit", "probability"):
        score, output = scored(model, kind, 0)
        expected = output["logits"] if isinstance(output, dict) else output
        torch.testing.assert_close(score.float(), expected[:, 0].float())


LOGITS: dict[str, Callable[[Tensor], Any]] = {
    "logits": lambda y: y,
    "log probabilities": lambda y: y.log_softmax(1),
    "logits from 0 to 1": lambda y: y / y.abs().amax() / 2 + 0.5,
    "logits that sum to one on one image": lambda y: y.abs() / y[:1].abs().sum().detach(),
    "gated logits": lambda y: y * y.flip(1).sigmoid() * 0.01 + 0.5,
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_become_probabilities(name: str) -> None:
    model = settled(Ending(LOGITS[name]))
    probability, output = scored(model, "probability", 1)
    torch.testing.assert_close(probability, output.softmax(1)[:, 1])


def test_one_logit_from_0_to_1_is_no_probability() -> None:
    model = settled(Ending(lambda y: y[:, :1] * 1e-3 + 0.5))
    probability, output = scored(model, "probability")
    torch.testing.assert_close(probability, output[:, 0].sigmoid())


def test_metrics_do_not_apply_softmax_twice() -> None:
    torch.manual_seed(0)
    vision = settled(SmallCNN())
    maps = {"mine": torch.rand(3, 8, 8)}
    metrics = ["deletion:steps=3", "insertion:steps=3", "average-drop", "irof"]
    with_softmax = xai.Engine(Ending(lambda y: y.softmax(1), vision)).evaluate(IMAGES, maps, metrics)["mine"]
    with_logits = xai.Engine(vision).evaluate(IMAGES, maps, metrics)["mine"]
    for name, expected in with_logits.items():
        torch.testing.assert_close(with_softmax[name].values, expected.values)
    score_cam = (
        xai.Engine(model).explain(IMAGES, "score-cam:layer=" + layer, 1)["score-cam:layer=" + layer].raw
        for model, layer in ((Ending(lambda y: y.softmax(1), vision), "vision.0.last"), (vision, "last"))
    )
    torch.testing.assert_close(*score_cam)


def test_the_gradient_is_that_of_the_probability() -> None:
    model = Ending(lambda y: y.softmax(1), settled(SmallCNN())).eval()
    images = IMAGES.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(images)[:, 2].sum(), images)
    raw = xai.Engine(model).explain(IMAGES, "saliency:channels=sum", 2)["saliency:channels=sum"].raw
    torch.testing.assert_close(raw, expected.sum(1))


def test_a_contrast_of_probabilities_is_the_share_of_the_first() -> None:
    vision = settled(SmallCNN())
    softmax, _ = scored(Ending(lambda y: y.softmax(1), vision), "probability", xai.Contrast(1, 3))
    logits, output = scored(vision, "probability", xai.Contrast(1, 3))
    torch.testing.assert_close(softmax, logits)
    difference, _ = scored(Ending(lambda y: y.softmax(1), vision), "logit", xai.Contrast(1, 3))
    torch.testing.assert_close(difference, output.softmax(1)[:, 1] - output.softmax(1)[:, 3])
    nothing, _ = scored(Ending(lambda y: (1e4 * y).softmax(1), vision), "probability", xai.Contrast())
    assert nothing.isfinite().all()


def test_saved_targets_of_probabilities_are_scored_alike(tmp_path: Any) -> None:
    model = settled(Ending(lambda y: y.softmax(1)))
    engine = xai.Engine(model)
    maps = engine.explain(IMAGES, "hires-cam", xai.Contrast(1, 2))
    torch.save(maps, tmp_path / "maps.pt")
    loaded = torch.load(tmp_path / "maps.pt")
    for metric in ("deletion:steps=2", "deletion:steps=2,score=logit"):
        ours, theirs = (engine.evaluate(IMAGES, each["hires-cam"], metric)[metric].values for each in (loaded, maps))
        torch.testing.assert_close(ours, theirs)


def region_of(model: nn.Module, mask: Tensor | None, kind: str) -> tuple[Tensor, Tensor]:
    return scored(model, kind, xai.Region(0, mask))


@pytest.mark.parametrize("classes", [1, 4])
def test_a_region_of_probabilities_is_the_mean_of_them(classes: int) -> None:
    end: Callable[[Tensor], Tensor] = (lambda y: y.sigmoid()) if classes == 1 else (lambda y: y.softmax(1))
    for kind in ("logit", "probability"):
        score, output = region_of(settled(Pixels(classes, end)), torch.ones(32, 32), kind)
        torch.testing.assert_close(score, output[:, 0].mean((1, 2)))
    probability, output = region_of(settled(Pixels(classes, lambda y: y)), torch.ones(32, 32), "probability")
    torch.testing.assert_close(probability, end(output)[:, 0].mean((1, 2)))


def test_the_region_of_one_score_is_where_it_is_more_probable_than_not() -> None:
    torch.manual_seed(0)
    model = settled(Pixels(1, lambda y: y - y.mean()))
    score, logits = region_of(model, None, "logit")
    assert 0.1 < (logits > 0).float().mean() < 0.9
    expected = torch.stack([image[image > 0].mean() for image in logits[:, 0]])
    torch.testing.assert_close(score, expected)
    model.end = lambda y: (y - y.mean()).sigmoid()
    score, output = region_of(model, None, "logit")
    expected = torch.stack([image[image > 0.5].mean() for image in output[:, 0]])
    torch.testing.assert_close(score, expected)
