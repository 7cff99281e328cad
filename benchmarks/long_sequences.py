"""Memory and time of attention methods on a long sequence, relative to a plain forward pass: prints a table.

The model is `vit_small_patch8` with random weights. One image of 384 pixels has 2,305 tokens. Memory is measured in a
separate process for each method: the peak resident memory during the call minus the resident memory before it. The
model is probed before, so that this is the second call. The allocator returns freed memory immediately. Linux only.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch

import xai_core as xai

PLAIN, FIRST = "plain forward pass", "rollout, first call"
METHODS = ["head-attention", "rollout", "gradient-rollout", "generic-attention"]
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def prepared(size: int, what: str) -> Callable[[], object]:
    """Return the function to measure."""
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch8_224", pretrained=False, img_size=size).eval()
    images = torch.randn(1, 3, size, size)
    if what == PLAIN:
        return torch.no_grad()(lambda: model(images))
    engine = xai.Engine(model)
    if what == FIRST:
        return lambda: engine.explain(images, "rollout")
    engine.adapter(images)
    return lambda: engine.explain(images, what, target=0)


def resident(which: str) -> float:
    """Return the resident memory of this process in MiB: current (`VmRSS`) or peak (`VmHWM`)."""
    match = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / 1024


def measure_memory(size: int, what: str) -> tuple[float, float]:
    """Return the peak resident memory during the call in MiB: of the whole process, and minus that before the call."""
    run = prepared(size, what)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    run()
    return resident("VmHWM"), resident("VmHWM") - before


def memory(size: int, what: str) -> list[float]:
    """Return the results of `measure_memory` from a separate process."""
    command = [sys.executable, __file__, "--size", str(size), "--memory-of", what]
    process = subprocess.run(command, env=os.environ | ALLOCATOR, capture_output=True, text=True, check=True)
    return [float(word) for word in process.stdout.split()]


def times(size: int, turns: int) -> dict[str, float]:
    """Return the median over turns of each time divided by the time of the plain forward pass of the same turn."""
    runs = {what: prepared(size, what) for what in (PLAIN, *METHODS)}
    durations: dict[str, list[float]] = {what: [] for what in runs}
    for _ in range(turns):
        for what, run in runs.items():
            start = time.perf_counter()
            run()
            durations[what].append(time.perf_counter() - start)
    print(f"plain forward pass: {statistics.median(durations[PLAIN]):.2f} s, median of {turns}")
    return {
        what: statistics.median(duration / plain for duration, plain in zip(each, durations[PLAIN], strict=True))
        for what, each in durations.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384, help="Side of the image in pixels, a multiple of 8.")
    parser.add_argument("--turns", type=int, default=5, help="Number of turns.")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(*measure_memory(options.size, options.memory_of))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {(options.size // 8) ** 2 + 1} tokens")
    ratios = times(options.size, options.turns)
    print("| method | MiB | MiB of the whole process | memory, x plain forward pass | time, x plain forward pass |")
    print("| --- | ---: | ---: | ---: | ---: |")
    forward = memory(options.size, PLAIN)
    for what in (PLAIN, *METHODS, FIRST):
        whole, increase = memory(options.size, what)
        time_ratio = f"{ratios[what]:.2f}" if what in ratios else ""
        print(f"| {what} | {increase:.0f} | {whole:.0f} | {whole / forward[0]:.2f} | {time_ratio} |")


if __name__ == "__main__":
    main()
