"""DINO: files of its authors, and position embeddings at any image size."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import settled
from xai_core.errors import OptionError, UnknownModelError
from xai_zoo.dino_transformer import interpolated

DINO = {
    "as published": lambda state: state,
    "teacher and student": lambda state: {
        "teacher": {**{f"backbone.{name}": value for name, value in state.items()}, "head.mlp.0.weight": torch.ones(1)},
        "student": {f"module.backbone.{name}": torch.zeros_like(value) for name, value in state.items()},
        "epoch": 3,
        "args": Namespace(arch="vit_small"),
    },
    "student alone": lambda state: {f"module.backbone.{name}": value for name, value in state.items()},
}


@pytest.fixture(scope="module")
def small_vit() -> nn.Module:
    """A file in the format of the DINO authors, with other weights."""
    torch.manual_seed(0)
    return settled(timm.create_model("vit_small_patch16_224", pretrained=False, num_classes=0))


@pytest.mark.parametrize("kind", DINO)
def test_dino_reads_its_authors_files(kind: str, small_vit: nn.Module, tmp_path: Path) -> None:
    state = small_vit.state_dict()
    torch.save(DINO[kind](state), file := tmp_path / "dino.pth")
    loaded = xai.load_model("dino:vits16,size=96", weights=file)
    assert all(torch.equal(value, state[name]) for name, value in loaded.model.state_dict().items())


def test_dino_takes_any_size(small_vit: nn.Module, tmp_path: Path) -> None:
    torch.save(small_vit.state_dict(), file := tmp_path / "dino.pth")
    loaded = xai.load_model("dino:vits16,size=96", weights=file)
    engine = xai.Engine(loaded)
    for height, width in ((96, 96), (64, 128)):
        maps = engine.explain(torch.randn(1, 3, height, width), ["head-attention", "rollout"])
        heads = maps["head-attention"].parts
        assert heads is not None
        assert heads.shape == (1, 6, height // 16, width // 16)
    with torch.no_grad():
        images = torch.randn(1, 3, 224, 224)
        torch.testing.assert_close(loaded.model(images), small_vit(images))


def test_dino_without_a_name_or_with_anothers_says_which_there_are() -> None:
    for spec in ("dino", "dino:vitl16"):
        with pytest.raises(UnknownModelError, match="vits16"):
            xai.load_model(spec)


def cubic(distance: float) -> float:
    """Return the weight of bicubic interpolation with a = -3/4 (Keys, 1981, equation 4)."""
    x, a = abs(distance), -0.75
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def resampling(count: int, new: int) -> np.ndarray:
    """Return the matrix [new, count] of DINO's rule: the scale is (new + 0.1) / count, and borders are repeated."""
    weights = np.zeros((new, count))
    for cell in range(new):
        source = (cell + 0.5) * count / (new + 0.1) - 0.5
        for neighbor in range(int(np.floor(source)) - 1, int(np.floor(source)) + 3):
            weights[cell, np.clip(neighbor, 0, count - 1)] += cubic(source - neighbor)
    return weights


def by_hand(positions: Tensor, count: int, cells: tuple[int, int]) -> np.ndarray:
    rows, columns = resampling(count, cells[0]), resampling(count, cells[1])
    grid = positions[0, 1:].double().numpy().reshape(count, count, -1)
    patches = np.einsum("yi,xj,ijd->yxd", rows, columns, grid).reshape(cells[0] * cells[1], -1)
    return np.concatenate([positions[0, :1].numpy(), patches])[None]


@pytest.mark.parametrize("count", [14, 28])
@pytest.mark.parametrize("cells", [(30, 30), (6, 10), (28, 7), (1, 3), (14, 15)])
def test_dino_interpolates_positions_by_the_rule_of_its_authors(count: int, cells: tuple[int, int]) -> None:
    positions = torch.randn(1, 1 + count**2, 5)
    ours = interpolated(positions, (count, count), cells)
    np.testing.assert_allclose(ours.numpy(), by_hand(positions, count, cells), atol=2e-5)
    assert torch.equal(interpolated(positions, (count, count), (count, count)), positions)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dino_interpolates_positions_in_each_precision(dtype: torch.dtype) -> None:
    positions = torch.randn(1, 1 + 14**2, 5).to(dtype)
    ours = interpolated(positions, (14, 14), (6, 10))
    assert ours.dtype == dtype
    expected = torch.from_numpy(by_hand(positions.double(), 14, (6, 10))).to(dtype)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("rule", ["dino", "timm"])
def test_dino_has_an_option_for_the_rule(rule: str) -> None:
    loaded = xai.load_model(f"dino:vits16,positions={rule}")
    theirs = timm.create_model("vit_small_patch16_224", num_classes=0, dynamic_img_size=True)
    theirs.load_state_dict(loaded.model.state_dict())
    positions, patches = loaded.model.get_parameter("pos_embed").detach(), torch.zeros(2, 6, 10, 384)
    with torch.no_grad():
        positions.normal_()
        theirs.pos_embed.copy_(positions)
        theirs.cls_token.zero_()
        loaded.model.get_parameter("cls_token").zero_()
        tokens, tokens_of_timm = loaded.model._pos_embed(patches), theirs._pos_embed(patches)  # type: ignore[operator]
    assert torch.equal(tokens, tokens_of_timm) == (rule == "timm")
    if rule == "dino":
        np.testing.assert_allclose(tokens.numpy(), by_hand(positions, 14, (6, 10)).repeat(2, 0), atol=2e-5)
    assert ("positions=timm" in loaded.spec) == (rule == "timm")
    assert xai.load_model(loaded.spec).spec == loaded.spec


@pytest.mark.parametrize("option", ["size=100", "positions=bilinear"])
def test_dino_options_that_make_no_model_are_refused(option: str) -> None:
    with pytest.raises(OptionError, match=option.split("=")[0]):
        xai.load_model(f"dino:vits16,{option}")
