"""Images on which methods disagree most by a metric."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.benchmarking.store import Run


@dataclass(frozen=True)
class Disagreement:
    """An image with the scores of several methods by one metric.

    Attributes
    ----------
    index, image
        Index and id of the image in the dataset.
    scores
        Scores by method, best first.
    """

    index: int
    image: str
    scores: Mapping[str, float]

    @property
    def range(self) -> float:
        """Largest score minus smallest score."""
        return max(self.scores.values()) - min(self.scores.values())


def disagreements(
    run: Run, comparison: MethodComparison, methods: Collection[str], count: int = 3
) -> list[Disagreement]:
    """Return the images with the largest ranges of scores over the methods, the largest first.

    Parameters
    ----------
    run, comparison
        A run, and the comparison of a model by a metric. Only images with a score from each method count.
    methods
        At least two of the compared methods. With fewer methods, the result is empty.
    count
        Maximum number of images.
    """
    found: list[Disagreement] = []
    for shard in run.finished if len(methods) > 1 else ():
        if run.manifest.models[shard.model_index].spec == comparison.model:
            scores: dict[tuple[int, str], dict[str, float]] = {}
            columns = run.rows_of(shard).select(["index", "image", "method", "metric", "score"]).to_pydict()
            for index, image, method, metric, score in zip(*columns.values(), strict=True):
                if metric == comparison.metric and method in methods and score is not None:
                    scores.setdefault((index, image), {})[method] = score
            complete = [Disagreement(*key, each) for key, each in scores.items() if len(each) == len(methods)]
            found = sorted([*found, *complete], key=lambda each: -each.range)[:count]
    direction = -1 if comparison.higher_is_better else 1
    return [
        Disagreement(each.index, each.image, dict(sorted(each.scores.items(), key=lambda item: direction * item[1])))
        for each in found
    ]
