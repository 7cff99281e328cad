"""Seconds to impute one image at 224x224 with 9 percentages removed: here, and by SciPy's sparse solver.

    python benchmarks/road_imputation.py --device cpu
    python benchmarks/road_imputation.py --device cuda --images 16

The pixels go in the order of a smooth map, as of a CAM, and of noise. SciPy solves the same system in float64 on one
core, its time with the building of the matrix; the largest difference is over all percentages.
"""

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import interpolate

from xai_faithfulness.imputation import impute

SIZE = 224
WEIGHTS = {
    (down, across): 1 / 12 if down and across else 1 / 6
    for down in (-1, 0, 1)
    for across in (-1, 0, 1)
    if down or across
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=1, help="how many at once")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    image = sum(interpolate(torch.randn(1, 3, n, n), (SIZE, SIZE), mode="bicubic") for n in (4, 16, 64))
    orders = {
        "smooth": interpolate(torch.randn(1, 1, 7, 7), (SIZE, SIZE), mode="bilinear")[0, 0],
        "noise": torch.randn(SIZE, SIZE),
    }
    for name, order in orders.items():
        places = order.flatten().argsort(descending=True).argsort().view(SIZE, SIZE)
        missing = torch.stack([places < round(SIZE * SIZE * percent / 100) for percent in range(10, 100, 10)])
        start = time.perf_counter()
        expected = np.stack([solved(image[0].double().numpy(), one.numpy()) for one in missing])
        theirs = time.perf_counter() - start
        given = image.expand(len(missing), -1, -1, -1).repeat(options.images, 1, 1, 1).to(options.device)
        holes = missing.repeat(options.images, 1, 1).to(options.device)
        seconds = min(timed(given, holes) for _ in range(options.repeats + 1)) / options.images
        difference = np.abs(impute(given, holes)[: len(missing)].cpu().double().numpy() - expected).max()
        print(f"{name}: {seconds:.4f} s an image, SciPy {theirs:.2f} s, largest difference {difference:.1e}")


def timed(images: Tensor, missing: Tensor) -> float:
    start = time.perf_counter()
    impute(images, missing).sum().item()
    return time.perf_counter() - start


def solved(image: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The sparse system of one image, solved for all channels together."""
    number = np.full(missing.shape, -1)
    y, x = np.nonzero(missing)
    number[y, x] = np.arange(len(y))
    right, degree = np.zeros((len(y), len(image))), np.zeros(len(y))
    rows, columns, entries = [], [], []
    for (down, across), weight in WEIGHTS.items():
        inside = (y + down >= 0) & (y + down < SIZE) & (x + across >= 0) & (x + across < SIZE)
        of = np.nonzero(inside)[0]
        degree[of] += weight
        below, beside = y[of] + down, x[of] + across
        there = missing[below, beside]
        rows.append(of[there])
        columns.append(number[below[there], beside[there]])
        entries.append(np.full(there.sum(), -weight))
        right[of[~there]] += weight * image[:, below[~there], beside[~there]].T
    where = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.coo_matrix((np.concatenate(entries), where), (len(y), len(y))) + sparse.diags(degree)
    filled = image.copy()
    filled[:, y, x] = sparse.linalg.spsolve(matrix.tocsc(), right).T
    return filled


if __name__ == "__main__":
    main()
