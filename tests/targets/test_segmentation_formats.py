"""Regions of mask classifiers, of masks of prompts, and of lists of heads: scores, gradients and bad outputs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Mask2FormerImageProcessor, MaskFormerImageProcessor

import xai_core as xai
from support.segmenters import Forward, mask_classifier, prompted, sam
from xai_core.errors import ModelOutputError, TargetError, XAIError
from xai_core.targets.pixel_scores import pixel_reader
from xai_core.targets.score_reader import ScoreReader

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
EVERYWHERE = torch.ones(16, 16)
PROCESSORS = {"mask2former": Mask2FormerImageProcessor, "maskformer": MaskFormerImageProcessor}


@pytest.mark.parametrize("name", PROCESSORS)
def test_classes_of_pixels_are_those_of_the_image_processor(name: str) -> None:
    with torch.no_grad():
        output = mask_classifier(name)(IMAGES)
    scores = pixel_reader(output, 2)(output, 2)
    expected = PROCESSORS[name]().post_process_semantic_segmentation(output)
    size = expected[0].shape
    if name == "mask2former":  # its processor enlarges the masks first
        enlarged = {**output, "masks_queries_logits": nn.functional.interpolate(
            output.masks_queries_logits, size=size, mode="bilinear", align_corners=False
        )}  # fmt: skip
        scores = pixel_reader(enlarged, 2)(enlarged, 2)
    assert torch.equal(scores.argmax(1), torch.stack(expected))


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_gradient_of_a_class_of_a_mask_classifier_is_that_of_autograd(name: str) -> None:
    model = mask_classifier(name)
    engine, region = xai.Engine(model), xai.Region(1, EVERYWHERE)
    layer = engine.adapter(IMAGES, region).default_layer
    raw = engine.explain(IMAGES, "hires-cam", region)["hires-cam"].raw
    output, features = with_features(model, model.get_submodule(layer), lambda model, images: model(images))
    classes = output.class_queries_logits.double().exp()
    shares = classes[:, :, 1] / classes.sum(2)
    masks = 1 / (1 + (-output.masks_queries_logits.double()).exp())
    score = (shares[:, :, None, None] * masks).sum(1).mean((1, 2))
    (gradient,) = torch.autograd.grad(score.sum(), features)
    expected = (gradient * features).sum(2).relu().unflatten(1, (16, 16))
    torch.testing.assert_close(raw, expected.detach(), rtol=1e-4, atol=1e-7)


def with_features(model: nn.Module, layer: nn.Module, forward: Forward) -> tuple[Any, Tensor]:
    """Run a model with a plain hook, and return its output and the first output of a layer."""
    kept: list[Any] = []
    handle = layer.register_forward_hook(lambda _, __, features: kept.append(features))
    output = forward(model, IMAGES)
    handle.remove()
    return output, kept[0][0] if isinstance(kept[0], tuple) else kept[0]


@pytest.mark.parametrize("index", [None, 1])
def test_masks_of_a_prompt(index: int | None) -> None:
    model, forward = sam(), prompted(2)
    region = xai.Region(index, torch.ones(32, 32), prompt=1)
    raw = xai.Engine(model, forward=forward).explain(IMAGES, "hires-cam", region)["hires-cam"].raw
    output, features = with_features(model, model.vision_encoder.neck, forward)
    chosen = output.iou_scores[:, 1].argmax(1) if index is None else torch.tensor([1, 1])
    score = torch.stack([output.pred_masks[i, 1, mask].mean() for i, mask in enumerate(chosen)])
    (gradient,) = torch.autograd.grad(score.sum(), features)
    torch.testing.assert_close(raw, (gradient * features).sum(1).relu().detach(), rtol=1e-4, atol=1e-6)


def test_the_region_of_a_prompted_mask_is_where_its_own_logit_is_positive() -> None:
    masks = torch.full((1, 1, 3, 4, 4), -1.0)
    masks[0, 0, 1, :2] = 5  # the other masks have no pixel, and the second has the highest quality
    output = {"pred_masks": masks, "iou_scores": torch.tensor([[[0.1, 0.9, 0.2]]])}
    assert torch.equal(score(output, xai.Region()), torch.tensor([5.0]))
    assert torch.equal(score(output, xai.Region(), "probability"), torch.tensor([5.0]).sigmoid())
    assert torch.equal(score(output, xai.Region(2, torch.ones(4, 4))), torch.tensor([-1.0]))


def score(output: Any, region: xai.Region, kind: str = "logit") -> Tensor:
    return region.bind(output, ScoreReader(lambda output: output), 1).model_score(output, None, kind)


def test_a_class_of_queries_excludes_the_last_one() -> None:
    output = {"pred_logits": torch.tensor([[[0.0, 0, 0], [0, 0, 50]]]), "pred_masks": torch.zeros(1, 2, 4, 4)}
    region = xai.Region(1, torch.ones(4, 4))
    for kind in ("logit", "probability"):
        torch.testing.assert_close(score(output, region, kind), torch.tensor([1 / 6]))
    with pytest.raises(TargetError, match="expected 0 to 1"):
        score(output, xai.Region(2, torch.ones(4, 4)))


class Heads(nn.Module):
    """Two convolutions, whose outputs have different sizes, and a list of them."""

    def __init__(self, order: str = "main first") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.refined = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU())
        self.coarse, self.fine = nn.Conv2d(6, 4, 3, 2, 1), nn.Conv2d(6, 4, 1)
        self.order = order

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x).relu()
        coarse, fine = self.coarse(x), self.fine(self.refined(x))
        return {"main first": (fine, [coarse]), "main last": [coarse, fine], "one": [fine], "fine": fine}[self.order]


@pytest.mark.parametrize("order", ["main first", "main last", "one"])
@pytest.mark.parametrize("method", ["hires-cam", "occlusion:size=16,stride=16"])
def test_the_largest_of_several_heads_is_read(order: str, method: str) -> None:
    torch.manual_seed(0)
    listed, alone = Heads(order), Heads("fine")
    alone.load_state_dict(listed.state_dict())
    region = xai.Region(2, torch.ones(32, 32))
    maps = [xai.Engine(model).explain(IMAGES, method, region)[method].raw for model in (listed, alone)]
    assert torch.equal(*maps)


def test_one_score_per_pixel_needs_no_class() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 1, 3, 1, 1))
    region, other = xai.Region(mask=torch.ones(32, 32)), xai.Region(0, torch.ones(32, 32))
    maps = [xai.Engine(model).explain(IMAGES, "grad-cam", target)["grad-cam"].raw for target in (region, other)]
    assert torch.equal(*maps)
    assert torch.equal(score(model(IMAGES[:1]), region), model(IMAGES[:1]).mean((1, 2, 3)))


PIXELS, SMALL = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 4, 4)
PROMPTS = {"pred_masks": torch.ones(1, 2, 3, 4, 4), "iou_scores": torch.zeros(1, 2, 3)}


@pytest.mark.parametrize(
    ("output", "region", "error", "message"),
    [
        (PIXELS, xai.Region(), TargetError, "scores of 4 classes for each pixel; choose one"),
        ([PIXELS, PIXELS], xai.Region(1), ModelOutputError, "several tensors that can be scores of pixels"),
        ([PIXELS, SMALL[:, :2]], xai.Region(1), ModelOutputError, "several tensors that can be scores of pixels"),
        ({"a": PIXELS, "b": SMALL}, xai.Region(1), ModelOutputError, r"several tensors .*output='a'"),
        (PIXELS[:, 0], xai.Region(0), TargetError, r"masks \[B,h,w\] need `forward=lambda"),
        (PIXELS, xai.Region(1, prompt=0), TargetError, "`prompt` is for models that segment prompts"),
        (PROMPTS, xai.Region(0), TargetError, r"segments 2 prompts of each image; choose one .*Region\(prompt=0\)"),
        (PROMPTS, xai.Region(0, prompt=2), TargetError, "prompt 2 is not a prompt of the output: expected 0 to 1"),
        (PROMPTS, xai.Region(3, prompt=1), TargetError, "expected 0 to 2"),
    ],
)
def test_bad_outputs(output: Any, region: xai.Region, error: type[XAIError], message: str) -> None:
    with pytest.raises(error, match=message):
        score(output, region)


def test_a_mask_classifier_without_a_region() -> None:
    with pytest.raises(ModelOutputError, match=r"to explain a region of a segmentation, pass `target=Region\(class\)`"):
        xai.Engine(mask_classifier("maskformer")).explain(IMAGES, "saliency", 1)


def test_saved_maps_of_a_mask_classifier_are_scored(tmp_path: Any) -> None:
    engine = xai.Engine(mask_classifier("maskformer"))
    maps = engine.explain(IMAGES, "saliency", xai.Region(1, EVERYWHERE))
    torch.save(maps, tmp_path / "maps.pt")
    loaded = torch.load(tmp_path / "maps.pt")
    metric = "deletion:steps=2"
    before, after = (engine.evaluate(IMAGES, each, metric)["saliency"][metric] for each in (maps, loaded))
    assert torch.equal(before.values, after.values)
