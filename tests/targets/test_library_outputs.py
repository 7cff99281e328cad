"""Outputs of torchvision's detectors, and of transformers with several heads, are explained or rejected with advice."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign
from transformers import CLIPConfig, CLIPModel, DeiTConfig, DeiTForImageClassificationWithTeacher, ViTConfig, ViTModel

import xai_core as xai
from support.models import settled
from xai_core.errors import ModelOutputError

SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
VISION: dict[str, Any] = {**SIZES, "image_size": 32, "patch_size": 8}
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class Backbone(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.out_channels = 8


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    """A small Faster R-CNN that returns four boxes for each image."""
    torch.manual_seed(0)
    return settled(
        FasterRCNN(
            Backbone(),
            min_size=32,
            rpn_anchor_generator=AnchorGenerator(((8,),), ((1.0,),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
            box_head=TwoMLPHead(8 * 9, 16),
            box_predictor=FastRCNNPredictor(16, 3),
            box_score_thresh=0.0,
            box_nms_thresh=1.0,
            box_detections_per_img=4,
        )
    )


def test_as_many_boxes_as_images_are_not_taken_for_scores(detector: nn.Module) -> None:
    with torch.no_grad():
        assert [len(each["boxes"]) for each in detector(IMAGES)] == [4] * 4
    message = r"class scores.*`target=Box.*`forward=`"
    for target in (2, xai.Contrast(0, 1), xai.Similarity(torch.ones(4))):
        with pytest.raises(ModelOutputError, match=message.replace("class scores", "(class scores|embeddings)")):
            xai.Engine(detector).explain(IMAGES, "saliency", target)


def test_without_a_target_the_best_detection_is_explained(detector: nn.Module) -> None:
    with torch.no_grad():
        best = [each["boxes"][each["scores"].argmax()] for each in detector(IMAGES)]
    maps = xai.Engine(detector).explain(IMAGES, "saliency")
    torch.testing.assert_close(maps["saliency"].target.measure.boxes, torch.stack(best), rtol=1e-4, atol=1e-3)


def test_detections_are_explained_by_a_function(detector: nn.Module) -> None:
    def total(output: list[dict[str, Tensor]]) -> Tensor:
        return torch.stack([each["scores"].sum() for each in output])

    images = IMAGES.clone().requires_grad_()
    (expected,) = torch.autograd.grad(total(detector(images)).sum(), images)
    spec = "saliency:channels=sum"
    raw = xai.Engine(detector).explain(IMAGES, spec, total)[spec].raw
    torch.testing.assert_close(raw, expected.sum(1), rtol=1e-3, atol=1e-6)


def test_the_logits_of_a_transformer_with_several_heads() -> None:
    model = settled(
        DeiTForImageClassificationWithTeacher(
            DeiTConfig(**VISION, num_labels=5, output_hidden_states=True, output_attentions=True)
        )
    )
    with torch.no_grad():
        output = model(IMAGES)
    for part, expected in ((None, output.logits), ("distillation_logits", output.distillation_logits)):
        engine = xai.Engine(model, output=part)
        [result] = engine.evaluate(IMAGES, torch.rand(4, 8, 8), "deletion:steps=2,score=logit").values()
        assert result.curve is not None
        torch.testing.assert_close(result.curve[:, 0], expected.amax(1))


def test_the_embedding_of_an_encoder_is_its_only_row() -> None:
    model, vector = settled(ViTModel(ViTConfig(**VISION))), torch.randn(16)
    bound = xai.Engine(model).explain(IMAGES, "center", xai.Similarity(vector))["center"].target
    assert isinstance(bound, xai.Saliency) is False
    with torch.no_grad():
        output = model(IMAGES)
    expected = torch.cosine_similarity(output.pooler_output, vector[None])
    torch.testing.assert_close(bound.model_score(output), expected)  # type: ignore[union-attr]


def test_the_outputs_of_clip_are_listed() -> None:
    text = {**SIZES, "vocab_size": 9, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 8}
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=6)
    model, ids = settled(CLIPModel(config)), torch.tensor([[1, 2, 8], [3, 4, 8]])

    def forward(model: nn.Module, images: Tensor) -> Any:
        return model(input_ids=ids, pixel_values=images)

    with pytest.raises(ModelOutputError, match=r"several .*'logits_per_image' \[1, 2\], .*pooler_output"):
        xai.Engine(model, forward=forward).explain(IMAGES, "grad-cam")
    with torch.no_grad():
        output = forward(model, IMAGES)
    engine = xai.Engine(model, forward=forward, output="logits_per_image")
    bound: Any = engine.explain(IMAGES, "center", 1)["center"].target
    torch.testing.assert_close(bound.model_score(output.logits_per_image), output.logits_per_image[:, 1])
    vector = output.text_embeds[0]
    bound = xai.Engine(model, forward=forward).explain(IMAGES, "center", xai.Similarity(vector))["center"].target
    torch.testing.assert_close(bound.model_score(output), output.image_embeds @ vector)
