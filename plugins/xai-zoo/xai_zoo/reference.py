"""Shared code of the reference models, whose weights are random or from a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xai_core as xai
from xai_core.plugin import Spec, UnknownModelError, Value
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop

if TYPE_CHECKING:
    from torch import nn


def check_no_name(source: str, name: str | None) -> None:
    """Require a spec without a name, because the source provides one model."""
    if name is not None:
        raise UnknownModelError(
            f"{source} provides one model; expected `{source}:option=value,...`, got the name {name!r}"
        )


def loaded(
    model: "nn.Module",
    spec: tuple[str, Mapping[str, Value]],
    weights: Value | Path,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> xai.LoadedModel:
    """Return the loaded model of a source and its options, with the weights of a file, if there is one."""
    source, options = spec
    if weights is not None:
        fit(model, read_state_dict(weights), weights)
        options = {**options, "weights": str(weights)}
    return xai.LoadedModel(
        model=model.eval(),
        preprocess=Preprocess(resize_and_crop(size, size, mean, std)),
        restore=Restore(mean, std),
        spec=str(Spec(source, None, options)),
    )
