"""A model to examine, and how it is prepared: random weights through which the image reaches every layer."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from support import seeding

Forward = Callable[[nn.Module, Tensor], Any]
Score = Callable[[Any], Tensor]
"""Returns the score [B] of the target in a model's output."""
WIDTHS = (1 / 4, 1 / 16)
"""The widths of the windows that kernels are weighted by, as fractions of the kernels."""
LARGEST = 500_000_000
"""The number of parameters above which a model is shortened."""
LONGEST = 4
"""The number of equal blocks in a sequence of a shortened model."""


class NotBuiltError(Exception):
    """The model cannot be built here, or takes no images. The message states the reason."""


@dataclass(frozen=True)
class Built:
    """A model in evaluation mode, the (H, W) of its images, and how to call it if it takes more than images."""

    model: nn.Module
    size: tuple[int, int]
    forward: Forward | None = None

    def __call__(self, images: Tensor) -> Any:
        with torch.compiler.set_stance("force_eager"):  # FlexAttention compiles itself, without the hooks of an oracle
            return self.model(images) if self.forward is None else self.forward(self.model, images)


@dataclass(frozen=True)
class Case:
    """A model to examine.

    Attributes
    ----------
    library, family, name
        Where it comes from. A family is a module of torchvision, timm or vit-pytorch, a model type of transformers, or
        an architecture of segmentation-models-pytorch.
    make
        Builds the model without weights from the network.
    larger
        Builds it for larger images, if it was built for the smallest.
    """

    library: str
    family: str
    name: str
    make: Callable[[], Built]
    larger: Callable[[], Built] | None = None

    @property
    def key(self) -> str:
        """The unique name `library:family:model`."""
        return f"{self.library}:{self.family}:{self.name}"

    def build(self, seed: int = 0, width: float = WIDTHS[0]) -> Built:
        """Build the model, and prepare its weights. The windows of kernels have the `width`."""
        seeding.seed(seed)
        built = self.make()
        shorten(built.model)
        prepare(built, width)
        built.model.eval().requires_grad_(False)
        if not differentiable(built):
            built.model.requires_grad_()  # it takes indices of colors, so gradients begin at their embedding
        return built


def smallest(
    make: Callable[..., nn.Module], sides: Sequence[int], options: Callable[[int], list[dict[str, Any]]]
) -> Built:
    """Return the model for the smallest square images that it accepts.

    `options(side)` returns arguments of `make` that may set the side, in order of preference.
    """
    failure: Exception | None = None
    plain: nn.Module | None = None
    for side in sides:
        for arguments in options(side):
            try:
                if arguments:
                    model = make(**arguments).eval()
                else:
                    model = plain = plain or make().eval()
                with torch.no_grad():
                    model(torch.zeros(1, 3, side, side))
                return Built(model, (side, side))
            except Exception as error:  # models raise various errors for sizes that they do not support
                failure = error
    assert failure is not None
    raise failure


def differentiable(built: Built) -> bool:
    """Return whether the output depends on the images through operations that have a gradient."""
    try:
        output = built(torch.randn(1, 3, *built.size).requires_grad_())
    except NotImplementedError:  # FlexAttention on the CPU
        return True
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(output))


def shorten(model: nn.Module) -> None:
    """Remove all but the first blocks of each sequence of equal blocks, if the model is very large."""
    if sum(parameter.numel() for parameter in model.parameters()) <= LARGEST:
        return
    for sequence in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        if len({structure(block) for block in sequence}) == 1:
            del sequence[LONGEST:]


def structure(block: nn.Module) -> tuple[Any, ...]:
    """Return the class of a block, and the names and shapes of its parameters."""
    return type(block), *((name, parameter.shape) for name, parameter in block.named_parameters())


def prepare(built: Built, width: float = WIDTHS[0]) -> None:
    """Set norm weights to 1, fill weights of zeros, and set the statistics of batch norm to those of random images.

    With statistics or weights from the initialization, the signal of the image vanishes in deep networks. Kernels are
    weighted by a window, and biases of attention by offset are largest for no offset. Otherwise, features after many
    random kernels respond to all of the image alike, unlike those of trained networks.
    """
    modules = [*built.model.modules()]
    padding = dict(padded(built.model))
    with torch.no_grad():
        for module in modules:
            if isinstance(getattr(module, "attention_biases", None), nn.Parameter):  # [heads, offsets]
                module.attention_biases.zero_()[:, 0] = 5
            if isinstance(getattr(module, "pos_bias", None), nn.Embedding):  # [offsets, heads]
                module.pos_bias.weight.zero_()[0] = 5
            weight = getattr(module, "weight", None)
            if not isinstance(weight, Tensor) or weight.is_meta:
                continue
            if isinstance(module, nn.Conv2d):
                rows, columns = (
                    window(module, axis, width, padding.get(module, (0, 0))[axis]).to(weight) for axis in (0, 1)
                )
                weight.mul_(rows[:, None] * columns)
            if "norm" in type(module).__name__.lower() and weight.ndim == 1:
                weight.fill_(0 if "Gemma" in type(module).__name__ else 1)  # its factor is 1 + weight
        for parameter in built.model.parameters():
            if parameter.ndim > 1 and parameter.is_floating_point() and not parameter.any():
                nn.init.normal_(parameter, std=0.02)
            if parameter.numel() > 1 and 0 < parameter.amax() == parameter.amin() <= 0.1:
                parameter.fill_(1)  # the scale of a residual branch
        norms = [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.train()
            norm.momentum = None  # the mean over all batches
            norm.reset_running_stats()
        if norms:
            for _ in range(2):
                built(torch.randn(4, 3, *built.size))
        for norm in norms:
            norm.eval()


def padded(model: nn.Module) -> Iterator[tuple[nn.Module, tuple[int, int]]]:
    """Yield each convolution that follows a layer of zero padding, with the padding at the top and on the left."""
    for sequence in model.modules():
        if isinstance(sequence, nn.Sequential):
            for before, module in itertools.pairwise(sequence):
                if isinstance(before, nn.ZeroPad2d) and isinstance(module, nn.Conv2d):
                    left, _, top, _ = before.padding
                    yield module, (top, left)


def window(convolution: nn.Conv2d, axis: int, width: float, before: int = 0) -> Tensor:
    """Return weights for the taps of a kernel, with a maximum of 1 in the middle of what an output stands for.

    Output `i` stands for the inputs from `i * stride` to `(i + 1) * stride - 1`. If a kernel has no padding, its inputs
    are padded before, so that there is an output for every `stride` inputs. `before` is the padding by another layer.
    """
    size, stride, dilation = (getattr(convolution, name)[axis] for name in ("kernel_size", "stride", "dilation"))
    middle = (size - 1) / 2
    padding = 0 if isinstance(convolution.padding, str) else convolution.padding[axis]
    if before and stride == 1:
        middle = before / dilation
    elif stride > 1:
        padding = padding or max(0, dilation * (size - 1) + 1 - stride) // 2
        middle = min(middle, (padding + (stride - 1) / 2) / dilation)
    elif padding:
        middle = min(middle, padding / dilation)
    weights = torch.exp2(-((torch.arange(size) - middle) / (width * max(4, size))).square())
    return weights / weights.amax()
