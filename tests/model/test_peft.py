"""A model with LoRA layers of peft is read as the same model with merged weights."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

import xai_core as xai

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # which peft reads
]


def vit() -> PeftModel:
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    model = ViTForImageClassification(ViTConfig(**sizes, num_hidden_layers=2, num_labels=5))
    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))


def resnet() -> PeftModel:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    layers = LoraConfig(r=2, target_modules=["convolution"], init_lora_weights=False)
    return get_peft_model(ResNetForImageClassification(config), layers)


@pytest.mark.parametrize(
    ("make", "methods"),
    [(vit, ["grad-cam", "rollout", "generic-attention"]), (resnet, ["grad-cam", "score-cam"])],
)
def test_maps_are_those_of_the_model_with_merged_weights(make: type[nn.Module], methods: list[str]) -> None:
    adapted, images = make().double().eval(), torch.randn(2, 3, 32, 32).double()
    merged = copy.deepcopy(adapted).merge_and_unload()
    with torch.no_grad():
        torch.testing.assert_close(adapted(images).logits, merged(images).logits)
    found, expected = (maps(model, images, methods) for model in (adapted, merged))
    for name in methods:
        torch.testing.assert_close(found[name].raw, expected[name].raw)


def maps(model: nn.Module, images: Tensor, methods: list[str]) -> dict[str, xai.Saliency]:
    return xai.Engine(model).explain(images, methods, 1)
