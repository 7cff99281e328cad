"""Estimate what a benchmark costs: forward passes, hours, shards and bytes.

The script measures forward passes per second on this machine. `--rate` sets the number for another machine.

The shared pass of all single-pass methods counts as three forward passes: one forward pass, and a backward pass that
costs about two. A perturbation curve of S steps takes S - 1 forward passes per map. Its two ends are scored once per
image.
"""

import argparse
import time

import torch

import xai_core as xai
from xai_core.benchmarking.rows import CurveRow, ScoreRow, encode_curves, encode_rows

METHODS = (
    "grad-cam,grad-cam++,xgrad-cam,layer-cam,hires-cam,eigen-cam,finer-cam,conceptor-cam,score-cam,random,center,edges"
)
METRICS = ("deletion", "insertion")
SHARED_PASS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet-lite0", help="Model.")
    parser.add_argument("--methods", default=METHODS, help="Methods, separated by commas.")
    parser.add_argument("--images", type=int, default=50_000, help="Number of images.")
    parser.add_argument("--steps", type=int, default=224, help="Number of steps of deletion and of insertion.")
    parser.add_argument("--shard", type=int, default=64, help="Number of images per shard.")
    parser.add_argument("--workers", type=int, default=8, help="Number of actors, each with its own device.")
    parser.add_argument("--rate", type=float, help="Forward passes per second of one device. [default: measured]")
    options = parser.parse_args()
    loaded = xai.load_model(options.model)
    image = loaded.preprocess(torch.rand(3, 256, 256))
    engine = xai.Engine(loaded)
    adapter = engine.adapter(image[None])
    methods = [xai.create_explainer(name) for name in options.methods.split(",")]
    explaining = SHARED_PASS + sum(method.forward_passes(adapter) - 1 for method in methods)
    scoring = 3 + len(methods) * len(METRICS) * (options.steps - 1)
    rate = options.rate or measured_rate(engine, image)
    seconds = (explaining + scoring) / rate
    row_bytes, curve_bytes = bytes_per_row(options.steps)
    rows = options.images * len(methods) * len(METRICS)
    print(f"{options.model}, {options.images:,} images x {len(methods)} methods x {len(METRICS)} metrics")
    print(f"| forward passes per image to explain | {explaining:,} |")
    print(f"| forward passes per image to score | {scoring:,} |")
    print(f"| forward passes per second of one device | {rate:,.0f} |")
    print(f"| seconds per image | {seconds:.2f} |")
    print(f"| device hours | {options.images * seconds / 3600:,.0f} |")
    print(f"| hours on {options.workers} devices | {options.images * seconds / 3600 / options.workers:,.1f} |")
    shards, minutes = -(-options.images // options.shard), options.shard * seconds / 60
    print(f"| shards of {options.shard} images, and minutes per shard | {shards:,}, {minutes:.1f} |")
    print(f"| rows, and their size | {rows:,}, {rows * row_bytes / 1e6:,.0f} MB |")
    print(f"| size of the curves | {rows * curve_bytes / 1e6:,.0f} MB |")


def measured_rate(engine: xai.Engine, image: torch.Tensor, steps: int = 65) -> float:
    """Measure the forward passes per second of a perturbation curve, perturbation included, as the best of four."""
    maps = engine.explain(image[None], "random")
    durations = []
    for _ in range(4):
        start = time.perf_counter()
        engine.evaluate(image[None], maps, f"deletion:steps={steps}")
        durations.append(time.perf_counter() - start)
    return (steps + 1) / min(durations)


def bytes_per_row(steps: int, count: int = 2000) -> tuple[float, float]:
    """Measure the bytes per row and per curve in the files of a benchmark, with random scores."""
    scores = torch.rand(count, dtype=torch.float64).tolist()
    rows = [
        ScoreRow("model", "imagenet:PATH", i, f"ILSVRC2012_val_{i:08}", 7, "grad-cam", "deletion", 7, scores[i])
        for i in range(count)
    ]
    points = torch.rand(count // 10, steps + 1).tolist()
    fractions = [i / steps for i in range(steps + 1)]
    curves = [
        CurveRow("model", i, f"image-{i}", "grad-cam", "deletion", fractions, curve) for i, curve in enumerate(points)
    ]
    return len(encode_rows(rows)) / len(rows), len(encode_curves(curves)) / len(curves)


if __name__ == "__main__":
    main()
