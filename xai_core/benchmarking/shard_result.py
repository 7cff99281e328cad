"""What a shard comes to: rows, curves and maps, gathered by image, method and metric."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.reader import Item
from xai_core.benchmarking.rows import Curve, Row, encode_curves, encode_maps, encode_rows
from xai_core.benchmarking.store import Part, Shard
from xai_core.metric import MetricResult
from xai_core.saliency import Saliency
from xai_core.targets.target import BoundTarget


@dataclass
class ShardResult:
    """What a shard of the model `spec` came to."""

    manifest: Manifest
    spec: str
    rows: dict[tuple[int, str, str], Row] = field(default_factory=dict)
    curves: dict[tuple[int, str, str], Curve] = field(default_factory=dict)
    maps: dict[tuple[int, str], np.ndarray[Any, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def fail(self, items: Sequence[Item], methods: Iterable[str], metrics: Iterable[str], error: str) -> None:
        """Keep why there is no number."""
        for item in items:
            for method in methods:
                for metric in metrics:
                    self.rows[item.index, method, metric] = self._row(item, method, metric, error=error)

    def keep(self, items: Sequence[Item], method: str, saliency: Saliency, scores: Mapping[str, MetricResult]) -> None:
        """Keep a method's scores of a batch, with what its maps cost."""
        assert isinstance(saliency.target, BoundTarget)
        assert saliency.cost
        ids, constant = saliency.target.ids, saliency.constant.tolist()
        targets = [None] * len(items) if ids is None else ids.tolist()
        cost = {
            "forward_passes": saliency.cost.forward_passes,
            "seconds": saliency.cost.seconds / len(items),
            "memory": saliency.cost.memory,
        }
        for metric, score in scores.items():
            curves = None if score.curve is None else score.curve.tolist()
            fractions = None if score.fractions is None else score.fractions.tolist()
            for place, (item, value) in enumerate(zip(items, score.values.tolist(), strict=True)):
                key = item.index, method, metric
                self.rows[key] = self._row(
                    item, method, metric, target=targets[place], score=value, constant=constant[place], **cost
                )
                if curves and fractions:
                    self.curves[key] = Curve(self.spec, item.index, item.id, method, metric, fractions, curves[place])

    def keep_maps(self, items: Sequence[Item], maps: Mapping[str, Saliency]) -> None:
        """Keep maps, where they are wanted."""
        if self.manifest.maps:
            for method, saliency in maps.items():
                for item, values in zip(items, saliency.values.half().cpu().numpy(), strict=True):
                    self.maps[item.index, method] = values

    def part(self, shard: Shard, items: Sequence[Item], methods: Iterable[str], metrics: Sequence[str]) -> Part:
        """The files' content, in the order of images, methods and metrics."""
        pairs = [(item.index, method) for item in items for method in methods]
        keys = [(*pair, metric) for pair in pairs for metric in metrics]
        rows = [self.rows[key] for key in keys]
        curves = [self.curves[key] for key in keys if key in self.curves]
        maps = {
            f"{index}:{method}": self.maps[index, method] for index, method in pairs if (index, method) in self.maps
        }
        notes = tuple(dict.fromkeys(self.notes))
        return Part(
            shard,
            encode_rows(rows, notes),
            encode_curves(curves) if curves else None,
            encode_maps(maps) if maps else None,
            sum(row.error is not None for row in rows),
            notes,
        )

    def _row(self, item: Item, method: str, metric: str, **known: Any) -> Row:
        return Row(self.spec, self.manifest.data, item.index, item.id, item.label, method, metric, **known)
