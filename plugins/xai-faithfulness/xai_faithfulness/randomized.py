"""Copies of a model whose parameters are drawn anew, module by module."""

import copy
import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from xai_core.plugin import UnsuitableError, modules_of
from xai_faithfulness.rng import OwnGenerator


def modules_from_the_top(model: nn.Module) -> list[str]:
    """The names of the modules that have parameters of their own, in the reverse order of their definition."""
    named = [name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None]
    return named[::-1]


def randomized(model: nn.Module, places: Sequence[int], cascading: bool, seed: int = 0) -> Iterator[nn.Module]:
    """Give a copy of the model for each of the places, which are numbers of modules from the top, in increasing order.

    Where `cascading`, all modules from the top to the place are drawn anew, otherwise that one alone. It is one copy,
    changed between the steps; the model itself is left alone. What a module draws depends on the seed and its own
    number, so that it is the same in either way, on every device, and for models of any precision.
    """
    changed = modules_of(model, owned)
    stream = random.Random(seed)
    names = modules_from_the_top(model)
    seeds = [stream.getrandbits(63) for _ in names]
    start = 0
    for place in places:
        for number in range(start if cascading else place, place + 1):
            redraw(changed.get_submodule(names[number]), seeds[number])
        yield changed
        start = place + 1
        if not cascading:
            restore(changed.get_submodule(names[place]), model.get_submodule(names[place]))


def owned(tensor: Tensor) -> Tensor:
    """A copy of a tensor, a parameter of a parameter."""
    return copy.deepcopy(tensor) if tensor.is_leaf else tensor.detach().clone()


@torch.no_grad()
def redraw(module: nn.Module, seed: int) -> None:
    """Draw a module's own parameters anew, on the host in float32, and leave torch's generators and its children alone.

    By its `reset_parameters`, where it has one, which also resets the running statistics of norms. What that does not
    fill, and where there is none, from a normal distribution of the mean and the standard deviation that the parameter
    has, or of its size, where all its numbers are equal.

    Raises
    ------
    UnsuitableError
        Where a parameter is not of floating-point numbers.
    """
    parameters, buffers = dict(module.named_parameters(recurse=False)), dict(module.named_buffers(recurse=False))
    for name, parameter in parameters.items():
        if not parameter.is_floating_point():
            raise UnsuitableError(
                f"parameter-randomization draws floating-point numbers, and {name!r} of {type(module).__name__} holds "
                f"{parameter.dtype}; give the model before it was quantized"
            )
    with OwnGenerator(seed):
        drawn = reset(module) if callable(getattr(module, "reset_parameters", None)) else {}
        for name, parameter in parameters.items():
            if parameter.numel() and (name not in drawn or drawn[name].isnan().any()):
                drawn[name] = alike(parameter)
    for name, tensor in (parameters | buffers).items():
        tensor.copy_(drawn.get(name, tensor))


def reset(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a module that has nothing but `reset_parameters`: NaN where that fills nothing."""
    fresh = modules_of(module, unlearnt)
    fresh.reset_parameters()  # type: ignore[operator]
    return {**dict(fresh.named_parameters(recurse=False)), **dict(fresh.named_buffers(recurse=False))}


def unlearnt(tensor: Tensor) -> Tensor:
    """A tensor on the host, floating-point numbers in float32, and parameters without their values."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    made = torch.empty_like(tensor, dtype=dtype, device="cpu", memory_format=torch.contiguous_format)
    return nn.Parameter(made.fill_(torch.nan)) if isinstance(tensor, nn.Parameter) else made.copy_(tensor)


def alike(parameter: Tensor) -> Tensor:
    """Normal numbers on the host of a parameter's mean and standard deviation."""
    values = parameter.to("cpu", torch.float32, memory_format=torch.contiguous_format)
    mean, even = values.mean(), values.amin() == values.amax()
    deviation = mean.abs().where(even, values.std(correction=0))
    return mean + deviation * torch.randn_like(values)


@torch.no_grad()
def restore(module: nn.Module, original: nn.Module) -> None:
    """Give a module the parameters and buffers of another."""
    for tensor, kept in zip(own_tensors(module), own_tensors(original), strict=True):
        tensor.copy_(kept)


def own_tensors(module: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a module, without those of modules in it."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
