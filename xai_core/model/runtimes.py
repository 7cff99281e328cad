"""Facts about the runtime of a model: its layers, its weights, and the device and type of its images."""

import contextlib
import sys
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy

from xai_core.error_text import message_of
from xai_core.errors import InputShapeError, InputTypeError, LayerError, UnsuitableError, XAIError
from xai_core.model.execution import Forward, scoring
from xai_core.model.user_forward import batch_indices


def require_initialized(model: nn.Module) -> None:
    """Require that lazy modules have run once, and that tensors have values.

    Raises
    ------
    InputTypeError
        If a parameter has no shape yet, or is on the meta device.
    """
    lazy = [name for name, tensor in chain(model.named_parameters(), model.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise InputTypeError(
            f"the model has uninitialized lazy modules, such as {lazy[0]!r}; run the model once on a batch of images "
            "before you explain it"
        )
    require_values(model)


def require_values(model: nn.Module) -> None:
    """Require that no tensor of the model is on the meta device, except for weights that each pass loads.

    Raises
    ------
    InputTypeError
        If a parameter or buffer is on the meta device.
    """
    named = chain(model.named_parameters(), model.named_buffers())
    meta = next((name for name, tensor in named if tensor.is_meta), None)
    if meta is not None and not replaces_tensors(model):
        raise InputTypeError(
            f"the model is on the meta device: {meta!r} has no values; call `model.to_empty(device=...)` and load the"
            " weights, or create the model on another device"
        )


@contextlib.contextmanager
def single_image_errors(model: nn.Module, forward: Forward, images: Tensor) -> Iterator[None]:
    """Replace an error of the `with` block, which runs the first image, if the model runs only on the whole batch.

    Raises
    ------
    InputShapeError
        If the model was exported or traced for this number of images.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, XAIError) or _runs(model, forward, images[:1]) or not _runs(model, forward, images):
            raise
        reason = message_of(error)
        raise InputShapeError(
            f"the model runs on this batch of {len(images)} images, but not on one image ({reason}). Export it with "
            "`dynamic_shapes` for any number of images, or pass a `forward=` that pads the batch"
        ) from error


def _runs(model: nn.Module, forward: Forward, images: Tensor) -> bool:
    try:
        with scoring(model):
            forward(model, images, batch_indices(images))
    except Exception:
        return False
    return True


def takes_one_image(model: nn.Module) -> bool:
    """Return whether a model was exported for exactly one image."""
    if not isinstance(model, torch.fx.GraphModule):
        return False
    inputs = (node.meta.get("val") for node in model.graph.nodes if node.op == "placeholder")
    image = next(inputs, None)
    return isinstance(image, Tensor) and isinstance(image.shape[0], int) and image.shape[0] == 1


def like_images(model: nn.Module, images: Tensor) -> tuple[torch.device, torch.dtype]:
    """Return the device and the floating-point type of a model's images. Tensors on the meta device have no values."""
    tensors = [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_floating_point()]
    device = next((tensor.device for tensor in tensors if not tensor.is_meta), images.device)
    return device, tensors[0].dtype if tensors else images.dtype


def replaces_tensors(model: nn.Module) -> bool:
    """Return whether each pass replaces parameters: FSDP gathers them, and accelerate loads them."""
    distributed = sys.modules.get("torch.distributed.fsdp")
    sharded = tuple(
        getattr(distributed, name) for name in ("FSDPModule", "FullyShardedDataParallel") if hasattr(distributed, name)
    )
    return any(isinstance(module, sharded) or "_hf_hook" in vars(module) for module in model.modules())


def require_plain_modules(model: nn.Module, method: str, instead: str, weights: bool = False) -> None:
    """Require modules that run in Python and have ordinary parameters, and optionally weights that no pass replaces.

    Parameters
    ----------
    model
        The model.
    method
        Name of the method or metric, for the error message.
    instead
        Alternative that the error message suggests.
    weights
        Whether the method reads or changes weights, so that they must be ordinary tensors outside of a pass.

    Raises
    ------
    UnsuitableError
        If the model has TorchScript modules, modules with packed int8 weights, or, with `weights`, weights that FSDP
        shards or accelerate offloads.
    """
    reasons = [
        *(["TorchScript modules"] if any(isinstance(module, ScriptModule) for module in model.modules()) else []),
        *(["int8 modules"] if any(_is_int8(module) for module in model.modules()) else []),
        *(["sharded or offloaded weights"] if weights and replaces_tensors(model) else []),
    ]
    if reasons:
        raise UnsuitableError(f"{method} does not support {' and '.join(reasons)}; use {instead}")


def _is_int8(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized"))


def require_layers(model: nn.Module) -> None:
    """Require a runtime in which layers can be observed.

    Raises
    ------
    LayerError
        If the whole model is a TorchScript module, or was exported.
    """
    reason = ""
    if isinstance(model, ScriptModule):
        reason = "the layers of a TorchScript model cannot be observed"
    elif isinstance(model, torch.fx.GraphModule):
        layers = {node.target for node in model.graph.nodes if node.op == "call_module"}
        if layers <= {"_guards_fn"}:
            reason = "an exported model has no layers (`torch.export.unflatten` restores them)"
    if reason:
        raise LayerError(
            f"{reason}; use a method without layers, such as rise, occlusion or saliency, or explain the original model"
        )
