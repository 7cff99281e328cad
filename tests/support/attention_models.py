"""Vision transformers of several libraries, each with a way to read its attention matrices explicitly."""

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPVisionConfig,
    CLIPVisionModel,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.modeling_outputs import ImageClassifierOutput
from vit_pytorch import ViT
from vit_pytorch.simple_vit import SimpleViT

import xai_core as xai
from support.models import fused_vit, torchvision_vit

Matrices = list[Tensor]
"""Per layer [B,heads,N,N] in float64."""


def hooked(model: nn.Module, images: Tensor, modules: list[nn.Module], pick: Callable[[Any, Any], Tensor]) -> Matrices:
    found: Matrices = []
    handles = [m.register_forward_hook(lambda _, args, out: found.append(pick(args, out))) for m in modules]
    model(images)
    for handle in handles:
        handle.remove()
    return found


def slow_timm(model: Any, images: Tensor) -> Matrices:
    for block in model.blocks:
        block.attn.fused_attn = False
    return hooked(model, images, [block.attn.attn_drop for block in model.blocks], lambda args, _: args[0])


def slow_multi_head(model: nn.Module, images: Tensor) -> Matrices:
    """Ask every `nn.MultiheadAttention` for its weights, which it does not give when it runs in its model."""
    found: Matrices = []
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            forward = module.forward

            def ask(*args: Any, forward: Any = forward, **kwargs: Any) -> Any:
                output, weights = forward(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
                found.append(weights)
                return output, None

            module.forward = ask
    model.train()  # keeps nn.TransformerEncoderLayer off its fast path; dropout is zero in these models
    model(images)
    return found


def slow_hugging_face(model: Any, images: Tensor) -> Matrices:
    model.set_attn_implementation("eager")
    return list(model(images, output_attentions=True).attentions)


def slow_vit_pytorch(model: nn.Module, images: Tensor) -> Matrices:
    attends = [module for module in model.modules() if isinstance(module, nn.Softmax)]
    return hooked(model, images, attends, lambda _, output: output)


class Encoder(nn.Module):
    """A plain `nn.TransformerEncoder` with a class token."""

    def __init__(self, batch_first: bool, norm_first: bool, mean: bool = False) -> None:
        super().__init__()
        self.batch_first, self.mean = batch_first, mean
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        tokens = self.encoder(tokens)
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        return self.head(tokens.mean(1) if self.mean else tokens[:, 0])


TINY: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip


TINY_TEXT = {**TINY, "bos_token_id": 0, "eos_token_id": 1}


class Pooled(nn.Module):
    """Scores from what a vision model pools: of its class token, or by attention."""

    def __init__(self, vision: Any) -> None:
        super().__init__()
        self.vision, self.head = vision, nn.Linear(32, 5)

    def set_attn_implementation(self, implementation: str) -> None:
        self.vision.set_attn_implementation(implementation)

    def forward(self, images: Tensor, **options: Any) -> ImageClassifierOutput:
        given = self.vision(images, **options)
        return ImageClassifierOutput(logits=self.head(given.pooler_output), attentions=given.attentions)


HUGGING_FACE: dict[str, tuple[Callable[[], Any], int, str]] = {
    # model, prefix tokens, what the head reads
    "ViT": (lambda: ViTForImageClassification(ViTConfig(**TINY)), 1, "class"),
    "DeiT": (lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(**TINY)), 2, "prefix"),
    "DINOv2": (lambda: Dinov2ForImageClassification(Dinov2Config(**TINY)), 1, "class and patches"),
    "CLIP, class token": (lambda: Pooled(CLIPVisionModel(CLIPVisionConfig(**TINY))), 1, "class"),
    "CLIP, mean over patches": (
        lambda: CLIPForImageClassification(CLIPConfig(vision_config=TINY, text_config=TINY_TEXT)), 1, "patches",
    ),
    "SigLIP, mean": (
        lambda: SiglipForImageClassification(
            SiglipConfig(vision_config={**TINY, "vision_use_head": False}, text_config=TINY_TEXT)
        ),
        0, "all",
    ),
}  # fmt: skip


def attention_pooling() -> nn.Module:
    return Pooled(SiglipVisionModel(SiglipVisionConfig(**TINY)))


def with_attention(make: Callable[[], Any], implementation: str) -> Callable[[], nn.Module]:
    """Make it with attention that is fused ("sdpa") or written out ("eager")."""

    def made() -> nn.Module:
        model = make()
        model.set_attn_implementation(implementation)
        return model

    return made


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Matrices], int, int, str]] = {
    # model, how to read it slowly, side of the images, prefix tokens, what the head reads
    # 197 tokens, which take more than one block of rows
    "timm, many tokens": (lambda: fused_vit(img_size=112, depth=2), slow_timm, 112, 1, "class"),
    "timm deit_tiny_distilled": (
        lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, embed_dim=48, depth=3, num_classes=5),
        slow_timm, 64, 2, "prefix",
    ),
    "timm dinov2 with registers": (
        lambda: timm.create_model(
            "vit_small_patch14_reg4_dinov2", img_size=98, embed_dim=48, num_heads=3, depth=3, num_classes=5
        ),
        slow_timm, 98, 5, "class",
    ),
    "timm mean over patches": (lambda: fused_vit(global_pool="avg"), slow_timm, 32, 1, "patches"),
    "timm without class token": (lambda: fused_vit(global_pool="avg", class_token=False), slow_timm, 32, 0, "all"),
    "torchvision vit": (torchvision_vit, slow_multi_head, 32, 1, "class"),
    **{
        f"hugging face {name}, {implementation}": (
            with_attention(make, implementation), slow_hugging_face, 32, prefix, reads,
        )
        for name, (make, prefix, reads) in HUGGING_FACE.items() for implementation in ("sdpa", "eager")
    },
    "cifar-vit": (
        lambda: xai.load_model("cifar-vit:patch=8,dim=32,heads=4,depth=3,dropout=0").model,
        slow_multi_head, 32, 1, "class",
    ),
    "vit-pytorch": (
        lambda: ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64),
        slow_vit_pytorch, 32, 1, "class",
    ),
    "vit-pytorch mean": (
        lambda: ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64, pool="mean"),
        slow_vit_pytorch, 32, 0, "all",
    ),
    "simple vit": (
        lambda: SimpleViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64),
        slow_vit_pytorch, 32, 0, "all",
    ),
    "nn.TransformerEncoder": (lambda: Encoder(True, True), slow_multi_head, 32, 1, "class"),
    "nn.TransformerEncoder, tokens first": (lambda: Encoder(False, False), slow_multi_head, 32, 1, "class"),
    "nn.TransformerEncoder, mean": (lambda: Encoder(True, False, mean=True), slow_multi_head, 32, 1, "all"),
}  # fmt: skip
