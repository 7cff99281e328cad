"""Perturbation: baselines, rank-threshold masks, and scoring many images within a memory budget."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from xai_core.errors import InputShapeError, OptionError, OutOfMemoryWarning
from xai_core.targets.measures import wide
from xai_core.targets.target import BoundTarget

Baseline = str | Tensor
"""`zero`, `mean`, `blur`, `noise`, or a tensor: see `baseline_images`."""
BLUR_SIZE, BLUR_SIGMA = 11, 5.0


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; on the CPU, and where not PyTorch's allocator asked for it, the message alone says so."""
    said = ("can't allocate memory", "CUDA error: out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(one in str(error) for one in said)
    )


class ModelScorer:
    """Scores images for the targets of a batch, in blocks that fit the memory budget, on the device.

    Parameters
    ----------
    run
        The model without a graph: [N,C,H,W], and the number [N] of the image of the batch that each is, to
        its output.
    targets
        The batch's targets.
    block
        How many images go through the model at once. Where the device runs out of memory it is half of what was
        tried, down to one, stays so, and an `OutOfMemoryWarning` says it.
    """

    def __init__(self, run: Callable[[Tensor, Tensor], Any], targets: Sequence[BoundTarget], block: int) -> None:
        self._run, self._targets, self._target = run, targets, targets[0]
        self._batch = targets[0].batch
        self._limit = [block]

    def of_target(self, index: int) -> "ModelScorer":
        """The same scorer for another of the targets."""
        other = copy.copy(self)
        other._target = self._targets[index]
        return other

    @property
    def block(self) -> int:
        """How many images go through the model at once."""
        return self._limit[0]

    @property
    def targets(self) -> int:
        """For how many targets `each` scores."""
        return len(self._targets)

    def __call__(
        self,
        images: Float[Tensor, "N ..."],
        of: Int[Tensor, " N"] | None = None,
        kind: str = "logit",
    ) -> Float[Tensor, " N"]:
        """Score N images for the target; see `each`."""
        return self._scores(images, of, kind, [self._target])[0]

    def each(
        self,
        images: Float[Tensor, "N ..."],
        of: Int[Tensor, " N"] | None = None,
        kind: str = "logit",
    ) -> Float[Tensor, "V N"]:
        """Score N images for each of the batch's V targets, with one forward.

        Parameters
        ----------
        images
            As the model takes them.
        of
            To which image of the batch each belongs, and so which target it is scored for. Default: N is a
            multiple of B, and the images of the batch come in order, each with its N / B variants together.
        kind
            `logit`, or `probability` (softmax). A target that is a callable is scored by what it gives.
        """
        return self._scores(images, of, kind, self._targets)

    def _scores(
        self, images: Tensor, of: Tensor | None, kind: str, targets: Sequence[BoundTarget]
    ) -> Float[Tensor, "V N"]:
        if of is None:
            if len(images) % self._batch:
                raise InputShapeError(
                    f"{len(images)} images are not a multiple of the batch of {self._batch}; give `of=`, whose each is"
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
                said = f"out of memory: perturbed images are scored {tried // 2} at once, not {tried}"
                warnings.warn(said, OutOfMemoryWarning, stacklevel=3)
                continue
            scores.append(
                torch.stack([wide(target.model_score(output, of[part], kind)).detach() for target in targets])
            )
            start = part.stop
        return torch.cat(scores, 1)

    def tiles(self, points: int) -> Iterator[tuple[slice, slice]]:
        """Each image of the batch at each of `points` points, as (images, points) of at most one block each.

        Where a block holds all points of an image, a tile is some images at all points; otherwise one image
        at some points, in parts of nearly equal size.
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
        """The numbers 0 to `count` in order, in slices of one block each.

        `wanted`, on the device, may say that only so many of them are of any use. The device is not waited
        for: slices past it are left out once it is known.
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
    """Send a number on the device to the host without waiting; the function gives it once it is there."""
    if number.device.type != "cuda":
        [value] = number.reshape(1).tolist()
        return lambda: value
    host = torch.empty(1, dtype=number.dtype, pin_memory=True).copy_(number, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return lambda: host.tolist()[0] if event.query() else None


def baseline_images(baseline: Baseline, images: Float[Tensor, "B C H W"], seed: int = 0) -> Float[Tensor, "B C H W"]:
    """What pixels are replaced by, in the normalized space that the model takes.

    `zero`; `mean`, each image's own mean color; `blur`, as in RISE's reference code; `noise`, standard
    normal, seeded, the same for every image of the batch; or a tensor that broadcasts to [B,C,H,W].
    """
    if isinstance(baseline, Tensor):
        try:
            return baseline.to(images).expand_as(images)
        except RuntimeError:
            raise OptionError(
                f"a baseline tensor must broadcast to {list(images.shape)}, got {list(baseline.shape)}"
            ) from None
    match baseline:
        case "zero":
            return torch.zeros_like(images)
        case "mean":
            return images.mean((2, 3), keepdim=True).expand_as(images)
        case "blur":
            return blur(images)
        case "noise":
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(images.shape[1:], generator=generator).to(images, non_blocking=True)
            return noise.expand_as(images)
    raise OptionError(f"baseline must be zero, mean, blur, noise or a tensor, not {baseline!r}")


def blur(images: Float[Tensor, "B C H W"], size: int = BLUR_SIZE, sigma: float = BLUR_SIGMA) -> Tensor:
    """Blur as RISE's reference code does: a unit impulse of `size` smoothed by a Gaussian, zero padding.

    The impulse is smoothed by a Gaussian cut at four sigma with reflecting boundary, so that it sums to
    one; it is separable, and so is applied row by row and column by column.
    """
    line = _smoothed_impulse(size, sigma).to(images, non_blocking=True)
    channels, pad = images.shape[1], size // 2
    rows = F.conv2d(images, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), padding=(pad, 0), groups=channels)
    return F.conv2d(rows, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), padding=(0, pad), groups=channels)


def _smoothed_impulse(size: int, sigma: float) -> Float[Tensor, " size"]:
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gaussian = (-0.5 * (offsets / sigma) ** 2).exp()
    gaussian /= gaussian.sum()
    places = size // 2 + offsets.long()
    period = places % (2 * size)
    reflected = torch.where(period < size, period, 2 * size - 1 - period)
    return torch.zeros(size, dtype=torch.float64).index_add(0, reflected, gaussian)


def ranks(saliency: Float[Tensor, "B H W"], ties: str = "stable", seed: int = 0) -> Int[Tensor, "B H W"]:
    """The rank of each pixel, 0 for the most salient; equal pixels by index, or in a seeded random order."""
    flat = saliency.flatten(1)
    count = flat.shape[1]
    if ties == "stable":
        order = flat.argsort(dim=1, descending=True, stable=True)
    elif ties == "random":
        shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(
            flat.device, non_blocking=True
        )
        order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    else:
        raise OptionError(f"ties must be stable or random, not {ties!r}")
    places = torch.arange(count, device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(saliency)


def steps_of(size: tuple[int, int], steps: int | None) -> list[int]:
    """How many pixels are replaced at each point of a curve, from none to all: W per step, or `steps` equal parts."""
    pixels = math.prod(size)
    if steps is None:
        return [*range(0, pixels, size[1]), pixels]
    if not 1 <= steps <= pixels:
        raise OptionError(f"steps must be between 1 and the number of pixels, or of squares, {pixels}; got {steps}")
    return [round(i * pixels / steps) for i in range(steps + 1)]
