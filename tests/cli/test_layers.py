"""`xai list layers`: the layers with their grids, and the default layer."""

from pathlib import Path

import pytest
import torch
from torch import nn

import xai_core as xai
from support.command_line import Did
from xai_core.model.layer_table import LayerRow, spatial_layers

NET = """
from torch import nn

def build():
    features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Dropout(), nn.Conv2d(4, 6, 3, 2, 1))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))

def pooled():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)


def test_layers_are_listed_with_their_grids() -> None:
    did = Did("list", "layers", "--model", "net.py:build,size=32x48")
    assert did.code == 0, did.err
    rows = [line.split() for line in did.out.splitlines()]
    assert ["0.0", "Conv2d", "4", "16x24"] in rows
    assert ["0.3", "Conv2d", "6", "8x12"] in rows
    assert ["0", "Sequential", "6", "8x12", "*"] in rows
    assert not [row for row in rows if "Dropout" in row or "Linear" in row]
    assert "images of 32x48 pixels" in " ".join(did.out.split())
    assert "grad-cam:layer=0`" in did.out


def test_the_default_layer_is_the_one_that_methods_use() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    adapter = xai.Engine(model).adapter(torch.rand(1, 3, 8, 9))
    rows = spatial_layers(adapter)
    assert rows == [LayerRow("0", "Conv2d", 4, (8, 9), False), LayerRow("1", "ReLU", 4, (8, 9), True)]
    assert [row.name for row in rows if row.is_default] == [adapter.default_layer]


def test_a_model_without_such_layers_is_an_error_with_advice() -> None:
    did = Did("list", "layers", "--model", "net.py:pooled,size=16")
    assert (did.code, did.out) == (2, "")
    assert "use a method without layers, such as rise" in did.err


@pytest.mark.parametrize("arguments", [["layers"], ["methods", "--model", "net.py:build"], ["--model", "net.py:build"]])
def test_the_model_and_the_kind_belong_together(arguments: list[str]) -> None:
    did = Did("list", *arguments)
    assert did.code == 2
    assert "expected `xai list layers --model SPEC`" in " ".join(did.err.replace("│", " ").split())
