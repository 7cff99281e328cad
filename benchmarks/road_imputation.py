"""Time to impute an image of 224x224 pixels at 9 percentages of removed pixels, compared with SciPy's sparse solver.

    python benchmarks/road_imputation.py --device cpu
    python benchmarks/road_imputation.py --device cuda --images 16

The order of removal is a smooth map, similar to a CAM, or noise. SciPy solves the same system in float64 on one core.
Its time includes the construction of the matrix. The largest difference is over all percentages.
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
    parser.add_argument("--images", type=int, default=1, help="Batch size.")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    image = sum(interpolate(torch.randn(1, 3, n, n), (SIZE, SIZE), mode="bicubic") for n in (4, 16, 64))
    orders = {
        "smooth": interpolate(torch.randn(1, 1, 7, 7), (SIZE, SIZE), mode="bilinear")[0, 0],
        "noise": torch.randn(SIZE, SIZE),
    }
    for name, order in orders.items():
        ranks = order.flatten().argsort(descending=True).argsort().view(SIZE, SIZE)
        missing = torch.stack([ranks < round(SIZE * SIZE * percent / 100) for percent in range(10, 100, 10)])
        start = time.perf_counter()
        expected = np.stack([solved(image[0].double().numpy(), mask.numpy()) for mask in missing])
        scipy_seconds = time.perf_counter() - start
        batch = image.expand(len(missing), -1, -1, -1).repeat(options.images, 1, 1, 1).to(options.device)
        holes = missing.repeat(options.images, 1, 1).to(options.device)
        seconds = min(timed(batch, holes) for _ in range(options.repeats + 1)) / options.images
        difference = np.abs(impute(batch, holes)[: len(missing)].cpu().double().numpy() - expected).max()
        print(f"{name}: {seconds:.4f} s per image, SciPy {scipy_seconds:.2f} s, largest difference {difference:.1e}")


def timed(images: Tensor, missing: Tensor) -> float:
    start = time.perf_counter()
    impute(images, missing).sum().item()
    return time.perf_counter() - start


def solved(image: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Solve the sparse system of one image for all channels together."""
    number = np.full(missing.shape, -1)
    y, x = np.nonzero(missing)
    number[y, x] = np.arange(len(y))
    right, degree = np.zeros((len(y), len(image))), np.zeros(len(y))
    rows, columns, entries = [], [], []
    for (down, across), weight in WEIGHTS.items():
        inside = (y + down >= 0) & (y + down < SIZE) & (x + across >= 0) & (x + across < SIZE)
        pixels = np.nonzero(inside)[0]
        degree[pixels] += weight
        below, beside = y[pixels] + down, x[pixels] + across
        unknown = missing[below, beside]
        rows.append(pixels[unknown])
        columns.append(number[below[unknown], beside[unknown]])
        entries.append(np.full(unknown.sum(), -weight))
        right[pixels[~unknown]] += weight * image[:, below[~unknown], beside[~unknown]].T
    indices = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.coo_matrix((np.concatenate(entries), indices), (len(y), len(y))) + sparse.diags(degree)
    filled = image.copy()
    filled[:, y, x] = sparse.linalg.spsolve(matrix.tocsc(), right).T
    return filled


if __name__ == "__main__":
    main()
