"""Oracles for the layer that the engine reads. They use the model and the public interface, and none of its code.

- *Places*: features respond to changes of the image where the engine says that they lie.
- *Gradient*: the captured gradient is that of plain autograd, and replaced features change the score as they should.

Each oracle returns `correct`, or what is wrong.
"""

from collections.abc import Sequence

import torch

from support.oracles import Oracle, gradient_error, places_of, substitution_error

CORRECT = "correct"


def places(oracle: Oracle, lattice: int, textures: Sequence[int], fused: bool) -> str:
    """Return whether the features respond to a change of the image in its place, for `lattice` places per axis.

    If a number of random images in `textures` does not show the order, the next one follows.

    Features may be fused from coarser ones, as in a decoder for segmentation. Each stride shifts features by up to half
    a cell, so the offset of fused features is measured in cells of at least an eighth of the image.
    """
    said = CORRECT
    for count in textures:
        said = places_with(oracle, lattice, fused, count)
        if said == CORRECT:
            break
    return said


def places_with(oracle: Oracle, lattice: int, fused: bool, textures: int) -> str:
    """Return whether the features respond in place, with a number of random images."""
    images = oracle.images
    size = images.shape[-2], images.shape[-1]
    fit = places_of(lambda changed: oracle.features(changed.to(images.dtype)), size, lattice, textures)
    grid = oracle.read.activation.shape[2:]
    axes = [axis for axis in (0, 1) if grid[axis] > 1]
    if any(fit.r2[axis] < 0.8 for axis in axes):
        return f"order {fit.r2[0]:.2f}, {fit.r2[1]:.2f}"
    if any(fit.offset[axis] > 0.6 * (max(1, grid[axis] / 8) if fused else 1) for axis in axes):
        return f"offset {fit.offset[0]:.2f}, {fit.offset[1]:.2f} cells"
    return CORRECT


def gradient(oracle: Oracle) -> str:
    """Return whether the captured gradient and the effect of replaced features are those of plain PyTorch."""
    tolerance = 1e-6 if oracle.images.dtype == torch.float64 else 1e-3
    for name, error_of in (("gradient", gradient_error), ("effect of replaced features", substitution_error)):
        error = error_of(oracle)
        if error > tolerance:
            return f"the {name} differs by {error:.1e}"
    return CORRECT
