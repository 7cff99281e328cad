"""Collects the rows, curves and maps of a shard."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.reader import Item
from xai_core.benchmarking.rows import CurveRow, ScoreRow, encode_curves, encode_maps, encode_rows
from xai_core.benchmarking.shards import Shard, ShardFiles
from xai_core.metric import MetricResult
from xai_core.saliency import Saliency
from xai_core.targets.target import BoundTarget


@dataclass
class ShardResult:
    """The results of a shard of the model `spec`, by index of the image, method and metric."""

    manifest: Manifest
    spec: str
    rows: dict[tuple[int, str, str], ScoreRow] = field(default_factory=dict)
    curves: dict[tuple[int, str, str], CurveRow] = field(default_factory=dict)
    maps: dict[tuple[int, str], np.ndarray[Any, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_error(self, items: Sequence[Item], methods: Iterable[str], metrics: Iterable[str], error: str) -> None:
        """Store an error message in place of the scores."""
        methods, metrics = [*methods], [*metrics]
        for item in items:
            for method in methods:
                for metric in metrics:
                    self.rows[item.index, method, metric] = self._row(item, method, metric, error=error)

    def add_scores(
        self, items: Sequence[Item], method: str, saliency: Saliency, results: Mapping[str, MetricResult]
    ) -> None:
        """Store the metric results of a method's maps of a batch, and what the maps cost."""
        assert isinstance(saliency.target, BoundTarget)
        assert saliency.cost
        classes, constant = saliency.target.classes, saliency.constant.tolist()
        targets = [None] * len(items) if classes is None else classes.tolist()
        cost = {
            "forward_passes": saliency.cost.forward_passes,
            "seconds": saliency.cost.seconds / len(items),
            "memory": saliency.cost.memory,
        }
        for metric, result in results.items():
            curves = None if result.curve is None else result.curve.tolist()
            fractions = None if result.fractions is None else result.fractions.tolist()
            for i, (item, score) in enumerate(zip(items, result.values.tolist(), strict=True)):
                key = item.index, method, metric
                self.rows[key] = self._row(
                    item, method, metric, target=targets[i], score=score, constant=constant[i], **cost
                )
                if curves and fractions:
                    self.curves[key] = CurveRow(self.spec, item.index, item.id, method, metric, fractions, curves[i])

    def add_maps(self, items: Sequence[Item], maps: Mapping[str, Saliency]) -> None:
        """Store the maps, if the run saves maps."""
        if self.manifest.maps:
            for method, saliency in maps.items():
                for item, values in zip(items, saliency.values.half().cpu().numpy(), strict=True):
                    self.maps[item.index, method] = values

    def files(self, shard: Shard, items: Sequence[Item], methods: Iterable[str], metrics: Sequence[str]) -> ShardFiles:
        """Return the contents of the shard's files, in the order of images, methods and metrics."""
        pairs = [(item.index, method) for item in items for method in methods]
        keys = [(*pair, metric) for pair in pairs for metric in metrics]
        curves = [self.curves[key] for key in keys if key in self.curves]
        maps = {
            f"{index}:{method}": self.maps[index, method] for index, method in pairs if (index, method) in self.maps
        }
        notes = tuple(dict.fromkeys(self.notes))
        return ShardFiles(
            shard,
            encode_rows([self.rows[key] for key in keys], notes),
            encode_curves(curves) if curves else None,
            encode_maps(maps) if maps else None,
            notes,
        )

    def _row(self, item: Item, method: str, metric: str, **values: Any) -> ScoreRow:
        return ScoreRow(self.spec, self.manifest.data, item.index, item.id, item.label, method, metric, **values)
