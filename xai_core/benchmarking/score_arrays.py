"""The rows of a run as arrays, read shard by shard."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xai_core.benchmarking.bootstrap import Values
from xai_core.benchmarking.comparison import ScoreMatrix
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.shards import Shard
from xai_core.benchmarking.store import Run

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ModelArrays:
    """The rows of one model, for the images of all finished shards. An image has the same position for all models.

    Attributes
    ----------
    scores
        A score matrix for each metric.
    forward_passes, seconds, memory
        [N,methods], the costs of the maps. NaN marks an unknown cost.
    """

    scores: list[ScoreMatrix]
    forward_passes: Values
    seconds: Values
    memory: Values


@dataclass(frozen=True)
class _Block:
    """The rows of a shard.

    Attributes
    ----------
    scores
        [n,methods,metrics]. NaN marks a missing score.
    costs
        [3,n,methods], the forward passes, seconds and memory of the maps. NaN marks an unknown cost.
    errors
        Number of rows with each metric, method and error message.
    """

    scores: Values
    costs: Values
    errors: Counter[tuple[str, str, str]]


def read_arrays(run: Run) -> list[ModelArrays]:
    """Return the arrays of each of the run's models, in the order of the manifest."""
    manifest = run.manifest
    blocks = {shard: _block(run.rows_of(shard), shard.shape(manifest)) for shard in run.finished}
    spans = sorted({(shard.start, shard.stop) for shard in blocks})

    def block(shard: Shard) -> _Block:
        return blocks.get(shard) or _unknown(shard.shape(manifest))

    return [
        _joined(manifest, index, [block(Shard(index, *span)) for span in spans])
        for index in range(len(manifest.models))
    ]


def _block(rows: "pa.Table", shape: tuple[int, int, int]) -> _Block:
    """Return the rows of a shard, which are ordered by image, method and metric."""

    def values(name: str) -> Values:
        return np.asarray(rows[name].to_numpy(), np.float64).reshape(shape)

    costs = [np.fmax.reduce(values(name), axis=2, initial=np.nan) for name in ("forward_passes", "seconds", "memory")]
    failed = rows.filter(rows["error"].is_valid())
    names = (failed[name].to_pylist() for name in ("metric", "method", "error"))
    return _Block(values("score"), np.stack(costs), Counter(zip(*names, strict=True)))


def _unknown(shape: tuple[int, int, int]) -> _Block:
    return _Block(np.full(shape, np.nan), np.full((3, *shape[:2]), np.nan), Counter())


def _joined(manifest: Manifest, model_index: int, blocks: Sequence[_Block]) -> ModelArrays:
    """Return the arrays of a model from the blocks of its shards, in the order of the images."""
    model = manifest.models[model_index]
    blocks = [_unknown((0, len(model.methods), len(manifest.metrics))), *blocks]
    scores = np.moveaxis(np.concatenate([block.scores for block in blocks]), 2, 0).copy()
    errors = {metric: {method: Counter[str]() for method in model.methods} for metric in manifest.metrics}
    for block in blocks:
        for (metric, method, error), count in block.errors.items():
            errors[metric][method][error] += count
    matrices = [
        ScoreMatrix(model.spec, metric, higher, model.methods, values, errors[metric])
        for values, (metric, higher) in zip(scores, manifest.metrics.items(), strict=True)
    ]
    return ModelArrays(matrices, *np.concatenate([block.costs for block in blocks], axis=1))
