"""A sample of the models of `docs/coverage.md`: each is read correctly without a named layer, or refused."""

import pytest

from support.coverage.examine import examine
from support.coverage.libraries import case_of

CORRECT = [
    "segmentation-models-pytorch:linknet:linknet on tu-mobilenetv3_small_050",
    "segmentation-models-pytorch:pspnet:pspnet on tu-mobilenetv3_small_050",
    "timm:ghostnet:ghostnet_050",
    "timm:levit:levit_128s",
    "timm:pit:pit_ti_224",
    "timm:regnet:regnetx_002",
    "timm:repghost:repghostnet_050",
    "timm:starnet:starnet_s050",
    "timm:edgenext:edgenext_xx_small",
    "torchvision:mobilenetv3:mobilenet_v3_small",
    "torchvision:mnasnet:mnasnet0_5",
    "torchvision:segmentation.lraspp:lraspp_mobilenet_v3_large",
    "torchvision:shufflenetv2:shufflenet_v2_x0_5",
    "torchvision:squeezenet:squeezenet1_1",
    "transformers:beit:BeitForImageClassification",
    "transformers:clip:CLIPForImageClassification",
    "transformers:convnext:ConvNextForImageClassification",
    "transformers:cvt:CvtForImageClassification",
    "transformers:deit:DeiTForImageClassification",
    "transformers:deit:DeiTForImageClassificationWithTeacher",
    "transformers:dinov2_with_registers:Dinov2WithRegistersForImageClassification",
    "transformers:hiera:HieraForImageClassification",
    "transformers:mobilevit:MobileViTForImageClassification",
    "transformers:mobilevit:MobileViTForSemanticSegmentation",
    "transformers:poolformer:PoolFormerForImageClassification",
    "transformers:pp_lcnet:PPLCNetForImageClassification",
    "transformers:pvt:PvtForImageClassification",
    "transformers:resnet:ResNetForImageClassification",
    "transformers:segformer:SegformerForSemanticSegmentation",
    "transformers:shieldgemma2:ShieldGemma2ForImageClassification",
    "transformers:siglip2:Siglip2ForImageClassification",
    "transformers:swin:SwinForImageClassification",
    "transformers:vit:ViTForImageClassification",
    "vit-pytorch:cait:CaiT",
    "vit-pytorch:cct:CCT",
    "vit-pytorch:nest:NesT",
    "vit-pytorch:simple_vit_with_register_tokens:SimpleViT",
    "vit-pytorch:vit:ViT",
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
