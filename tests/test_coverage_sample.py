"""Models of each library are read correctly without a named layer, or refused. `docs/coverage.md` has the full list."""

import pytest

from support.coverage.examine import examine
from support.coverage.libraries import case_of

CORRECT = [
    "segmentation-models-pytorch:linknet:linknet on tu-test_efficientnet",
    "timm:byobnet:test_byobnet",
    "timm:cpubone:cpubone_nano",
    "timm:efficientnet:test_efficientnet",
    "timm:mambaout:test_mambaout",
    "timm:resnet:test_resnet",
    "timm:starnet:starnet_s050",
    "timm:vision_transformer:test_vit",
    "torchvision:shufflenetv2:shufflenet_v2_x0_5",
    "torchvision:squeezenet:squeezenet1_1",
    "transformers:beit:BeitForImageClassification",
    "transformers:bit:BitForImageClassification",
    "transformers:clip:CLIPForImageClassification",
    "transformers:cvt:CvtForImageClassification",
    "transformers:deit:DeiTForImageClassificationWithTeacher",
    "transformers:dinov2_with_registers:Dinov2WithRegistersForImageClassification",
    "transformers:hiera:HieraForImageClassification",
    "transformers:levit:LevitForImageClassification",
    "transformers:mobilenet_v1:MobileNetV1ForImageClassification",
    "transformers:mobilevit:MobileViTForSemanticSegmentation",
    "transformers:poolformer:PoolFormerForImageClassification",
    "transformers:pvt:PvtForImageClassification",
    "transformers:regnet:RegNetForImageClassification",
    "transformers:resnet:ResNetForImageClassification",
    "transformers:segformer:SegformerForSemanticSegmentation",
    "transformers:shieldgemma2:ShieldGemma2ForImageClassification",
    "transformers:siglip2:Siglip2ForImageClassification",
    "transformers:swin:SwinForImageClassification",
    "transformers:vit:ViTForImageClassification",
    "vit-pytorch:cait:CaiT",
    "vit-pytorch:cct:CCT",
    "vit-pytorch:jet_vit:JetViT",
    "vit-pytorch:nest:NesT",
    "vit-pytorch:pit:PiT",
    "vit-pytorch:simple_uvit:SimpleUViT",
    "vit-pytorch:simple_vit_with_register_tokens:SimpleViT",
    "vit-pytorch:vit:ViT",
    "vit-pytorch:vit_with_keel_post_ln:ViT",
    "vit-pytorch:xcit:XCiT",
]
REFUSED = [
    "transformers:imagegpt:ImageGPTForImageClassification",  # takes indices of colors
    "vit-pytorch:cross_vit:CrossViT",  # two branches without a common layer
]


@pytest.mark.parametrize("key", CORRECT)
def test_reads_a_model(key: str) -> None:
    row = examine(case_of(key))
    assert row.outcome == "correct", row.reason


@pytest.mark.parametrize("key", REFUSED)
def test_refuses_a_model_without_a_layer(key: str) -> None:
    row = examine(case_of(key))
    assert row.outcome == "refused", row.reason
