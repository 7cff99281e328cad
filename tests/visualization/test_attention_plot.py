"""Plots of attention: a panel for each head, in the order of the grid, with the query token marked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import xai_core as xai
from support.models import fused_vit, settled
from xai_core.capture.attention_record import AttentionRecord, LayerRecord
from xai_core.errors import InputShapeError, LayerError, RowError, UnsuitableError

PHOTO = Image.new("RGB", (40, 40), "black")


@pytest.fixture(scope="module")
def record() -> AttentionRecord:
    torch.manual_seed(0)
    return xai.Engine(settled(fused_vit())).attention(torch.rand(2, 3, 32, 32))


def layer(weights: torch.Tensor, elements: tuple[int, ...], rows: tuple[int, ...] = (0,)) -> AttentionRecord:
    return AttentionRecord((LayerRecord("block", weights, rows, 1, (2, 2), elements),))


def panel(figure: object, head: int) -> np.ndarray:
    [ax] = [ax for ax in figure.axes if ax.get_title() == f"head {head}"]  # type: ignore[attr-defined]
    return np.asarray(ax.images[0].get_array(), dtype=int)


def test_there_is_a_numbered_panel_for_each_head(record: AttentionRecord) -> None:
    figure = record[0].plot()
    heads = record.layers[-1].heads
    assert [ax.get_title() for ax in figure.axes if ax.images] == [f"head {number}" for number in range(heads)]
    assert record.layers[-1].name in figure.get_suptitle()


def test_the_keys_lie_in_the_cells_of_the_grid() -> None:
    weights = torch.tensor([0.1, 0.0, 0.0, 0.9, 0.0]).view(1, 1, 1, 5)
    # key 3 lies in the last cell of the first row; key 0 is a class token
    picture = panel(layer(weights, (1, 3, 2, 4)).plot(image=PHOTO), 0).sum(-1)
    assert picture[5, 34] > 300
    assert picture[5, 5] == picture[34, 5] == picture[34, 34] == 0


def test_a_square_marks_the_query_token() -> None:
    weights = torch.zeros(1, 1, 5, 5)
    record = layer(weights, (1, 2, 3, 4), (0, 1, 2, 3, 4))
    marked = panel(record.plot(query=4, image=PHOTO), 0)
    assert (marked[20, 20:40] == 255).all()
    assert (marked[:18, :18] == 0).all()
    assert (panel(record.plot(query=0, image=PHOTO), 0) == 0).all()
    assert "no location" in record.plot(query=0, image=PHOTO).get_suptitle()


def test_mistakes_are_explained(record: AttentionRecord) -> None:
    with pytest.raises(InputShapeError, match=r"select one with `record\[i\]`"):
        record.plot()
    with pytest.raises(LayerError, match="no layer 99; expected indices from"):
        record[0].plot(layer=99)
    with pytest.raises(LayerError, match="did you mean"):
        record[0].plot(layer=record.names[0] + "x")
    with pytest.raises(RowError, match="`rows=999`"):
        record[0].plot(query=999)
    windowed = AttentionRecord((replace(record[0].layers[0], grid=None, elements=()),), record[0].view)
    with pytest.raises(UnsuitableError, match="do not form a grid"):
        windowed.plot()


def test_notebooks_list_the_layers(record: AttentionRecord) -> None:
    assert all(name in record._repr_html_() for name in record.names)
