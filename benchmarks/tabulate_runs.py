"""Write benchmark runs as one page: for each model a table of all methods and metrics, and the supported differences.

    python benchmarks/tabulate_runs.py RUN [RUN ...] > docs/results.md

A cell is a mean with its 95 % interval. The best mean of a column is bold.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import xai_core as xai
from xai_core.benchmarking.conclusions import conclusions
from xai_core.benchmarking.statistics import Estimate
from xai_core.benchmarking.summary import Summary, summarize

GENERATED = "<!-- language: allow -->"
"""Comment that exempts lists of methods, which can be long, from the check of the language."""


def main(folders: list[str]) -> None:
    for folder in folders:
        summary = summarize(xai.Run.read(Path(folder)))
        for line in page(summary):
            print(line)


def page(summary: Summary) -> Iterator[str]:
    """Iterate over the lines of a run's page."""
    manifest = summary.run.manifest
    for model in manifest.models:
        comparisons = [comparison for comparison in summary.comparisons if comparison.model == model.spec]
        costs = {cost.method: cost for cost in summary.costs if cost.model == model.spec}
        yield f"## {model.spec} on {manifest.data}, {summary.images // len(manifest.models)} images\n"
        titles = [f"{comparison.metric} {'↑' if comparison.higher_is_better else '↓'}" for comparison in comparisons]
        yield f"| method | {' | '.join(titles)} | forward passes | seconds |"
        yield f"| --- |{' ---: |' * (len(titles) + 2)}"
        columns = [
            {standing.method: cell(standing.estimate, standing.rank) for standing in comparison.standings}
            for comparison in comparisons
        ]
        for method in model.methods:
            scores = " | ".join(column.get(method, "") for column in columns)
            yield f"| {method} | {scores} | {costs[method].forward_passes:,} | {costs[method].seconds:.3f} |"
        yield ""
        for comparison in comparisons:
            yield f"{GENERATED}\n**{comparison.metric}.** {' '.join(conclusions(comparison))}\n"
        if model.skipped:
            yield f"{GENERATED}\nNot compatible with this model, or composite: {', '.join(model.skipped)}.\n"
        if errors := sum(summary.errors.values()):
            yield f"{errors} rows contain an error.\n"


def cell(estimate: Estimate, rank: float) -> str:
    """Format a mean with its interval, in bold if it is the best mean."""
    mean = f"**{estimate.mean:.3f}**" if rank == 1 else f"{estimate.mean:.3f}"
    return f"{mean} ({estimate.low:.3f} to {estimate.high:.3f})".replace("-0.000", "0.000")


if __name__ == "__main__":
    main(sys.argv[1:])
