"""Scores many images for a target, in blocks that fit the memory budget."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from xai_core.errors import InputShapeError, OutOfMemoryWarning
from xai_core.memory_errors import out_of_memory
from xai_core.precision import at_least_float32
from xai_core.targets.target import BoundTarget


class ModelScorer:
    """Scores images for the targets of a batch on the model's device, in blocks that fit the memory budget.

    Parameters
    ----------
    run
        Runs the model without gradients. Its arguments are N images and `of` [N]: for each image, the index of its
        original in the batch. It returns the model's output.
    targets
        The targets of the batch.
    block
        Number of images in one forward pass. If the device runs out of memory, the block is
        halved, repeatedly if needed, with an `OutOfMemoryWarning`. It is not increased again.
    """

    def __init__(self, run: Callable[[Tensor, Tensor], Any], targets: Sequence[BoundTarget], block: int) -> None:
        self._run, self._targets, self._target = run, targets, targets[0]
        self._batch = targets[0].batch
        self._limit = [block]

    def of_target(self, index: int) -> "ModelScorer":
        """Return a scorer for the target with this index, with the same settings."""
        other = copy.copy(self)
        other._target = self._targets[index]
        return other

    @property
    def block(self) -> int:
        """The number of images in one forward pass."""
        return self._limit[0]

    @property
    def targets(self) -> int:
        """The number V of targets that `each` scores."""
        return len(self._targets)

    def __call__(
        self,
        images: Shaped[Tensor, "N ..."],
        of: Int[Tensor, " N"] | None = None,
        kind: str = "logit",
    ) -> Float[Tensor, " N"]:
        """Return the scores of N images for the target. See `each`."""
        return self._scores(images, of, kind, [self._target])[0]

    def each(
        self,
        images: Shaped[Tensor, "N ..."],
        of: Int[Tensor, " N"] | None = None,
        kind: str = "logit",
    ) -> Float[Tensor, "V N"]:
        """Return the scores of N images for each of the batch's V targets, from one forward pass of each image.

        Parameters
        ----------
        images
            The images, as the model receives them.
        of
            For each image, the index of its original in the batch. The image is scored for the target of its original.
            Default: N is a multiple of B, and the N / B variants of an image are adjacent, in the order of the
            batch.
        kind
            `logit` or `probability` (softmax). If the target is a function, `kind` has no effect.

        Raises
        ------
        InputShapeError
            If N is not a multiple of B and `of` is missing.
        """
        return self._scores(images, of, kind, self._targets)

    def _scores(
        self, images: Tensor, of: Tensor | None, kind: str, targets: Sequence[BoundTarget]
    ) -> Float[Tensor, "V N"]:
        if of is None:
            if len(images) % self._batch:
                raise InputShapeError(
                    f"the number of images ({len(images)}) is not a multiple of the batch size ({self._batch}). Pass "
                    "`of=`: for each image, the index of its original in the batch"
                )
            of = torch.arange(len(images), device=images.device) // (len(images) // self._batch)
        scores, start = [], 0
        while start < len(images):
            part = slice(start, start + self.block)
            try:
                output = self._run(images[part], of[part])
            except (RuntimeError, MemoryError) as error:
                tried = len(images[part])
                if tried == 1 or not out_of_memory(error):
                    raise
                self._limit[0] = tried // 2
                message = f"out of memory: {tried // 2} instead of {tried} perturbed images are scored at once"
                warnings.warn(message, OutOfMemoryWarning, stacklevel=3)
                continue
            scores.append(
                torch.stack(
                    [at_least_float32(target.model_score(output, of[part], kind)).detach() for target in targets]
                )
            )
            start = part.stop
        return torch.cat(scores, 1)

    def tiles(self, points: int) -> Iterator[tuple[slice, slice]]:
        """Split the batch, with `points` variants of each image, into tiles that fit into a block.

        A tile is a pair of slices: images and points. If all points of an image fit into a block, a tile contains all
        points of several images. Otherwise, it contains some points of one image, and the tiles of an image have nearly
        equal sizes.
        """
        image = 0
        while image < self._batch:
            images = slice(image, min(image + max(1, self.block // max(1, points)), self._batch))
            point = 0
            while point < points:
                parts = math.ceil((points - point) / self.block)
                part = slice(point, point + math.ceil((points - point) / parts))
                yield images, part
                point = part.stop
            image = images.stop

    def blocks(self, count: int, wanted: Int[Tensor, ""] | None = None) -> Iterator[slice]:
        """Yield the indices 0 to `count` in order, in slices of one block.

        Parameters
        ----------
        count
            The number of indices.
        wanted
            The number of indices that are needed, as a tensor on the device. It is copied to the host without waiting.
            Once it has arrived, slices beyond this number are omitted.
        """
        known = (lambda: count) if wanted is None else _arriving(wanted)
        start = 0
        while True:
            limit = known()
            stop = min(start + self.block, count if limit is None else limit)
            if stop <= start:
                return
            yield slice(start, stop)
            start = stop


def _arriving(number: Int[Tensor, ""]) -> Callable[[], int | None]:
    """Copy a number to the host without waiting, and return a function that returns it once it has arrived."""
    if number.device.type != "cuda":
        [value] = number.reshape(1).tolist()
        return lambda: value
    host = torch.empty(1, dtype=number.dtype, pin_memory=True).copy_(number, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return lambda: host.tolist()[0] if event.query() else None
