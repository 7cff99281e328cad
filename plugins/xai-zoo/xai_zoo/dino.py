"""Vision transformers of DINO, for images of any size."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import xai_core as xai
from xai_core.plugin import (
    ModelSource,
    OptionError,
    Spec,
    UnknownModelError,
    Value,
    check_choice,
    check_integer,
    suggest,
)
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.prefixes import StateDict
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop


class _Architecture(NamedTuple):
    patch: int
    dim: int
    heads: int


_MODELS = {
    "vits16": _Architecture(16, 384, 6),
    "vits8": _Architecture(8, 384, 6),
    "vitb16": _Architecture(16, 768, 12),
    "vitb8": _Architecture(8, 768, 12),
}
_POSITIONS = ("dino", "timm")
_BACKBONE, _HEAD = "backbone.", "head."


class Dino(ModelSource):
    """Self-supervised vision transformers (Caron et al., 2021): `dino:vits8,size=480,weights=FILE`.

    The output is the class token [B,D] instead of class scores. Methods that ignore the target need no configuration.
    Other methods require a target such as `xai.Similarity`. Position embeddings are interpolated to images of any size
    that is a multiple of the patch size.

    Options: `size` is the image size (default: 224). `positions` is the rule for the interpolation of position
    embeddings: `dino`, the rule of the authors (default), or `timm`, which is antialiased. `weights` is a file of the
    authors or of timm, or `none` for random weights. A file of the authors contains the backbone alone, or a teacher
    and a student. In the second case, the teacher is loaded.
    """

    name = "dino"

    def names(self) -> Sequence[str]:
        return tuple(_MODELS)

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, size: int = 224, positions: str = "dino", weights: Value | Path = None
    ) -> xai.LoadedModel:
        from timm.models.vision_transformer import VisionTransformer

        from xai_zoo.dino_transformer import DinoTransformer

        if name not in _MODELS:
            raise UnknownModelError(f"dino has no model {name!r}; {suggest(name or '', _MODELS)}")
        check_integer("size", size, 1)
        check_choice("positions", positions, _POSITIONS)
        patch, dim, heads = _MODELS[name]
        if size % patch:
            raise OptionError(f"dino: size must be a multiple of the patch size of {name} ({patch}); got {size}")
        transformer = DinoTransformer if positions == "dino" else VisionTransformer
        model = transformer(patch_size=patch, embed_dim=dim, num_heads=heads, num_classes=0, dynamic_img_size=True)
        if weights is not None:
            fit(model, _backbone(read_state_dict(weights)), weights)
        options: dict[str, Value] = {"size": size}
        if positions != "dino":
            options["positions"] = positions
        if weights is not None:
            options["weights"] = str(weights)
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(resize_and_crop(size, size, MEAN, STD)),
            restore=Restore(MEAN, STD),
            spec=str(Spec(self.name, name, options)),
        )


def _backbone(state: StateDict) -> StateDict:
    """Return the entries of the transformer, without the projection head of the training."""
    own = {key.removeprefix(_BACKBONE): value for key, value in state.items() if key.startswith(_BACKBONE)}
    return {key: value for key, value in (own or state).items() if not key.startswith(_HEAD)}
