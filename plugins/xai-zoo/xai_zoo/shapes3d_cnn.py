"""A small 3-D network with weights that were trained on `shapes3d`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import InputShapeError, InputTypeError, ModelSource, Spec, Value
from xai_zoo import solids
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.reference import check_no_name
from xai_zoo.shapes3d import DEPTH, SIDE
from xai_zoo.shapes_models import fit_shipped

_MEAN, _STD = 0.5, 0.25
_NO_IMAGES = "the model takes volumes, and this check passes images"


class Shapes3dCNN(ModelSource):
    """A small 3-D network for `shapes3d`, with its weights: `shapes3d-cnn`.

    The input is [B,1,24,48,48], and the last feature map has 6x6x6 cells.

    Option: `weights` is a file, or `none` for random weights.
    """

    name = "shapes3d-cnn"
    expected_failures: ClassVar[Mapping[str, str]] = dict.fromkeys(
        [
            "preprocesses_any_image",
            "preprocesses_pil_and_tensor_alike",
            "restore_inverts_normalization",
            "class_names_match_scores",
            "can_be_explained",
        ],
        _NO_IMAGES,
    )

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, weights: Value | Path = "shipped"
    ) -> xai.LoadedModel:
        check_no_name(self.name, name)
        model = self.network()
        if weights == "shipped":
            fit_shipped(model, "shapes3d-cnn-shapes3d")
        elif weights is not None:
            fit(model, read_state_dict(weights), weights)
        options = {} if weights == "shipped" else {"weights": None if weights is None else str(weights)}
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=VolumePreprocess((DEPTH, SIDE, SIDE)),
            class_names=tuple(solids.CLASSES),
            restore=_restore,
            spec=str(Spec(self.name, None, options)),
        )

    def network(self) -> nn.Module:
        """Return the module, with random weights."""
        from xai_zoo.small_cnn3d import SmallCNN3d

        return SmallCNN3d(width=12, num_classes=len(solids.CLASSES))


@dataclass(frozen=True)
class VolumePreprocess:
    """Resizes a volume [1,D,H,W] in [0,1] to a size (trilinear), and normalizes it."""

    size: tuple[int, int, int]

    def __call__(self, volume: Any) -> Float[Tensor, "1 d h w"]:
        if not isinstance(volume, Tensor):
            raise InputTypeError(f"expected a volume [1,D,H,W] as a tensor in [0,1], got {type(volume).__name__}")
        if volume.ndim != 4 or len(volume) != 1 or 0 in volume.shape or not volume.is_floating_point():
            raise InputShapeError(
                f"expected a floating-point volume [1,D,H,W] in [0,1], got {volume.dtype} {list(volume.shape)}"
            )
        if volume.shape[1:] != self.size:
            volume = F.interpolate(volume[None], self.size, mode="trilinear", align_corners=False)[0]
        return (volume.float() - _MEAN) / _STD


def _restore(volumes: Tensor) -> Tensor:
    return (volumes * _STD + _MEAN).clamp(0, 1)
