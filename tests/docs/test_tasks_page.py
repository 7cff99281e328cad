"""The page of tasks lists which methods and metrics are defined for each task: every cell is computed here.

Run this file as a script, with `tests` on the path, to rewrite the tables of the page after an intended change.
"""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import xai_core as xai
from support.conformance import METRICS as FEWER_STEPS
from support.explaining import FEWER
from support.paths import ROOT
from support.tasks import TASKS, Task
from xai_core.errors import ConstantMapWarning, InputShapeError, XAIError

PATH = ROOT / "docs" / "tasks.md"
COMMAND = f"PYTHONPATH=tests uv run python {Path(__file__).relative_to(ROOT)}"
YES, NO = "yes", "-"
SPECS = {
    **FEWER,
    "d-rise": "d-rise:masks=16,cells=4",
    "blurred": "blurred(grad-cam)",
    "eigen-smoothed": "eigen-smoothed(grad-cam)",
    "flattened": "flattened(grad-cam)",
    "fused": "fused(grad-cam,layer-cam)",
    "kernel-shap": "kernel-shap:n_samples=8,patch=16",
    "noise-smoothed": "noise-smoothed(saliency):n=2",
    "regulated": "regulated(grad-cam)",
    "smoothed": "smoothed(grad-cam)",
}
METHODS = {name: SPECS.get(name, name) for name in xai.list_explainers()}
METRICS = {name: FEWER_STEPS.get(name, name) for name in xai.list_metrics()}


def single(value: Any) -> Any:
    """Return the value of the first input of a model with several inputs."""
    return value[0] if isinstance(value, tuple) else value


def explains(engine: xai.Engine, task: Task, spec: str) -> bool:
    """Return whether a method is defined for a task. Its maps must be finite and have the size of the images."""
    try:
        saliency = next(iter(single(engine.explain(task.inputs, spec, task.target)).values()))
    except XAIError:
        return False
    images = single(task.inputs)
    assert saliency.values.shape == (len(images), *images.shape[2:]), spec
    assert bool(saliency.values.isfinite().all()), spec
    return True


def scores(engine: xai.Engine, task: Task, spec: str) -> bool:
    """Return whether a metric is defined for a task. Its values must be finite, one for each image."""
    maps = engine.explain(task.inputs, "random", task.target)
    try:
        results = engine.evaluate(task.inputs, maps, spec, masks_of(task.inputs))
    except XAIError:
        return False
    values = single(results)["random"][spec].values
    assert values.shape == (len(single(task.inputs)),), spec
    assert bool(values.isfinite().all()), spec
    return True


def masks_of(inputs: Any) -> Any:
    """Return a mask for each image."""
    if isinstance(inputs, tuple):
        return tuple(map(masks_of, inputs))
    masks = torch.zeros(len(inputs), *inputs.shape[2:], dtype=torch.bool)
    masks[..., 8:20, 8:20] = True
    return masks


def column(task: Task) -> dict[str, bool]:
    """Return whether each method and each metric is defined for a task."""
    engine = task.engine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        return {name: explains(engine, task, spec) for name, spec in METHODS.items()} | {
            name: scores(engine, task, spec) for name, spec in METRICS.items()
        }


def table(kind: str, names: Mapping[str, str], columns: Mapping[str, Mapping[str, bool]]) -> Iterator[str]:
    yield f"| {kind} | {' | '.join(columns)} |\n"
    yield f"| --- |{' :-: |' * len(columns)}\n"
    for name in sorted(names):
        yield f"| `{name}` | {' | '.join(YES if cells[name] else NO for cells in columns.values())} |\n"


def documented() -> dict[str, dict[str, bool]]:
    """Return the cells of the page, by column and row."""
    cells: dict[str, dict[str, bool]] = {}
    headings: list[str] = []
    for line in PATH.read_text("utf-8").splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if line.startswith("| method") or line.startswith("| metric"):
            headings = parts[1:]
        elif line.startswith("| `"):
            for heading, cell in zip(headings, parts[1:], strict=True):
                cells.setdefault(heading, {})[parts[0].strip("`")] = cell == YES
    return cells


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.column)
def test_each_cell_of_the_page_is_what_happens(task: Task) -> None:
    expected, found = documented()[task.column], column(task)
    assert found == expected, f"the page is out of date; update it: `{COMMAND}`"


def test_the_page_lists_every_task() -> None:
    assert list(documented()) == [task.column for task in TASKS]


def test_signals_are_not_supported() -> None:
    with pytest.raises(InputShapeError, match=r"expected images \[B, C, H, W\] or volumes \[B, C, D, H, W\]"):
        xai.Engine(torch.nn.Conv1d(3, 4, 3)).explain(torch.zeros(2, 3, 64), "saliency")


if __name__ == "__main__":
    columns = {task.column: column(task) for task in TASKS}
    head = PATH.read_text("utf-8").partition("| method")[0]
    PATH.write_text(
        head + "".join(table("method", METHODS, columns)) + "\n" + "".join(table("metric", METRICS, columns)), "utf-8"
    )
