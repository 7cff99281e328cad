"""Writes the results of `coverage.py` as Markdown."""

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby

from support.coverage.examine import OUTCOMES, Row

INTRODUCTION = """\
# Coverage

This page lists which models of other libraries work without a named layer or any other configuration. The
default layer, its locations in the image, its gradient and the attention are compared with *oracles*. Oracles are
computations in plain PyTorch that use no code of xai-core.

The models are:

- all classification and segmentation models of torchvision,
- the variant with the fewest parameters of every family (module) of timm,
- all classes of transformers' automatic models for image classification and semantic segmentation, with tiny
  configurations,
- all architectures and encoder families of segmentation-models-pytorch, and
- all image classifiers of vit-pytorch.

The weights are random. Norm weights are set to 1, and the statistics of batch norm come from random images. Kernels of
convolutions are weighted by a window, so that late features see one region of the image, as in trained models.
All models that can run in float64 do so. A model with more than 500 million parameters keeps only the first 4 blocks
of each sequence of equal blocks.

- *locations*: parts of the image are changed, one at a time. The default layer must respond at the changed part.
  The center of the response follows the position of the part on both axes (R2 above 0.8). At the center
  of the image, the regression line deviates by less than 0.6 cells. If this fails with 4 random images, the windows of
  kernels are narrowed: features of very deep networks respond to all of the image otherwise. Then larger images
  follow, and 16 and 64 random images. No such step makes wrong locations pass.
- *gradient*: the captured gradient equals that of plain autograd. If the features are replaced, the score changes as in
  a forward pass that replaces the same tensor.
- *attention*: `rollout` and `generic-attention` equal their formulas on whole attention matrices. The methods are *not
  defined* for models without attention, and for models whose layers attend to different tokens.
- *rejected*: xai-core raises an error that states why it does not support the model.
- *not examined*: the model has no result yet, or its examination took too long.

Feature maps are stretched over the image, as in other libraries.
"""
LABELS = {"refused": "rejected", "places": "locations"}
"""Words of the page for names in the results."""


def page(rows: Iterable[Row], command: str) -> str:
    """Return the results as Markdown."""
    rows = sorted(rows, key=lambda row: (row.library, row.family, row.name))
    by_library = {name: [*members] for name, members in groupby(rows, lambda row: row.library)}
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("torch", *by_library))
    written = f"Written by `{command}` with {versions}, Python {platform.python_version()}."
    parts = [INTRODUCTION, written, summary(by_library)]
    for library, members in by_library.items():
        parts += [f"## {library}", families(members), exceptions(members)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def summary(by_library: Mapping[str, Sequence[Row]]) -> str:
    """Return a table of the outcomes of each library."""
    labels = (LABELS.get(outcome, outcome) for outcome in OUTCOMES)
    columns = ("library", "models", *labels, "correct of those examined")
    lines = [table_row(*columns), "| --- |" + " ---: |" * (len(columns) - 1)]
    for library, rows in by_library.items():
        counts = Counter(row.outcome for row in rows)
        examined = len(rows) - counts["not built"] - counts["not examined"]
        share = f"{counts['correct'] / examined:.1%}" if examined else ""
        lines.append(table_row(library, len(rows), *(counts[outcome] for outcome in OUTCOMES), share))
    return "\n".join(lines)


def families(rows: Sequence[Row]) -> str:
    """Return a table with a line for each family. Its layer and grid are those of the family's first model."""
    columns = ("family", "models", "correct", "locations", "gradient", "attention", "default layer", "grid")
    lines = [table_row(*columns), "| --- |" + " ---: |" * 5 + " --- | ---: |"]
    for family, members in groupby(rows, lambda row: row.family):
        group = [row for row in members if row.outcome not in ("not built", "not examined")]
        if group:
            correct = sum(row.outcome == "correct" for row in group)
            layer, grid = f"`{group[0].layer}`" if group[0].layer else "", " x ".join(map(str, group[0].grid))
            oracles = (share(group, name) for name in ("places", "gradient", "attention"))
            lines.append(table_row(f"`{family}`", len(group), correct, *oracles, layer, grid))
    return "\n".join(lines)


def share(rows: Sequence[Row], oracle: str) -> str:
    """Return how many of the models that an oracle could judge are correct."""
    judged = [said for row in rows if (said := getattr(row, oracle)) not in ("", "not defined")]
    return f"{judged.count('correct')} of {len(judged)}" if judged else "not defined" if oracle == "attention" else ""


def exceptions(rows: Sequence[Row]) -> str:
    """Return a table of the models that are not correct, and why."""
    lines = [table_row("model", "outcome", "reason"), "| --- | --- | --- |"]
    others = [row for row in rows if row.outcome not in ("correct", "not examined")]
    for row in others:
        reason = row.reason.replace("|", "\\|").replace("`", "'")
        outcome = LABELS.get(row.outcome, row.outcome)
        lines.append(table_row(f"`{row.name}` (`{row.family}`)", outcome, f"`{reason}`"))
    return "\n".join(lines) if others else ""


def table_row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
