"""Short benchmarks: a small dataset, model, methods and metrics, and what a run writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.resolve import resolve
from xai_core.benchmarking.settings import Settings
from xai_core.errors import ImageFileError
from xai_core.plugin import Dataset, Evaluation

TWO = ["deletion:steps=4", "insertion:steps=4"]


@dataclass(frozen=True)
class Speckles:
    """Random images, made when asked for; image `i` is as `sizes` and `broken` say."""

    count: int = 10
    size: int = 32
    broken: tuple[int, ...] = ()
    unlabeled: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    masked: tuple[int, ...] = ()
    nan: tuple[int, ...] = ()
    seed: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> xai.Sample:
        if index in self.broken:
            raise ImageFileError(f"speckle-{index}.png is truncated")
        size = dict(self.sizes).get(index, self.size)
        image = torch.rand(3, size, size, generator=torch.Generator().manual_seed(index + 1000 * self.seed))
        if index in self.nan:
            image[0, 0, 0] = torch.nan
        mask = None
        if index in self.masked:
            mask = torch.zeros(size, size, dtype=torch.bool)
            mask[: size // 2] = True
        return xai.Sample(image, f"speckle-{index}", None if index in self.unlabeled else index % 5, mask)


class Counted(nn.Module):
    """A small CNN that counts the images of each forward."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cnn = settled(SmallCNN())
        nn.init.uniform_(self.cnn.head.weight)
        self.forward_passes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.forward_passes.append(len(x))
        return self.cnn(x)


class Brightness(xai.Metric):
    """The map's mean; it needs no forward."""

    name = "brightness"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(saliency.values.mean((1, 2)))


class Inside(Brightness):
    """The share of the map that is on the truth."""

    name = "inside"
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult((saliency.values * evaluation.masks).mean((1, 2)))


class Breaking(xai.Explainer):
    """Raises where an image of the batch is bright in its first corner."""

    name = "breaking"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs(activations=(adapter.default_layer,))

    def explain(self, captured: xai.Captured) -> Tensor:
        if (captured.images[:, 0, 0, 0] > 0.8).any():
            raise RuntimeError("too bright\nto explain")
        return captured.activation().mean(1)


class Tuned(Breaking):
    """Has an option that can be any object."""

    name = "tuned"

    def __init__(self, how: object = None) -> None:
        self.how = how


class Picky(Brightness):
    """Raises where there is more than one image."""

    name = "picky"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        if len(saliency.values) > 1:
            raise ValueError("one at a time")
        return super().evaluate(evaluation, saliency)


class Refusing(Brightness):
    """Raises whatever it is given."""

    name = "refusing"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        raise ValueError("never")


def loaded(model: nn.Module | None = None) -> xai.LoadedModel:
    return xai.LoadedModel(model or Counted(), lambda image: image, restore=lambda image: image, spec="counted")


def run(out: Path, data: Dataset | None = None, model: nn.Module | None = None, **options: Any) -> xai.Run:
    given = {"models": loaded(model), "data": Speckles() if data is None else data, "device": "cpu"}
    given |= {"methods": ["grad-cam", "eigen-cam"], "metrics": TWO, "controls": False, "batch": 4, "shard": 6}
    given |= {"in_process": options.get("backend") != "ray"}  # which takes seconds less
    return xai.benchmark(out=out, **{**given, **options})


def by_key(table: pa.Table) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
    rows = {(row["image"], row["method"], row["metric"]): row for row in table.to_pylist()}
    assert len(rows) == len(table)
    return rows


def same(one: xai.Run, other: xai.Run) -> bool:
    """All that is not the time it took."""
    columns = [name for name in one.rows().column_names if name != "seconds"]
    return one.rows().select(columns).equals(other.rows().select(columns))


class StopError(Exception):
    pass


class Crowded(Counted):
    """Runs out of memory above so many images."""

    def __init__(self, most: int = 2, error: Exception | None = None) -> None:
        super().__init__()
        self.most, self.error = most, error or torch.OutOfMemoryError("CUDA out of memory")

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise self.error
        return super().forward(x)


def prepared(data: Dataset | None = None, **options: Any) -> Manifest:
    """What a run would be of, without the run."""
    given = {"models": (loaded(),), "data": data or Speckles(2), "metrics": (Brightness(),), **options}
    return resolve(Settings(**given), torch.device("cpu"), torch.device("cpu")).manifest
