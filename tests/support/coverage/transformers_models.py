"""Every image classifier and semantic segmentation model of transformers, with a tiny configuration.

A configuration is made from the defaults of its class: widths are divided by eight, depths are cut to two layers, and
images are small. `CHANGES` lists what else a model type requires.
"""

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
)

from support.coverage.case import Built, Case, Forward, NotBuiltError

LABELS = 5
SIDE = 128
WIDTHS = {
    "hidden_size", "hidden_sizes", "intermediate_size", "embed_dim", "embed_dims", "embedding_size", "projection_dim",
    "neck_hidden_sizes", "fusion_hidden_size", "decoder_hidden_size", "auxiliary_channels", "aspp_out_channels",
    "d_latents", "d_model", "n_embd", "base_attn_unit_dims", "hidden_dim", "class_expand", "stem_out_channels",
}  # fmt: skip
DEPTHS = {
    "depths", "depth", "num_hidden_layers", "n_layer", "n_attn_blocks", "num_block_repeats", "stage_num_blocks",
    "stage_numb_of_layers", "num_self_attends_per_block",
}  # fmt: skip
FOUR_STAGES = {"num_hidden_layers": 4, "out_indices": [0, 1, 2, 3]}
CHANGES: dict[str, dict[str, Any]] = {
    "bit": {"num_groups": 4},
    "cvt": {"depth": [1, 2, 3]},
    "donut-swin": {"window_size": 4},
    "dpt": {"num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3]},
    "efficientnet": {"hidden_dim": 1280, "width_coefficient": 1.0, "depth_coefficient": 1.0},
    "gemma3_text": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "vocab_size": 128,
    },
    "hgnet_v2": {"hidden_sizes": [256, 512, 1024, 2048]},
    "imagegpt": {"n_positions": 256, "n_embd": 64, "vocab_size": 65},
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilevit": {"hidden_sizes": [24, 32, 40]},
    "perceiver": {"image_size": 32, "num_latents": 16, "d_latents": 64, "num_cross_attention_heads": 1},
    "sapiens2": {"head_config": {"upsample_out_channels": [32, 32], "conv_out_channels": [32]}},
    "shieldgemma2": {
        "mm_tokens_per_image": 16, "image_token_index": 100, "boi_token_index": 101, "eoi_token_index": 102,
        "yes_token_index": 10, "no_token_index": 20,
    },
    "siglip2_vision_model": {"num_patches": 64},
    "swin": {"window_size": 4},
    "timm_wrapper": {"architecture": "resnet18"},
    "tipsv2_dpt": {
        "backbone_config": {
            "model_type": "tipsv2_vision_model", "hidden_size": 96, "num_hidden_layers": 4, "image_size": 126,
            "out_indices": [1, 2, 3, 4], "reshape_hidden_states": False,
        },
    },
    "upernet": {
        "backbone_config": {
            "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1],
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    },
    "BeitForSemanticSegmentation": {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]},
    "Data2VecVisionForSemanticSegmentation": FOUR_STAGES,
}  # fmt: skip
"""Fields of a configuration by model type, or by class, which win over the general rules."""


def cases() -> Iterator[Case]:
    """Yield a case for every class in the two automatic mappings."""
    mappings = [MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES]
    for model_type, names in (item for mapping in mappings for item in mapping.items()):
        for name in (names,) if isinstance(names, str) else names:
            yield case(model_type, name)


def case(model_type: str, name: str) -> Case:
    """Return the case of a class."""
    return Case("transformers", model_type, name, partial(build, model_type, name))


def build(model_type: str, name: str) -> Built:
    if not hasattr(transformers, name):
        raise NotBuiltError(f"transformers {transformers.__version__} has no class {name}")
    config = tiny(CONFIG_MAPPING[model_type], CHANGES.get(model_type, {}) | CHANGES.get(name, {}))
    model = getattr(transformers, name)(config)
    return Built(model, size_of(config), FORWARDS.get(model_type))


def tiny(config_class: type[PreTrainedConfig], changes: dict[str, Any]) -> PreTrainedConfig:
    """Return a small configuration of a class."""
    default = config_class()
    own = set(inspect.get_annotations(config_class))
    values = {name: shrunk(name, getattr(default, name)) for name in own if not name.startswith("_")}
    kept = {name: value for name, value in values.items() if value != getattr(default, name)}
    return config_class(**kept | {"num_labels": LABELS} | changes)


def shrunk(name: str, value: Any) -> Any:
    """Return a smaller value of a field."""
    if isinstance(value, list | tuple):
        return [shrunk(name, entry) for entry in value]
    if isinstance(value, PreTrainedConfig):
        return tiny(type(value), CHANGES.get(value.model_type, {}))
    if name in WIDTHS and isinstance(value, int):
        return max(value // 8, 8)
    if name in DEPTHS and isinstance(value, int):
        return min(value, 2)
    return SIDE if name == "image_size" else value


def size_of(config: Any) -> tuple[int, int]:
    """Return the (H, W) of the images of a model."""
    if config.model_type == "imagegpt":
        return (16, 16)
    config = getattr(config, "vision_config", None) or getattr(config, "backbone_config", None) or config
    side = getattr(config, "image_size", SIDE)
    return (side, side) if isinstance(side, int) else tuple(side)


def with_color_indices(model: nn.Module, images: Tensor) -> Any:
    """Call a model that takes an index of a color for each pixel."""
    levels = ((images.clamp(-2, 2) + 2) / 4 * 3).round().long()  # 4 levels of each channel
    return model(input_ids=(levels * torch.tensor([16, 4, 1])[:, None, None]).sum(1).flatten(1))


def with_patches(model: nn.Module, images: Tensor) -> Any:
    """Call a model that takes patches and their number per axis."""
    side = model.config.vision_config.patch_size
    patches = images.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 4, 5, 1)  # [B,h,w,side,side,C]
    shapes = torch.tensor([patches.shape[1:3]] * len(images))
    patches = patches.flatten(3).flatten(1, 2)
    return model(patches, pixel_attention_mask=torch.ones(patches.shape[:2]), spatial_shapes=shapes)


def with_prompt(model: nn.Module, images: Tensor) -> Any:
    """Call a model that takes an image in a prompt."""
    config = model.config
    image = [config.boi_token_index, *[config.image_token_index] * config.mm_tokens_per_image, config.eoi_token_index]
    tokens = torch.tensor([[2, *image, 5, 6, 7]] * len(images))
    return model(input_ids=tokens, pixel_values=images, attention_mask=torch.ones_like(tokens))


FORWARDS: dict[str, Forward] = {"imagegpt": with_color_indices, "shieldgemma2": with_prompt, "siglip2": with_patches}
