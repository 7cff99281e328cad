"""Summary of a run: comparisons of methods, agreement of metrics, costs and errors."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xai_core.benchmarking.comparison import Agreement, MethodComparison, agreement, compare
from xai_core.benchmarking.manifest import ModelEntry
from xai_core.benchmarking.score_arrays import ModelArrays, read_arrays
from xai_core.benchmarking.store import Run


@dataclass(frozen=True)
class MethodCost:
    """Cost of a method's maps.

    Attributes
    ----------
    model, method
        Specs of the model and the method.
    forward_passes
        Number of forward passes per image.
    seconds
        Median duration per image.
    memory
        Largest peak memory of a batch in bytes, if known.
    """

    model: str
    method: str
    forward_passes: int
    seconds: float
    memory: int | None


@dataclass(frozen=True, repr=False)
class Summary:
    """Summary of a run, finished or not.

    Attributes
    ----------
    run
        The run.
    finished, images
        Number of finished images and of all images, each counted once per model.
    comparisons
        Comparison of the methods for each model and metric, in the run's order.
    agreements
        Agreement between every two metrics of a model.
    costs
        Costs of each model and method.
    errors
        Number of rows with each error message, the most frequent first.
    notes
        Notes of the run, such as smaller batches.
    """

    run: Run
    finished: int
    images: int
    comparisons: Sequence[MethodComparison]
    agreements: Sequence[Agreement]
    costs: Sequence[MethodCost]
    errors: Mapping[str, int]
    notes: Sequence[str]

    def __repr__(self) -> str:
        counts = f"{self.finished} of {self.images} images, {len(self.comparisons)} comparisons"
        return f"<Summary of run {self.run.manifest.hash[:12]}: {counts}, {sum(self.errors.values())} errors>"

    @property
    def skipped(self) -> list[tuple[str, str, str]]:
        """Methods and metrics that `all` skips: model (empty for a metric), name and reason of each."""
        manifest = self.run.manifest
        methods = [(model.spec, name, reason) for model in manifest.models for name, reason in model.skipped.items()]
        return methods + [("", name, reason) for name, reason in manifest.skipped.items()]


def summarize(run: Run) -> Summary:
    """Summarize the finished shards of a run."""
    manifest, arrays = run.manifest, read_arrays(run)
    matrices = [matrix for of_model in arrays for matrix in of_model.scores]
    comparisons = compare(matrices)
    agreements = [
        agreement(first, second)
        for first, second in itertools.combinations(comparisons, 2)
        if first.model == second.model
    ]
    errors = sum((counter for matrix in matrices for counter in matrix.errors.values()), Counter[str]())
    return Summary(
        run,
        sum(shard.stop - shard.start for shard in run.finished),
        manifest.images * len(manifest.models),
        comparisons,
        [each for each in agreements if each],
        [cost for model, of_model in zip(manifest.models, arrays, strict=True) for cost in _costs(model, of_model)],
        dict(errors.most_common()),
        run.notes(),
    )


def _costs(model: ModelEntry, arrays: ModelArrays) -> Iterator[MethodCost]:
    for i, method in enumerate(model.methods):
        columns = (table[:, i] for table in (arrays.forward_passes, arrays.seconds, arrays.memory))
        forward_passes, seconds, memory = (column[~np.isnan(column)] for column in columns)
        if len(seconds):
            peak = int(memory.max()) if len(memory) else None
            yield MethodCost(model.spec, method, int(forward_passes[0]), float(np.median(seconds)), peak)
