"""Cost of the first call of `Engine.adapter`, which probes the model, and of later calls: prints a table.

All times are divided by the time of one plain forward pass of one image. The number of images counts those that the
model runs on in the first call. With `--against`, the same measurements follow for another checkout of this repository.
If other processes use the machine, `--cpu-time` measures the CPU time of a single thread.

    uv run python benchmarks/first_call.py --against ../older-checkout
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import xai_core as xai

MODELS = [
    "resnet50",
    "convnext_tiny",
    "efficientnet_b0",
    "vit_small_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b0",
    "gmixer_24_224",
    "nest_tiny",
]


def measure(name: str, turns: int, cpu_time: bool) -> dict[str, float]:
    """Return the time of a forward pass, and the other times divided by it."""
    clock = time.process_time if cpu_time else time.perf_counter
    if cpu_time:
        torch.set_num_threads(1)

    def seconds(run: Callable[[], object]) -> float:
        start = clock()
        run()
        return clock() - start

    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    image = torch.randn(1, 3, 224, 224)
    seen: list[int] = []

    def count(_: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(len(args[0]))

    plain = torch.no_grad()(lambda: model(image))
    plain()
    forward = statistics.median(seconds(plain) for _ in range(turns))
    first, later = [], []
    for _ in range(turns):
        engine = xai.Engine(model)
        seen.clear()
        with model.register_forward_pre_hook(count):
            first.append(seconds(lambda engine=engine: engine.adapter(image)))
        engine.explain(image, "grad-cam")
        later.append(seconds(lambda engine=engine: engine.explain(image, "grad-cam")))
    return {
        "forward pass (ms)": 1000 * forward,
        "images": sum(seen),
        "first call": statistics.median(first) / forward,
        "grad-cam, later call": statistics.median(later) / forward,
    }


def of_checkout(path: Path, name: str, turns: int, cpu_time: bool) -> dict[str, float]:
    """Measure another checkout in a separate process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [path, *path.glob("plugins/*")]))}
    command = [sys.executable, __file__, "--json", "--turns", str(turns), name, *(["--cpu-time"] if cpu_time else [])]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(process.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="Models of timm.")
    parser.add_argument("--turns", type=int, default=5, help="Number of repetitions. The median counts.")
    parser.add_argument("--against", type=Path, help="Another checkout of this repository.")
    parser.add_argument("--cpu-time", action="store_true", help="Measure the CPU time of a single thread.")
    parser.add_argument("--json", action="store_true", help="Measure one model in this process and print JSON.")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure(options.models[0], options.turns, options.cpu_time)))
        return
    checkouts = {"": Path(__file__).parents[1]} | ({"other ": options.against.resolve()} if options.against else {})
    for row, name in enumerate(options.models):
        found = {
            label + what: value
            for label, path in checkouts.items()
            for what, value in of_checkout(path, name, options.turns, options.cpu_time).items()
        }
        if row == 0:
            print(" | ".join(["model", *found]))
        print(" | ".join([name, *(f"{value:.1f}" for value in found.values())]), flush=True)


if __name__ == "__main__":
    main()
