"""The conformance checks of model sources: each finds an implementation that violates it, and a correct one passes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xai_core as xai
from support.conformance import assert_described, assert_finds, assert_passes, violations
from xai_core.errors import UnknownModelError
from xai_core.plugin import ModelSource
from xai_core.testing import check_model_source, model_sources
from xai_core.testing.networks import convolutional_network


class GoodModels(ModelSource):
    """Small networks."""

    name = "good"

    def names(self) -> Sequence[str]:
        return ["small", "smaller"]

    def load(self, name: str | None, **options: Any) -> xai.LoadedModel:
        if name not in self.names():
            raise UnknownModelError(f"no model {name!r}")
        return xai.LoadedModel(convolutional_network(), preprocess, list("abcde"), lambda images: images + 0.5)


def preprocess(image: Image.Image | Tensor) -> Tensor:
    if isinstance(image, Image.Image):
        image = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1) / 255
    return nn.functional.interpolate(image[None], (32, 32), mode="bilinear")[0] - 0.5


def source(change: Callable[[xai.LoadedModel], Any] | None = None, **attributes: Any) -> ModelSource:
    if change is not None:
        good = GoodModels.load
        attributes["load"] = lambda self, name, **options: change(good(self, name, **options))
    return type("Bad", (GoodModels,), {"__doc__": "Bad.", **attributes})()  # type: ignore[no-any-return]


def loaded(**changes: Any) -> ModelSource:
    return source(
        lambda given: xai.LoadedModel(
            **{"model": given.model, "preprocess": given.preprocess, "class_names": given.class_names, **changes}
        )
    )


def any_name(self: ModelSource, name: str | None, **options: Any) -> xai.LoadedModel:
    return GoodModels().load("small")


def nan_output() -> nn.Module:
    model = convolutional_network()
    nn.init.zeros_(model.get_parameter("last.1.weight"))
    model.get_buffer("last.1.running_var").fill_(torch.nan)
    return model


BAD_SOURCES: dict[str, list[tuple[ModelSource, str]]] = {
    "has_valid_name": [(source(name="My Models"), "lower case")],
    "lists_model_names": [
        (source(names=lambda self: ["small", "small"]), "more than once"),
        (source(names=lambda self: ["small", 3]), "nonempty strings"),
    ],
    "returns_model_in_eval_mode": [
        (source(lambda given: given.model), "must return an xai_core.LoadedModel"),
        (loaded(model=convolutional_network().train()), "is in training mode"),
        (loaded(model="a path"), "must be a torch.nn.Module"),
    ],
    "preprocesses_any_image": [
        (loaded(preprocess=lambda image: preprocess(image)[None]), "must return a floating-point"),
        (loaded(preprocess=lambda image: preprocess(image) / 0), "NaN or infinity"),
        (loaded(preprocess=lambda image: torch.rand(3, *image.size)), "must return one shape for all images"),
        (loaded(preprocess=lambda image: preprocess(image)[:, : 32 - 8 * isinstance(image, Tensor)]), "for a tensor"),
    ],
    "preprocesses_pil_and_tensor_alike": [
        (loaded(preprocess=lambda image: preprocess(image) * (1 + isinstance(image, Tensor))), "differ by")
    ],
    "restore_inverts_normalization": [
        (loaded(restore=lambda images: images * 255), r"must return colors in \[0,1\]"),
        (loaded(restore=lambda images: images[0] + 0.5), "must return the shape"),
    ],
    "class_names_match_scores": [(loaded(class_names=["a"]), "1 class names for 5 class scores")],
    "can_be_explained": [(loaded(model=nan_output()), "NaN")],
    "rejects_unknown_models": [
        (source(load=any_name), "it returns a model"),
        (source(load=lambda self, name, **options: {"small": 1}[name]), "it raises KeyError"),
    ],
}


def test_an_implementation_that_keeps_the_contract_passes() -> None:
    assert_passes(check_model_source(GoodModels))


def test_checks_describe_themselves() -> None:
    assert_described(check_model_source(GoodModels))


def test_every_check_has_a_violation() -> None:
    assert list(BAD_SOURCES) == [check.__name__ for check in model_sources.CHECKS]
    assert all(BAD_SOURCES.values())


@pytest.mark.parametrize(("name", "subject", "reason"), violations(BAD_SOURCES))
def test_a_violation_is_found(name: str, subject: Any, reason: str) -> None:
    assert_finds(check_model_source(subject), name, reason)
