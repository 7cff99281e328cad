"""Copies of a model whose parameters are drawn anew, module by module."""

import copy
import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


def modules_from_the_top(model: nn.Module) -> list[str]:
    """The names of the modules that have parameters of their own, in the reverse order of their definition."""
    named = [name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None]
    return named[::-1]


def randomised(model: nn.Module, places: Sequence[int], cascading: bool, seed: int = 0) -> Iterator[nn.Module]:
    """Give a copy of the model for each of the places, which are numbers of modules from the top, in increasing order.

    Where `cascading`, all modules from the top to the place are drawn anew, otherwise that one alone. It is one copy,
    changed between the steps; the model itself is left alone. What a module draws depends on the seed and its own
    number, so that it is the same in either way, on every device, and for models of any precision.
    """
    changed = copy.deepcopy(model)
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


@torch.no_grad()
def redraw(module: nn.Module, seed: int) -> None:
    """Draw a module's own parameters anew, on the host in float32, and leave torch's generators as they were.

    By its `reset_parameters`, where it has one, which also resets the running statistics of norms; otherwise from a
    normal distribution of the mean and the standard deviation that the parameter has, or of its size, where all its
    numbers are equal.
    """
    own = own_tensors(module)
    places = [tensor.data for tensor in own]
    for tensor in own:
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        tensor.data = tensor.data.to("cpu", dtype, memory_format=torch.contiguous_format)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
        else:
            for parameter in module.parameters(recurse=False):
                mean, even = parameter.mean(), parameter.amin() == parameter.amax()
                deviation = mean.abs().where(even, parameter.std(correction=0))
                parameter.copy_(mean + deviation * torch.randn_like(parameter))
    for tensor, place in zip(own, places, strict=True):
        tensor.data = place.copy_(tensor.data)


@torch.no_grad()
def restore(module: nn.Module, original: nn.Module) -> None:
    """Give a module the parameters and buffers of another."""
    for tensor, kept in zip(own_tensors(module), own_tensors(original), strict=True):
        tensor.copy_(kept)


def own_tensors(module: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a module, without those of modules in it."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
