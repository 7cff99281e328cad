"""The adapter finds layers, grids and readouts by looking at one forward."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from transformers import ViTConfig, ViTForImageClassification
from vit_pytorch import ViT

import xai_core as xai
from support.explaining import captured_by
from support.models import SmallCNN, fused_vit, settled, torchvision_vit, with_small_classifier
from support.parameters import quick
from support.strange_sequences import Columns, PixelColumns
from xai_core.errors import LayerError, PluginWarning
from xai_core.plugin import Probe

SMALL_VIT = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip

SMALL_SWIN = {"embed_dim": 24, "depths": (2, 2, 2, 2)}

# model, side of the images, and the layer whose output the peers' manuals name for it
CONVENTIONS: dict[str, tuple[Callable[[], nn.Module], int, Callable[[Any], nn.Module]]] = {
    "resnet18": (tv.resnet18, 64, lambda m: m.layer4[-1]),
    "alexnet": (lambda: with_small_classifier(tv.alexnet, 256 * 6 * 6), 96, lambda m: m.features[-1]),
    "vgg11": (lambda: with_small_classifier(tv.vgg11, 512 * 7 * 7), 64, lambda m: m.features[-1]),
    "densenet121": (tv.densenet121, 64, lambda m: m.features[-1]),
    "mobilenet_v3_small": (tv.mobilenet_v3_small, 64, lambda m: m.features[-1]),
    "efficientnet_b0": (tv.efficientnet_b0, 64, lambda m: m.features[-1]),
    "shufflenet": (tv.shufflenet_v2_x0_5, 64, lambda m: m.conv5),
    "mnasnet": (tv.mnasnet0_5, 64, lambda m: m.layers[-1]),
    "regnet": (tv.regnet_y_400mf, 64, lambda m: m.trunk_output[-1]),
    "googlenet": (lambda: tv.googlenet(init_weights=False), 96, lambda m: m.inception5b),
    "convnext": (
        lambda: tv.ConvNeXt([CNBlockConfig(24, 48, 2), CNBlockConfig(48, None, 2)]), 64, lambda m: m.features[-1],
    ),
    "swin": (lambda: tv.SwinTransformer([4, 4], 24, [2, 2, 2, 2], [3, 6, 12, 24], [7, 7]), 64, lambda m: m.permute),
    "timm resnet18": (lambda: timm.create_model("resnet18"), 64, lambda m: m.layer4[-1]),
    "timm swin": (
        lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2, **SMALL_SWIN), 64,
        lambda m: m.norm,
    ),
    "timm efficientnet": (lambda: timm.create_model("tf_efficientnet_lite0"), 64, lambda m: m.bn2),
    "timm mobilenetv3": (lambda: timm.create_model("mobilenetv3_small_050"), 64, lambda m: m.blocks[-1]),
    "torchvision vit": (torchvision_vit, 32, lambda m: m.encoder.layers[-1].ln_1),
    "timm vit": (fused_vit, 32, lambda m: m.blocks[-1].norm1),
    "timm deit distilled": (
        lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, embed_dim=48, depth=3), 64,
        lambda m: m.blocks[-1].norm1,
    ),
    "timm dinov2 with registers": (
        lambda: timm.create_model(
            "vit_small_patch14_reg4_dinov2", img_size=56, embed_dim=48, num_heads=3, depth=3, num_classes=5
        ),
        56,
        lambda m: m.blocks[-1].norm1,
    ),
    "timm beit": (
        lambda: timm.create_model(
            "beit_base_patch16_224", img_size=64, depth=2, embed_dim=48, num_heads=3, global_pool="token"
        ),
        64, lambda m: m.blocks[-1].norm1,
    ),
    "timm eva": (
        lambda: timm.create_model("eva02_tiny_patch14_224", img_size=56, depth=2), 56, lambda m: m.norm,
    ),
    "timm mean over patches": (lambda: fused_vit(global_pool="avg"), 32, lambda m: m.norm),
    "timm cait": (
        lambda: timm.create_model("cait_xxs24_224", img_size=64, embed_dim=48, depth=2), 64, lambda m: m.blocks,
    ),
    "hugging face vit": (
        lambda: ViTForImageClassification(ViTConfig(**SMALL_VIT)), 32,
        lambda m: m.vit.layers[-1].layernorm_before,
    ),
    "vit-pytorch": (
        lambda: ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=3, heads=4, mlp_dim=64), 32,
        lambda m: m.transformer.layers[-1][0].norm,
    ),
}  # fmt: skip

FEW = ["resnet18", "swin", "torchvision vit", "timm vit", "timm mean over patches", "timm cait"]


def output_of(model: nn.Module, module: nn.Module, images: Tensor) -> Tensor:
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    with torch.no_grad():
        model(images)
    handle.remove()
    return outputs[-1]


@pytest.mark.parametrize("name", quick(CONVENTIONS, FEW))
def test_the_default_layer_is_the_conventional_one(name: str) -> None:
    make, side, conventional = CONVENTIONS[name]
    model = settled(make())
    images = torch.randn(2, 3, side, side)
    adapter = xai.Engine(model).adapter(images)
    found = output_of(model, model.get_submodule(adapter.default_layer), images)
    torch.testing.assert_close(found, output_of(model, conventional(model), images), atol=0, rtol=0)


@pytest.mark.parametrize(
    "name", ["timm vit", "timm deit distilled", "torchvision vit", "hugging face vit", "vit-pytorch"]
)
def test_gradients_at_the_patches_of_the_default_layer_are_not_zero(name: str) -> None:
    make, side, _ = CONVENTIONS[name]
    images = torch.randn(2, 3, side, side)
    model = settled(make())
    layer = xai.Engine(model).adapter(images).default_layer
    gradient = captured_by(model, images, xai.Needs((layer,), gradients=True), target=1).gradient()
    assert (gradient.abs().amax(1) > 0).all()


def test_grids_of_images_that_are_not_square() -> None:
    images = torch.randn(2, 3, 64, 96)
    cases: list[tuple[nn.Module, tuple[int, int]]] = [
        (tv.resnet18(), (2, 3)),
        (fused_vit(dynamic_img_size=True), (8, 12)),
        (timm.create_model("swin_tiny_patch4_window7_224", img_size=(64, 96), window_size=2, **SMALL_SWIN), (2, 3)),
    ]
    for model, grid in cases:
        assert xai.Engine(model.eval()).adapter(images).grid == grid
        saliency = xai.Engine(settled(model)).explain(images, "grad-cam")["grad-cam"]
        assert saliency.raw.shape == (2, *grid)
        assert saliency.values.shape == (2, 64, 96)


def test_a_last_stage_of_one_cell_is_passed_over() -> None:
    images = torch.randn(2, 3, 32, 32)
    assert xai.Engine(tv.resnet18().eval()).adapter(images).default_layer == "layer3"


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, range(1)),
        ({"global_pool": "avg"}, range(1, 17)),
        ({"global_pool": "avg", "class_token": False}, range(16)),
        ({"global_pool": "avg", "class_token": False, "reg_tokens": 3}, range(3, 19)),
        ({"global_pool": "map", "class_token": False}, range(16)),
        ({"reg_tokens": 2}, range(1)),
    ],
)
def test_what_the_head_reads(options: dict[str, Any], rows: range, images: Tensor) -> None:
    readout = xai.Engine(settled(fused_vit(**options))).adapter(images).readout
    assert readout == pytest.approx([(token in rows) / len(rows) for token in range(len(readout))])


def test_a_layer_by_name_by_module_and_by_number(images: Tensor) -> None:
    model = settled(SmallCNN())
    adapter = xai.Engine(model).adapter(images)
    assert adapter.layer_name("last") == adapter.layer_name(model.last) == "last"
    trunk = nn.Sequential(model.stem, model.last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    adapter = xai.Engine(trunk).adapter(images)
    assert adapter.layer_name(1) == adapter.layer_name("1") == adapter.default_layer == "1"


def test_layers_of_one_model_may_differ_in_layout(images: Tensor) -> None:
    """Feature maps, tokens and channels-last maps of one model are all read as [B,K,h,w]."""
    model = settled(fused_vit())
    adapter = xai.Engine(model).adapter(images)
    for layer, grid in {"patch_embed": (4, 4), "patch_embed.proj": (4, 4), "blocks.0": (4, 4)}.items():
        output = output_of(model, model.get_submodule(layer), images)
        assert adapter.spatial(output, layer).shape == (3, 32, *grid)
    tokens = output_of(model, model.blocks[0], images)
    torch.testing.assert_close(adapter.spatial(tokens, "blocks.0")[1, :, 2, 3], tokens[1, 1 + 2 * 4 + 3])


def test_a_batch_as_long_as_its_tokens_is_not_mistaken() -> None:
    """With as many images as tokens, [N,B,C] and [B,N,C] look alike; the layout was learnt from one image."""

    class TokensFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = settled(fused_vit(class_token=False, global_pool="avg"))
            self.turned = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.turned(self.vit.forward_features(images).transpose(0, 1))
            return self.vit.forward_head(tokens.transpose(0, 1))

    images = torch.randn(16, 3, 32, 32)
    model = TokensFirst().eval()
    maps = xai.Engine(model).explain(
        images, [xai.create_explainer("grad-cam", layer=n) for n in ("turned", "vit.norm")]
    )
    turned, plain = maps.values()
    torch.testing.assert_close(turned.values, plain.values)


def test_a_model_without_places_says_so() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    with pytest.raises(LayerError, match="no layer with spatial features"):
        xai.Engine(flat).explain(torch.randn(2, 3, 8, 8), "grad-cam")


@pytest.mark.parametrize("options", [{}, {"layer": "recurrent"}, {"layer": "head"}, {"layer": "nope"}], ids=str)
def test_advice_names_a_layer_only_if_the_model_has_one(options: dict[str, str]) -> None:
    with pytest.raises(LayerError, match=r"no layer of this model .* without layers, such as rise") as caught:
        xai.Engine(PixelColumns()).explain(torch.randn(2, 3, 32, 32), xai.create_explainer("grad-cam", **options))
    assert "choose" not in str(caught.value)
    with pytest.raises(LayerError, match=r"layer .head. has no spatial output.*, such as 'stem"):
        xai.Engine(Columns(nn.GRU)).explain(torch.randn(2, 3, 32, 128), "grad-cam:layer=head")


def test_a_plugins_adapter_comes_first(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    from xai_core.plugins.discovery import Plugin
    from xai_core.plugins.loader import Entry
    from xai_core.plugins.registry import registry

    class EarlierLayer(xai.ModelAdapter):
        @classmethod
        def suits(cls, model: nn.Module, probe: Probe) -> bool:
            return isinstance(model, SmallCNN)

        @property
        def default_layer(self) -> str:
            return "stem"

    entry = Entry("earlier", EarlierLayer, Plugin("a", "b", "c", "1"))
    monkeypatch.setitem(registry().entries["adapters"], "earlier", entry)
    assert xai.Engine(settled(SmallCNN())).adapter(images).default_layer == "stem"
    assert xai.Engine(settled(fused_vit())).adapter(images).default_layer == "blocks.2.norm1"


def test_a_plugins_adapter_that_fails_is_passed_over(images: Tensor) -> None:
    class Failing(xai.ModelAdapter):
        @classmethod
        def suits(cls, model: nn.Module, probe: Probe) -> bool:
            raise RuntimeError("no idea")

    class Plugin:
        @xai.hookimpl
        def xai_adapters(self) -> list[type[xai.ModelAdapter]]:
            return [Failing]

    engine = xai.Engine(settled(SmallCNN()), plugins=[Plugin()])
    with pytest.warns(PluginWarning, match="Failing of Plugin failed.*RuntimeError: no idea"):
        assert engine.adapter(images).default_layer == "last"


def test_what_is_learnt_of_one_size_is_not_used_for_another() -> None:
    engine = xai.Engine(settled(fused_vit(dynamic_img_size=True)))
    for size in ((32, 32), (32, 48), (64, 64)):
        saliency = engine.explain(torch.randn(1, 3, *size), "rollout")["rollout"]
        assert math.prod(saliency.raw.shape[1:]) == size[0] * size[1] // 64


def test_feature_maps_on_the_cpu_have_channels_last_in_memory(images: Tensor) -> None:
    seen = []
    model = settled(SmallCNN())
    engine = xai.Engine(model)
    engine.adapter(images)
    handle = model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    engine.evaluate(images, engine.explain(images, ["grad-cam", "score-cam"]), "deletion:steps=4")
    handle.remove()
    assert all(given.is_contiguous(memory_format=torch.channels_last) for given in seen)


def test_a_model_that_views_its_features_as_contiguous_gets_them_so(images: Tensor) -> None:
    class Viewing(SmallCNN):
        def forward(self, x: Tensor) -> Tensor:
            x = self.last(self.stem(x))
            return self.head(x.view(len(x), -1).unflatten(1, (12, -1)).mean(2))

    engine = xai.Engine(settled(Viewing()))
    maps = engine.explain(images, ["grad-cam", "score-cam"])
    assert not maps["grad-cam"].constant.any()
