"""The memory and time of attention methods on a long sequence, in plain forwards: prints a table.

`vit_small_patch8` with random weights, one image, 2,305 tokens at 384 pixels. Each memory is measured in a process of
its own: the highest resident memory while the method runs, less what was resident before it, with the layers known
(the second call), where the allocator gives freed memory back at once. Linux only.
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

PLAIN, FIRST = "plain forward", "rollout, first call"
METHODS = ["head-attention", "rollout", "gradient-rollout", "generic-attention"]
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def prepared(size: int, what: str) -> Callable[[], object]:
    """What is measured."""
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
    """The memory of this process in MiB, now (`VmRSS`) or at its highest (`VmHWM`)."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def measure_memory(size: int, what: str) -> tuple[float, float]:
    """The highest resident memory while it runs, in MiB: all of the process, and less what was there before."""
    run = prepared(size, what)
    Path("/proc/self/clear_refs").write_text("5")  # the highest is the present
    before = resident("VmRSS")
    run()
    return resident("VmHWM"), resident("VmHWM") - before


def memory(size: int, what: str) -> list[float]:
    """That, in a process of its own."""
    command = [sys.executable, __file__, "--size", str(size), "--memory-of", what]
    done = subprocess.run(command, env=os.environ | ALLOCATOR, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def times(size: int, turns: int) -> dict[str, float]:
    """The median over turns of each one's time as a share of that turn's plain forward, and its seconds."""
    runs = {what: prepared(size, what) for what in (PLAIN, *METHODS)}
    taken: dict[str, list[float]] = {what: [] for what in runs}
    for _ in range(turns):
        for what, run in runs.items():
            start = time.perf_counter()
            run()
            taken[what].append(time.perf_counter() - start)
    print(f"plain forward: {statistics.median(taken[PLAIN]):.2f} s, median of {turns}")
    return {
        what: statistics.median(one / plain for one, plain in zip(each, taken[PLAIN], strict=True))
        for what, each in taken.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384, help="side of the image, a multiple of 8")
    parser.add_argument("--turns", type=int, default=5, help="turns of which the median time is taken")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(*measure_memory(options.size, options.memory_of))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {(options.size // 8) ** 2 + 1} tokens")
    ratios = times(options.size, options.turns)
    print("| who | MiB | MiB of the whole process | x plain forward | time, x plain forward |")
    print("| --- | ---: | ---: | ---: | ---: |")
    forward = memory(options.size, PLAIN)
    for what in (PLAIN, *METHODS, FIRST):
        whole, more = memory(options.size, what)
        took = f"{ratios[what]:.2f}" if what in ratios else ""
        print(f"| {what} | {more:.0f} | {whole:.0f} | {whole / forward[0]:.2f} | {took} |")


if __name__ == "__main__":
    main()
