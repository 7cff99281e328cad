"""What a benchmark would take: forwards, hours, shards and bytes, from the time of a forward that is measured here.

A pass that all one-pass methods share is counted as three forwards, one forward and one backward. A walk of S steps
takes S - 1 forwards of each map; its ends are scored once an image. `--rate` gives the forwards a second of another
machine.
"""

import argparse
import time

import torch

import xai_core as xai
from xai_core.benchmarking.rows import Curve, Row, encode_curves, encode_rows

METHODS = (
    "grad-cam,grad-cam++,xgrad-cam,layer-cam,hires-cam,eigen-cam,finer-cam,conceptor-cam,score-cam,random,center,edges"
)
STEPS = {"deletion": 224, "insertion": 224}
PASS = 3


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--model", default="efficientnet-lite0")
    given.add_argument("--methods", default=METHODS)
    given.add_argument("--images", type=int, default=50_000)
    given.add_argument("--steps", type=int, default=224, help="of deletion and of insertion")
    given.add_argument("--shard", type=int, default=64)
    given.add_argument("--workers", type=int, default=8, help="actors, each with a device of its own")
    given.add_argument("--rate", type=float, help="forwards a second of one device; measured here if left out")
    options = given.parse_args()
    loaded = xai.load_model(options.model)
    image = loaded.preprocess(torch.rand(3, 256, 256))
    engine = xai.Engine(loaded)
    adapter = engine.adapter(image[None])
    methods = [xai.create_explainer(name) for name in options.methods.split(",")]
    explaining = PASS + sum(method.forward_passes(adapter) - 1 for method in methods)
    scoring = 3 + len(methods) * 2 * (options.steps - 1)
    rate = options.rate or measured(engine, image)
    seconds = (explaining + scoring) / rate
    rows, curves = size_of_a_row(options.steps)
    count = options.images * len(methods) * len(STEPS)
    print(f"{options.model}, {options.images:,} images x {len(methods)} methods x {len(STEPS)} metrics")
    print(f"| forwards an image, to explain | {explaining:,} |")
    print(f"| forwards an image, to score | {scoring:,} |")
    print(f"| forwards a second of one device | {rate:,.0f} |")
    print(f"| seconds an image | {seconds:.2f} |")
    print(f"| device hours | {options.images * seconds / 3600:,.0f} |")
    print(f"| hours on {options.workers} devices | {options.images * seconds / 3600 / options.workers:,.1f} |")
    shards, minutes = -(-options.images // options.shard), options.shard * seconds / 60
    print(f"| shards of {options.shard} images, and minutes of one | {shards:,}, {minutes:.1f} |")
    print(f"| rows, and their bytes | {count:,}, {count * rows / 1e6:,.0f} MB |")
    print(f"| bytes of curves | {count * curves / 1e6:,.0f} MB |")


def measured(engine: xai.Engine, image: torch.Tensor, steps: int = 65) -> float:
    """Forwards a second of a walk, perturbing and all, the best of four."""
    maps = engine.explain(image[None], "random")
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        engine.evaluate(image[None], maps, f"deletion:steps={steps}")
        taken.append(time.perf_counter() - start)
    return (steps + 1) / min(taken)


def size_of_a_row(steps: int, count: int = 2000) -> tuple[float, float]:
    """Bytes of a row and of a curve, as the benchmark writes them, of random numbers."""
    numbers = torch.rand(count, 2, dtype=torch.float64).tolist()
    rows = [
        Row("model", "imagenet:PATH", i, f"ILSVRC2012_val_{i:08}", 7, "grad-cam", "deletion", 7, *numbers[i][:1])
        for i in range(count)
    ]
    points = torch.rand(count // 10, steps + 1).tolist()
    fractions = [i / steps for i in range(steps + 1)]
    curves = [Curve("model", i, f"image-{i}", "grad-cam", "deletion", fractions, one) for i, one in enumerate(points)]
    return len(encode_rows(rows)) / len(rows), len(encode_curves(curves)) / len(curves)


if __name__ == "__main__":
    main()
