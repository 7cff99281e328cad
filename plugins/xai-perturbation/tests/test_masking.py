"""Properties that all methods share which hide parts of the images by masks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.detectors import QueryDetector
from support.models import GatedCNN
from support.observing import given_to
from support.volume_models import built
from xai_core.errors import OptionError, UnsuitableError
from xai_core.plugin import baseline_images

RANDOM = {
    "rise": {"masks": 12, "cells": 3},
    "sobol": {"designs": 4, "cells": 3},
    "hsic": {"masks": 12, "cells": 3},
    "d-rise": {"masks": 12, "cells": 3},
}
OPTIMIZED = {"extremal-perturbation": {"areas": 0.1, "steps": 3, "cell": 4, "sigma": 4, "rate": 0.02}}
METHODS: dict[str, dict[str, Any]] = {"occlusion": {"size": 8, "stride": 6}, **RANDOM, **OPTIMIZED}
SCORING = [method for method in METHODS if method not in ("d-rise", *OPTIMIZED)]
METHOD = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def model_for(method: str) -> nn.Module:
    return built(QueryDetector if method == "d-rise" else GatedCNN).double()


def explained(method: str, images: Tensor, target: Any = None, block: int = 5, **options: Any) -> Tensor:
    explainer = xai.create_explainer(method, **{**METHODS[method], **options})
    if target is None:
        target = xai.Box() if method == "d-rise" else 1
    return xai.Engine(model_for(method), block=block).explain(images, explainer, target)[method].raw


def assert_same(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-7)


@METHOD
@pytest.mark.parametrize("baseline", ["zero", "mean", "blur", "min", "max", "noise"])
def test_baselines_have_the_names_of_the_core(method: str, baseline: str, images: Tensor) -> None:
    by_name = explained(method, images, baseline=baseline, seed=3)
    assert_same(by_name, explained(method, images, baseline=baseline_images(baseline, images, 3), seed=3))
    assert by_name.flatten(1).std(1).all()


@METHOD
def test_other_baselines_are_rejected(method: str, images: Tensor) -> None:
    with pytest.raises(OptionError, match="baseline must be zero, mean, blur, min, max, noise or a tensor"):
        explained(method, images, baseline="gray")


@METHOD
def test_no_pass_exceeds_the_block_and_the_map_does_not_depend_on_it(method: str, images: Tensor) -> None:
    expected, model = explained(method, images, block=64), model_for(method)
    engine = xai.Engine(model, block=3)
    engine.adapter(images)
    with given_to(model) as passes:
        explainer = xai.create_explainer(method, **METHODS[method])
        ours = engine.explain(images, explainer, xai.Box() if method == "d-rise" else 1)[method].raw
    assert max(map(len, passes)) <= 3
    assert_same(ours, expected)


@METHOD
def test_an_image_is_explained_the_same_in_any_batch(method: str, images: Tensor) -> None:
    assert_same(explained(method, images[1:])[0], explained(method, images)[1])


@pytest.mark.parametrize("method", SCORING)
def test_targets_share_the_masked_images(method: str, images: Tensor) -> None:
    model, explainer = model_for(method), xai.create_explainer(method, **METHODS[method])
    engine = xai.Engine(model, block=5)
    engine.adapter(images)
    with given_to(model) as passes:
        both = engine.explain(images, explainer, [[1, 3], [1, 3]])[method].raw
    assert sum(map(len, passes)) == 2 * explainer.forward_passes(engine.adapter(images))
    for index, target in enumerate([1, 3]):
        assert_same(both[:, index], explained(method, images, target))


@pytest.mark.parametrize("method", SCORING)
def test_a_target_is_any_function_of_the_output(method: str, images: Tensor) -> None:
    by_function = explained(method, images, lambda output: output[:, 1])
    assert_same(by_function, explained(method, images, 1, score="logit"))


def test_functions_of_detections_are_explained_as_by_rise(images: Tensor) -> None:
    def target(found: dict[str, Tensor]) -> Tensor:
        return found["logits"][:, 0, 1]

    options = METHODS["d-rise"]
    [rise] = xai.Engine(model_for("d-rise")).explain(images, xai.create_explainer("rise", **options), target).values()
    assert_same(explained("d-rise", images, target), rise.raw)


@pytest.mark.parametrize("method", RANDOM)
def test_the_seed_determines_the_masks(method: str, images: Tensor) -> None:
    first, second, other = (explained(method, images, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)


class Corner(nn.Module):
    """The scores are zero, and the mean over a corner of the volume."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv3d(1, 1, 1, bias=False)
        nn.init.ones_(self.seen.weight)

    def forward(self, x: Tensor) -> Tensor:
        score = self.seen(x)[..., :3, 6:, :6].mean((1, 2, 3, 4))
        return torch.stack([0 * score, score], 1)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("occlusion", {"size": 4, "stride": 2}),
        ("rise", {"masks": 200, "cells": 2}),
        ("sobol", {"designs": 16, "cells": 2}),
        ("hsic", {"masks": 64, "cells": 2}),
        ("extremal-perturbation", {"areas": 0.125, "steps": 60, "cell": 3, "sigma": 2, "rate": 0.02}),
    ],
)
def test_volumes_are_explained_along_their_depth(method: str, options: dict[str, Any]) -> None:
    options |= {"score": "logit"} if method in SCORING else {}
    explainer = xai.create_explainer(method, **options)
    raw = xai.Engine(Corner()).explain(torch.ones(1, 1, 6, 12, 12), explainer, 1)[method].raw[0]
    corner = torch.zeros(6, 12, 12, dtype=torch.bool)
    corner[:3, 6:, :6] = True
    assert raw[corner].median() > raw[~corner].median()
    assert corner.flatten()[raw.argmax()]


def test_boxes_of_volumes_are_not_supported() -> None:
    with pytest.raises(UnsuitableError, match="d-rise"):
        xai.Engine(Corner()).explain(torch.ones(1, 1, 6, 12, 12), "d-rise", 1)
