"""Bad input gets one clear error of its own type, which says what was expected and what to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_core import errors

IMAGES = torch.randn(2, 3, 32, 32)


def explain(images: Any = IMAGES, method: Any = "grad-cam", **options: Any) -> Any:
    return xai.Engine(settled(SmallCNN())).explain(images, method, **options)


def evaluate(given: Any, metric: str, **options: Any) -> Any:
    return xai.Engine(settled(SmallCNN())).evaluate(IMAGES, {"good": IMAGES[:, 0], "m": given}, metric, **options)


def with_nan(value: float = torch.nan) -> Tensor:
    images = IMAGES.clone()
    images[1, 2, 3, 4] = value
    return images


class GivesNan(SmallCNN):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class GivesMaps(SmallCNN):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.stem(x))


class Returns(xai.Explainer):
    name = "returns"

    def __init__(self, value: Any) -> None:
        self.value = value

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Any:
        return self.value


CASES: dict[str, tuple[Callable[[], Any], type[xai.XAIError], str]] = {
    "not a tensor": (lambda: explain(IMAGES.numpy()), errors.InputTypeError, "as a tensor.*ndarray"),
    "integers": (lambda: explain((IMAGES * 9).byte()), errors.InputTypeError, "floating-point.*uint8"),
    "one image": (lambda: explain(IMAGES[0]), errors.InputShapeError, r"images\[None\]"),
    "wrong rank": (lambda: explain(IMAGES[None]), errors.InputShapeError, "images \\[B, 3, H, W\\].*five dimensions"),
    "wrong channels": (lambda: explain(IMAGES[:, :1]), errors.InputShapeError, "requires 3 channels.*1"),
    "no pixels": (lambda: explain(IMAGES[:, :, :0]), errors.InputShapeError, "at least one pixel"),
    "empty batch": (lambda: explain(IMAGES[:0]), errors.EmptyBatchError, "at least one image"),
    "nan image": (lambda: explain(with_nan()), errors.NonFiniteInputError, r"\[1\].*preprocessing"),
    "infinite image": (lambda: explain(with_nan(torch.inf)), errors.NonFiniteInputError, r"\[1\]"),
    "nan image, scored": (
        lambda: xai.Engine(SmallCNN()).evaluate(with_nan(), {"m": IMAGES[:, 0]}, "deletion"),
        errors.NonFiniteInputError, r"\[1\]",
    ),
    "model gives nan": (
        lambda: xai.Engine(GivesNan()).explain(IMAGES, "grad-cam"), errors.NonFiniteOutputError, r"\[0, 1\].*weights",
    ),
    "model gives no class scores": (
        lambda: xai.Engine(GivesMaps()).explain(IMAGES, "grad-cam"), errors.ModelOutputError, "target=.*forward=",
    ),
    "not a model": (lambda: xai.Engine(lambda x: x), errors.InputTypeError, "torch.nn.Module"),  # type: ignore[arg-type]
    "unknown method": (lambda: explain(method="grad-camm"), errors.UnknownExplainerError, "did you mean 'grad-cam'"),
    "not a method": (lambda: explain(method=[3]), errors.InputTypeError, "object of class Explainer"),
    "unknown metric": (lambda: xai.create_metric("deletions"), errors.UnknownMetricError, "did you mean 'deletion'"),
    "unknown model source": (lambda: xai.load_model("nowhere:x"), errors.UnknownModelError, "xai list models"),
    "unknown model": (
        lambda: xai.load_model("torchvision:resnet19"), errors.UnknownModelError, "did you mean 'resnet",
    ),
    "unknown data": (lambda: xai.load_dataset("nowhere"), errors.UnknownDatasetError, "xai list datasets"),
    "unknown layer": (lambda: explain(method="grad-cam:layer=lost"), errors.LayerError, "no layer 'lost'.*'last'"),
    "missing folder": (lambda: xai.load_dataset("folder:/no/such/folder"), errors.FileError, "/no/such/folder"),
    "target too large": (lambda: explain(target=5), errors.TargetError, "expected 0 to 4"),
    "target below zero": (lambda: explain(target=-1), errors.TargetError, "expected 0 to 4"),
    "target in a list": (lambda: explain(target=[0, 7]), errors.TargetError, "expected 0 to 4"),
    "target in a tensor": (
        lambda: explain(target=torch.tensor([0, 7])), errors.TargetError, r"\[1\].*expected 0 to 4",
    ),
    "too few targets": (lambda: explain(target=[0]), errors.TargetError, "each of 2 images"),
    "targets that are no ids": (lambda: explain(target=torch.tensor([0.0, 1.0])), errors.TargetError, "integer class"),
    "target of no kind": (lambda: explain(target="cat"), errors.TargetError, "class id"),
    "callable of the wrong shape": (
        lambda: explain(target=lambda output: output), errors.TargetError, "one floating-point number per image",
    ),
    "attention of a model that has none": (
        lambda: explain(method="rollout"), errors.UnsuitableError, "use a method for feature maps",
    ),
    "map of the wrong shape": (
        lambda: explain(method=Returns(IMAGES)), errors.PluginContractError, r"returns must return.*\[2, 3, 32, 32\]",
    ),
    "map that is no tensor": (lambda: explain(method=Returns(None)), errors.PluginContractError, "NoneType"),
    "map of nan": (lambda: explain(method=Returns(with_nan()[:, 2])), errors.NonFiniteMapError, r"returns.*\[1\]"),
    "map of nan, scored": (
        lambda: evaluate(with_nan()[:, 2], "deletion"), errors.NonFiniteMapError, r"map 'm' contains NaN.*\[1\]",
    ),
    "infinite map, scored": (
        lambda: evaluate(with_nan(-torch.inf)[:, 2], "complexity"), errors.NonFiniteMapError, r"map 'm'.*\[1\]",
    ),
    "saliency of nan, scored": (
        lambda: evaluate(replace(explain()["grad-cam"], values=with_nan()[:, 2]), "iou", masks=IMAGES[:, 0] > 0),
        errors.NonFiniteMapError, r"map 'm'.*\[1\]",
    ),
    "map of nan of several targets, scored": (
        lambda: evaluate(
            replace(explain(method="center", target=[[0, 1]] * 2)["center"], values=with_nan()[:, 1:]), "complexity"
        ),
        errors.NonFiniteMapError, r"map 'm'.*\[1\]",
    ),
    "nothing declared": (lambda: explain(method=Reads()), errors.NotCapturedError, "as `layer`: none"),
}  # fmt: skip


class Reads(Returns):
    def __init__(self) -> None:
        super().__init__(None)

    def explain(self, captured: xai.Captured) -> Any:
        return captured.activation()


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str) -> None:
    act, error, message = CASES[name]
    with pytest.raises(error, match=message) as caught:
        act()
    assert isinstance(caught.value, xai.XAIError)


def test_an_image_file_that_is_broken_or_truncated(tmp_path: Path) -> None:
    from PIL import Image

    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    for name, content in {
        "truncated.png": whole[: len(whole) // 2],
        "broken.png": b"not an image",
        "empty.png": b"",
    }.items():
        (tmp_path / "images").mkdir(exist_ok=True)
        path = tmp_path / "images" / name
        path.write_bytes(content)
        data = xai.load_dataset(f"folder:{path.parent}")
        with pytest.raises(errors.ImageFileError, match=name):
            data[0]
        path.unlink()


def test_a_checkpoint_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 3).state_dict(), path)
    with pytest.raises(errors.CheckpointError, match="does not match"):
        xai.load_model(f"torchvision:resnet18,weights={path}")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(errors.CheckpointError, match=r"weights\.pth"):
        xai.load_model(f"torchvision:resnet18,weights={path}")
    with pytest.raises(errors.FileError, match=r"missing\.pth"):
        xai.load_model(f"torchvision:resnet18,weights={tmp_path / 'missing.pth'}")


def test_each_kind_of_mistake_has_its_own_type() -> None:
    kinds = [getattr(errors, name) for name in vars(errors) if name.endswith("Error")]
    assert len(kinds) > 20
    assert all(issubclass(kind, xai.XAIError) and kind.__doc__ for kind in kinds)


def test_a_constant_map_is_zero_marked_and_warned_of() -> None:
    values = torch.rand(2, 4, 4)
    values[1] = 0.3
    with pytest.warns(errors.ConstantMapWarning, match=r"returns found no evidence in images \[1\]"):
        saliency = explain(method=Returns(values))["returns"]
    assert saliency.constant.tolist() == [False, True]
    assert not saliency.values[1].any()
    assert saliency.values[0].amax() == 1


def test_a_constant_map_that_rounding_moved_is_still_constant() -> None:
    values = torch.full((2, 7, 7), 0.1) + torch.randn(2, 7, 7) * 1e-8
    with pytest.warns(errors.ConstantMapWarning):
        assert explain(method=Returns(values))["returns"].constant.all()


def test_keys_of_maps() -> None:
    made = [xai.create_explainer("grad-cam", layer=layer) for layer in ("stem", "last", "last")]
    maps = explain(method=["grad-cam", "score-cam:score=logit", "grad-cam", *made])
    assert list(maps) == [
        "grad-cam", "score-cam:score=logit", "grad-cam:layer=stem", "grad-cam:layer=last", "grad-cam:layer=last #2",
    ]  # fmt: skip
    assert list(explain(method=made[0])) == ["grad-cam"]


def test_a_model_of_one_logit() -> None:
    """The probability of a single logit is its sigmoid."""
    engine = xai.Engine(settled(SmallCNN(classes=1)))
    maps = engine.explain(IMAGES, "grad-cam")
    score = engine.evaluate(IMAGES, maps, "deletion")["grad-cam"]["deletion"]
    expected = engine.model(IMAGES).sigmoid()[:, 0]
    assert score.curve is not None
    torch.testing.assert_close(score.curve[:, 0], expected.detach(), atol=1e-5, rtol=0)


def test_models_that_are_called_in_their_own_way() -> None:
    class TwoInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = settled(fused_vit())

        def forward(self, *, image: Tensor, gain: Tensor) -> dict[str, Tensor]:
            return {"loss": gain.sum(), "logits": gain * self.vision(image)}

    model = TwoInputs()
    engine = xai.Engine(model, forward=lambda model, images: model(image=images, gain=torch.tensor(2.0)))
    maps = engine.explain(IMAGES, ["grad-cam", "rollout"])
    plain = xai.Engine(model.vision).explain(IMAGES, ["grad-cam", "rollout"])
    for name, saliency in maps.items():
        torch.testing.assert_close(saliency.values, plain[name].values, atol=1e-5, rtol=0)
    engine.evaluate(IMAGES, maps, "deletion:steps=3")
