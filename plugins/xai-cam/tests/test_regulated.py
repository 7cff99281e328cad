"""Conceptors on the channels of any CAM, against the definition of conceptors."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.conceptors import Array, and_not, place_conceptor
from support.models import SmallCNN, settled
from support.references import relative
from xai_cam.conceptors import filter_by_locations
from xai_core.errors import OptionError

CHANNELS = ["grad-cam", "grad-cam++", "layer-cam", "element-wise-cam", "score-cam", "cam", "hires-cam:layer=stem"]


@pytest.mark.parametrize("base", CHANNELS)
@pytest.mark.parametrize(
    "options",
    [
        ":aperture=10.0,negative_aperture=3.0",
        ":relation=places,aperture=1.0",
        ":aperture=10.0,negative_aperture=3.0,negatives=1,intra=true",
    ],
)
def test_regulated_equals_its_replica(images: Tensor, base: str, options: str) -> None:
    """The replica filters the weighted channels of each class by the conceptors of the definition."""
    model = settled(SmallCNN()).double()
    images = images.double()
    explainer = xai.create_explainer(base)
    collect = Collect(explainer)
    (ours,) = xai.Engine(model).explain(images, f"regulated({base}){options}").values()
    ranked = model(images).argsort(1, descending=True)
    x, *ys = (collect.channels(model, images, ranked[:, i]) for i in range(4))
    features = collect.features
    expected = []
    for i in range(len(images)):
        if "places" in options:
            expected.append(x[i].sum(0) @ place_conceptor(features[i], 1))
            continue
        negatives = [y[i] for y in ys][: 1 if "negatives=" in options else 3]
        kept = and_not(x[i], negatives, 10, 3) @ x[i]
        expected.append(
            (kept @ and_not(x[i].T, [y.T for y in negatives], 10, 3) if "intra" in options else kept).sum(0)
        )
    assert relative(ours.raw.flatten(1), torch.from_numpy(np.maximum(np.stack(expected), 0))) < 1e-5


class Collect(xai.Explainer):
    """Keeps the weighted channels of a CAM, and the features of its layer."""

    name = "collect"

    def __init__(self, cam: Any) -> None:
        self.cam = cam

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return self.cam.needs(adapter)

    def explain(self, captured: xai.Captured) -> Tensor:
        (layer,) = captured.layers
        self.kept = self.cam.channels(captured, layer).flatten(2).numpy(force=True)
        self.features = captured.activation(layer).flatten(2).numpy(force=True)
        return self.cam.explain(captured)

    def channels(self, model: nn.Module, images: Tensor, target: Tensor) -> Array:
        xai.Engine(model).explain(images, self, target)
        return self.kept


def test_regulated_is_conceptor_cam_of_a_base(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    specs = ["regulated(layer-cam:layer=stem):negatives=2", "conceptor-cam:base=layer-cam,layer=stem,negatives=2"]
    ours, theirs = engine.explain(images, specs).values()
    torch.testing.assert_close(ours.raw, theirs.raw)
    composite = xai.create_explainer("regulated", explainer=xai.create_explainer("layer-cam", layer="stem"))
    assert composite.spec == "regulated(layer-cam:layer=stem)"


def test_regulated_at_several_layers(images: Tensor) -> None:
    """The maps of the layers are combined as those of every CAM."""
    engine, spec = xai.Engine(settled(SmallCNN())), "regulated(grad-cam:layer={}):relation=places"
    both, fused = engine.explain(
        images, [spec.format("stem+last"), f"fused({spec.format('stem')},{spec.format('last')})"]
    ).values()
    torch.testing.assert_close(both.raw, fused.raw)


def test_places_of_a_method_that_compares_classes(images: Tensor) -> None:
    """The negatives are those of the inner method."""
    engine = xai.Engine(settled(SmallCNN()).double())
    images = images.double()
    for inner in ("finer-cam:negatives=1", "conceptor-cam:negatives=2"):
        collect = Collect(xai.create_explainer(inner))
        x = collect.channels(engine.model, images, engine.model(images).argmax(1))
        expected = filter_by_locations(torch.from_numpy(x), torch.from_numpy(collect.features), 2).sum(1).relu()
        (ours,) = engine.explain(images, f"regulated({inner}):relation=places").values()
        assert relative(ours.raw.flatten(1), expected) < 1e-5


@pytest.mark.parametrize("outer", ["regulated({})", "conceptor-cam:base={}", "finer-cam:base={}"])
@pytest.mark.parametrize("inner", ["finer-cam", "conceptor-cam"])
def test_classes_are_compared_once(images: Tensor, outer: str, inner: str) -> None:
    with pytest.raises(OptionError, match=f"compares classes, and so does its base '{inner}'"):
        xai.Engine(settled(SmallCNN())).explain(images, outer.format(inner))


@pytest.mark.parametrize("inner", ["full-grad", "eigen-cam", "recipro-cam", "smoothed(grad-cam)", "fused", "random"])
def test_a_method_without_channels_cannot_be_regulated(inner: str) -> None:
    with pytest.raises(OptionError, match=f"sums weighted channels.*got {re.escape(repr(inner))}"):
        xai.create_explainer(f"regulated({inner})")
