"""Reads a model without naming a layer, and asks the oracles."""

import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import xai_core as xai
from support.coverage.attention import NOT_DEFINED, attention
from support.coverage.case import WIDTHS, Built, Case
from support.coverage.layer import CORRECT, gradient, places
from support.oracles import Oracle, reading
from xai_core.errors import XAIError

OUTCOMES = ("correct", "refused", "wrong", "error", "not built", "not examined")
SEED = 0
TEXTURES = (4, 16, 64)
"""The numbers of random images that are changed. In networks with random weights, a few may not show the order."""


@dataclass
class Row:
    """The result of one model.

    `outcome` is one of `OUTCOMES`, and `reason` says why it is not correct. Oracles that did not run are empty. If the
    places are wrong, no other oracle runs.
    """

    library: str
    family: str
    name: str
    size: tuple[int, ...] = ()
    layer: str = ""
    grid: tuple[int, ...] = ()
    places: str = ""
    gradient: str = ""
    attention: str = ""
    outcome: str = "correct"
    reason: str = ""
    seconds: float = 0

    @property
    def key(self) -> str:
        """The unique name `library:family:model`."""
        return f"{self.library}:{self.family}:{self.name}"


def examine(case: Case, lattice: int = 4) -> Row:
    """Build a model, and ask all oracles. The image is changed at `lattice` places per axis.

    If each cell sees all of the image, places may not be found. Then narrower kernels follow, and then larger images.
    """
    wide, narrow = WIDTHS
    attempts = [(case, wide, TEXTURES[:1]), (case, narrow, TEXTURES)]
    if case.larger is not None:
        attempts.insert(1, (case, narrow, TEXTURES[:1]))
        attempts[-1] = replace(case, make=case.larger), narrow, TEXTURES
    for attempt in attempts:
        row = examine_once(attempt[0], lattice, *attempt[1:])
        if row.places in ("", CORRECT):
            break
    return row


def examine_once(case: Case, lattice: int, width: float, textures: Sequence[int]) -> Row:
    """Build a model with windows of kernels of a width, and ask all oracles."""
    row = Row(case.library, case.family, case.name)
    warnings.simplefilter("ignore")
    try:
        built = case.build(SEED, width)
        row.size = built.size
        with torch.no_grad():
            built(torch.randn(2, 3, *built.size))
    except Exception as error:
        row.outcome, row.reason = "not built", summary(error)
        return row
    try:
        ask(built, row, lattice, textures)
    except XAIError as error:
        row.outcome, row.reason = "refused", summary(error)
    except AssertionError as error:  # of an oracle
        row.outcome, row.reason = "wrong", str(error)
    except Exception as error:
        row.outcome, row.reason = "error", summary(error)
    return row


def ask(built: Built, row: Row, lattice: int, textures: Sequence[int]) -> None:
    """Read the model, and fill in what the oracles say."""
    built = in_float64(built)
    images = torch.randn(2, 3, *built.size, dtype=next(built.model.parameters()).dtype)
    with torch.no_grad():
        output = logits(built(images))
    target: Any = None
    if output.ndim == 4:

        def target(output: Any) -> Tensor:
            return logits(output)[:, 0].mean((1, 2))

    classes = None if target else output.argmax(1)

    def score(output: Any) -> Tensor:
        return target(output) if target else logits(output).gather(1, classes[:, None])[:, 0]

    engine = xai.Engine(built.model, forward=built.forward)
    read = reading(engine, images, target)
    row.layer, row.grid = read.layer, tuple(read.activation.shape[2:])
    differentiable = has_gradient(built)
    with torch.set_grad_enabled(differentiable):
        oracle = Oracle(built.model, lambda _, images: built(images), score, images, read)
    row.places = places(oracle, lattice, textures, fused=output.ndim == 4)
    if row.places == CORRECT:
        row.gradient = gradient(oracle) if differentiable else NOT_DEFINED
        row.attention = attention(built, engine, images, target, score)
    said = {name: said for name in ("places", "gradient", "attention") if (said := getattr(row, name))}
    wrong = [f"{name}: {what}" for name, what in said.items() if what not in (CORRECT, NOT_DEFINED)]
    if wrong:
        row.outcome, row.reason = "wrong", "; ".join(wrong)


def has_gradient(built: Built) -> bool:
    """Return whether PyTorch can differentiate the model. It has no gradient of FlexAttention on the CPU."""
    images = torch.randn(1, 3, *built.size, dtype=next(built.model.parameters()).dtype)
    try:
        built(images.requires_grad_())
    except NotImplementedError:
        return False
    return True


def in_float64(built: Built) -> Built:
    """Return the model in float64, or as it is if it does not run in float64."""
    try:
        built.model.double()
        with torch.no_grad():
            built(torch.randn(1, 3, *built.size, dtype=torch.float64))
    except RuntimeError:
        built.model.float()
    return built


def logits(output: Any) -> Tensor:
    """Return the scores in a model's output."""
    if isinstance(output, dict):
        output = next((output[name] for name in ("logits", "out") if name in output), [*output.values()])
    return output if isinstance(output, Tensor) else logits(output[0])


def summary(error: Exception) -> str:
    """Return the type and message of an error, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, XAIError) else f" ({Path(place.filename).name}:{place.lineno})"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"
