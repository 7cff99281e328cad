"""Puts benchmark runs into one page: a table for each model, with all methods and metrics, and what the data supports.

    python benchmarks/tabulate_runs.py RUN [RUN ...] > docs/results.md

A cell is a mean with its 95 % interval; the best of a column is bold.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import xai_core as xai
from xai_core.benchmarking.statistics import Estimate
from xai_core.benchmarking.summary import Summary, in_words, summarize


def main(folders: list[str]) -> None:
    for folder in folders:
        summary = summarize(xai.Run.read(Path(folder)))
        for line in page_of(summary):
            print(line)


def page_of(summary: Summary) -> Iterator[str]:
    manifest = summary.run.manifest
    for subject in manifest.subjects:
        comparisons = [one for one in summary.comparisons if one.model == subject.model]
        costs = {spent.method: spent for spent in summary.costs if spent.model == subject.model}
        yield f"## {subject.model} on {manifest.data}, {summary.images // len(manifest.subjects)} images\n"
        titles = [f"{one.metric} {'↑' if one.higher_is_better else '↓'}" for one in comparisons]
        yield f"| method | {' | '.join(titles)} | forwards | seconds |"
        yield f"| --- |{' ---: |' * (len(titles) + 2)}"
        cells = [
            {standing.method: cell(standing.estimate, standing.rank) for standing in one.standings}
            for one in comparisons
        ]
        for method in subject.methods:
            scores = " | ".join(column.get(method, "") for column in cells)
            yield f"| {method} | {scores} | {costs[method].forward_passes:,} | {costs[method].seconds:.3f} |"
        yield ""
        for one in comparisons:
            yield f"**{one.metric}.** {' '.join(in_words(one))}\n"
        if subject.left_out:
            yield f"Not defined for this model, or made of other methods: {', '.join(subject.left_out)}.\n"
        if errors := sum(summary.errors.values()):
            yield f"{errors} rows have an error.\n"


def cell(estimate: Estimate, rank: float) -> str:
    mean = f"**{estimate.mean:.3f}**" if rank == 1 else f"{estimate.mean:.3f}"
    return f"{mean} ({estimate.low:.3f} to {estimate.high:.3f})".replace("-0.000", "0.000")


if __name__ == "__main__":
    main(sys.argv[1:])
