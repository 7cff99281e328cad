"""Copies of a model with randomized parameters, module by module."""

import copy
import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from xai_core.plugin import UnsuitableError, copy_modules
from xai_faithfulness.rng import PrivateGenerator


def modules_last_to_first(model: nn.Module) -> list[str]:
    """Return the names of the modules with parameters of their own, in reverse order of definition."""
    names = [name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None]
    return names[::-1]


def randomized_copies(model: nn.Module, steps: Sequence[int], cascading: bool, seed: int = 0) -> Iterator[nn.Module]:
    """Yield a copy of the model with randomized modules for each step. The model itself does not change.

    All steps yield the same object, which changes between the steps. The parameters of a module depend on the seed and
    on its index only. They are the same for both orders, on every device, and for models of any precision.

    Parameters
    ----------
    model
        The model.
    steps
        Indices into the modules from the last to the first, in increasing order.
    cascading
        Whether all modules up to the step are randomized, or only the module of the step.
    seed
        Random seed of the parameters.
    """
    changed = copy_modules(model, private_copy)
    stream = random.Random(seed)
    names = modules_last_to_first(model)
    seeds = [stream.getrandbits(63) for _ in names]
    start = 0
    for step in steps:
        for index in range(start if cascading else step, step + 1):
            randomize(changed.get_submodule(names[index]), seeds[index])
        yield changed
        start = step + 1
        if not cascading:
            restore(changed.get_submodule(names[step]), model.get_submodule(names[step]))


def private_copy(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor, as a parameter if the tensor is a parameter."""
    return copy.deepcopy(tensor) if tensor.is_leaf else tensor.detach().clone()


@torch.no_grad()
def randomize(module: nn.Module, seed: int) -> None:
    """Randomize a module's own parameters, on the host in float32.

    If the module has a `reset_parameters` method, it is used, which also resets the running statistics of normalization
    layers. Other parameters are drawn from a normal distribution with the mean and the standard deviation of the
    parameter. If all numbers of the parameter are equal, their magnitude is the standard deviation. PyTorch's global
    generators and the module's children do not change.

    Raises
    ------
    UnsuitableError
        If a parameter is not floating-point.
    """
    parameters, buffers = dict(module.named_parameters(recurse=False)), dict(module.named_buffers(recurse=False))
    for name, parameter in parameters.items():
        if not parameter.is_floating_point():
            raise UnsuitableError(
                f"parameter-randomization requires floating-point parameters, and {name!r} of {type(module).__name__} "
                f"has dtype {parameter.dtype}; pass the model before quantization"
            )
    with PrivateGenerator(seed):
        drawn = reset(module) if callable(getattr(module, "reset_parameters", None)) else {}
        for name, parameter in parameters.items():
            if parameter.numel() and (name not in drawn or drawn[name].isnan().any()):
                drawn[name] = normal_like(parameter)
    for name, tensor in (parameters | buffers).items():
        tensor.copy_(drawn.get(name, tensor))


def reset(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers after `reset_parameters`, with NaN in parameters that it does not set."""
    fresh = copy_modules(module, unset)
    fresh.reset_parameters()  # type: ignore[operator]
    return {**dict(fresh.named_parameters(recurse=False)), **dict(fresh.named_buffers(recurse=False))}


def unset(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor on the host, with floating-point numbers in float32 and parameters filled with NaN."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    host = torch.empty_like(tensor, dtype=dtype, device="cpu", memory_format=torch.contiguous_format)
    return nn.Parameter(host.fill_(torch.nan)) if isinstance(tensor, nn.Parameter) else host.copy_(tensor)


def normal_like(parameter: Tensor) -> Tensor:
    """Draw normal numbers on the host with the mean and standard deviation of a parameter."""
    values = parameter.to("cpu", torch.float32, memory_format=torch.contiguous_format)
    mean, all_equal = values.mean(), values.amin() == values.amax()
    deviation = mean.abs().where(all_equal, values.std(correction=0))
    return mean + deviation * torch.randn_like(values)


@torch.no_grad()
def restore(module: nn.Module, original: nn.Module) -> None:
    """Copy the parameters and buffers of `original` to a module."""
    for tensor, saved in zip(own_tensors(module), own_tensors(original), strict=True):
        tensor.copy_(saved)


def own_tensors(module: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers of a module, without those of its children."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
