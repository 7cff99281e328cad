"""Cost of the worker process of a benchmark: prints the time of a run, and what the worker process adds.

The same run is measured in turn with and without a worker process. The start of the process is measured by a run of
two images, and the overhead by the difference that remains.

    uv run python benchmarks/supervised_worker.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import xai_core as xai


def seconds(limit: int, in_process: bool) -> float:
    """Return the duration of a run of `limit` images."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        xai.benchmark(
            "shapes-cbam",
            "shapes:split=test",
            out=Path(folder) / "run",
            methods=["grad-cam", "eigen-cam", "score-cam"],
            metrics=["deletion:steps=32", "insertion:steps=32"],
            limit=limit,
            device="cpu",
            in_process=in_process,
        )
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=258, help="Number of images of a run.")
    parser.add_argument("--turns", type=int, default=5, help="Number of repetitions. The median counts.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds(2, in_process=True)
    short, whole = ({True: [], False: []}, {True: [], False: []})
    for _ in range(options.turns):
        for in_process in (True, False):
            short[in_process].append(seconds(2, in_process))
            whole[in_process].append(seconds(options.limit, in_process))
    start = statistics.median(short[False]) - statistics.median(short[True])
    images = {way: statistics.median(whole[way]) - statistics.median(short[way]) for way in (True, False)}
    print(f"{options.limit} images in this process: {statistics.median(whole[True]):.2f} s")
    print(f"start of a worker process: {start:.2f} s")
    print(f"overhead after the start: {100 * (images[False] / images[True] - 1):.1f} %")


if __name__ == "__main__":
    main()
