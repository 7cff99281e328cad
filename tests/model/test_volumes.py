"""Layers of models of volumes and clips: their locations, gradients and substitution, against independent oracles."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.oracles import Oracle, gradient_error, reading, substitution_error
from support.volume_models import (
    SIZE,
    FoldedCNN,
    FoldedTokens,
    MixedClips,
    PlainCNN3d,
    ReversedTime,
    SmallCNN3d,
    Tubelets,
    built,
    small_mvit,
    small_r3d,
    small_swin3d,
    two_clips,
)
from xai_core.errors import InputShapeError, LayerError

Build = Callable[[], nn.Module]
MODELS: dict[str, tuple[Build, tuple[int, ...], str, tuple[int, ...]]] = {
    "3-D CNN": (SmallCNN3d, SIZE, "NCDHW", (4, 8, 8)),
    "reversed time": (ReversedTime, SIZE, "NCDHW", (4, 8, 8)),
    "clips before frames": (FoldedCNN, SIZE, "(ND)CHW", (8, 8, 8)),
    "frames before clips": (lambda: FoldedCNN(frames_first=True), SIZE, "(DN)CHW", (8, 8, 8)),
    "tokens of frames": (FoldedTokens, SIZE, "(ND)LC", (8, 4, 4)),
    "tubelets, class token": (Tubelets, SIZE, "NLC", (4, 4, 4)),
    "tubelets, mean": (lambda: Tubelets(reads_class_token=False), SIZE, "NLC", (4, 4, 4)),
    "r3d_18": (small_r3d, (16, 32, 32), "NCDHW", (2, 2, 2)),
    "MViT": (small_mvit, SIZE, "NLC", (4, 8, 8)),
    "video Swin": (small_swin3d, (4, 32, 32), "NDHWC", (2, 4, 4)),
}
CLASS = 1


@pytest.mark.parametrize(("build", "size", "layout", "grid"), MODELS.values(), ids=MODELS)
def test_the_default_layer_is_right(build: Build, size: tuple[int, ...], layout: str, grid: tuple[int, ...]) -> None:
    model, clips = built(build), two_clips(size)
    engine = xai.Engine(model)
    adapter = engine.adapter(clips)
    features = adapter.features(adapter.default_layer)
    assert (features.layout, features.grid) == (layout, grid)
    read = reading(engine, clips, CLASS)
    assert read.activation.shape[2:] == grid
    oracle = Oracle(model, lambda model, clips: model(clips), lambda output: output[:, CLASS], clips, read)
    assert gradient_error(oracle) < 1e-5
    assert substitution_error(oracle) < 1e-3
    assert oracle.places(lattice=3, textures=2).right


def test_frames_that_depend_on_other_clips_are_not_read() -> None:
    """The output of a clip depends on the batch, so its frames have no known order."""
    adapter = xai.Engine(built(MixedClips)).adapter(two_clips())
    with pytest.raises(LayerError):
        adapter.features("last")


@pytest.mark.parametrize("frames_first", [False, True])
def test_maps_do_not_depend_on_other_clips(frames_first: bool) -> None:
    engine, clips = xai.Engine(built(lambda: FoldedCNN(frames_first=frames_first))), two_clips()
    together = engine.explain(clips, "grad-cam, ablation-cam", CLASS)
    for name, maps in together.items():
        for index in range(2):
            alone = engine.explain(clips[index : index + 1], name, CLASS)[name]
            torch.testing.assert_close(maps.raw[index : index + 1], alone.raw, rtol=1e-4, atol=1e-6)


MISTAKES: dict[str, tuple[Build, Tensor, str]] = {
    "a clip for an image model": (lambda: nn.Conv2d(3, 5, 3), two_clips(), "requires images [B, 3, H, W]"),
    "an image for a 3-D model": (PlainCNN3d, two_clips()[:, :, 0], "requires volumes [B, 3, D, H, W]"),
    "frames before channels": (PlainCNN3d, two_clips().transpose(1, 2), "pass `volumes.transpose(1, 2)`"),
    "channels last": (PlainCNN3d, two_clips().permute(0, 2, 3, 4, 1), "use `images.permute(0, 4, 1, 2, 3)`"),
    "one volume": (PlainCNN3d, two_clips()[0], "`volume[None]`"),
}


@pytest.mark.parametrize(("build", "clips", "message"), MISTAKES.values(), ids=MISTAKES)
def test_wrong_dimensions_are_rejected_with_the_correction(build: Build, clips: Tensor, message: str) -> None:
    with pytest.raises(InputShapeError) as raised:
        xai.Engine(built(build)).explain(clips, "saliency")
    assert message in str(raised.value)
