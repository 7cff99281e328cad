"""Images that users pass, converted for the model or rejected with one error that states the conversion."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.configurable import Configurable
from xai_core.errors import EmptyBatchError, InputShapeError, InputTypeError, UnsuitableError
from xai_core.isolation.error_context import PluginCall
from xai_core.model.runtimes import like_images

CHANNELS = (1, 3)
"""The numbers of channels that images usually have, which identify a wrong order of dimensions."""
VOLUME_ADVICE = {
    "explainer": "use a method such as grad-cam, integrated-gradients, occlusion or rise",
    "metric": "use a metric such as deletion, insertion or iou",
}
"""Methods and metrics that support volumes."""
SIDE_INPUTS = "pass other inputs of the model through `forward=` of the Engine"


def accept_images(images: object, model: nn.Module) -> Float[Tensor, "B C *size"]:
    """Return a user's images or volumes on the model's device and in its floating-point type.

    Raises
    ------
    InputTypeError
        If the images are not a floating-point tensor, or have no values.
    InputShapeError
        If the images are not [B,C,H,W], or volumes [B,C,D,H,W], with at least one pixel.
    EmptyBatchError
        If B is zero.
    """
    if not isinstance(images, Tensor):
        raise InputTypeError(
            f"expected images as a tensor [B, C, H, W], got {type(images).__name__}; {_conversion(images)}"
        )
    _require_values(images)
    if not images.is_floating_point():
        received = f"{images.dtype} {list(images.shape)}"
        raise InputTypeError(f"expected normalized floating-point images, got {received}; {_normalization(images)}")
    if images.ndim not in (4, 5):
        raise InputShapeError(
            f"expected images [B, C, H, W] or volumes [B, C, D, H, W], got shape {list(images.shape)}"
            f"{_dimensions(images)}"
        )
    if len(images) == 0:
        raise EmptyBatchError("the batch is empty; expected at least one image")
    if 0 in images.shape:
        raise InputShapeError(f"expected images of at least one pixel, got shape {list(images.shape)}")
    device, dtype = like_images(model, images)
    return images.detach().to(device, dtype, non_blocking=True)


def check_dimensions(images: Tensor, plugin_object: Configurable, call: PluginCall) -> None:
    """Require that an explainer or a metric supports volumes, if the images are volumes.

    Raises
    ------
    UnsuitableError
        If it does not, or if it contains an explainer that does not.
    """
    if images.ndim == 5 and not plugin_object.volumes:
        raise call.attach_to(
            UnsuitableError(
                f"{call.description} is defined for images [B,C,H,W] only, but the images have the shape "
                f"{list(images.shape)}; {VOLUME_ADVICE[call.kind]}"
            )
        )


def _require_values(images: Tensor) -> None:
    """Require images with values, which tensors on the meta device and inside function transforms do not have."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise InputTypeError(
            "the engine cannot be called inside `torch.func.vmap`, `torch.func.grad` or another transform; call it"
            " outside, with all images as one batch [B, C, H, W]"
        )
    if images.is_meta:
        raise InputTypeError("the images are on the meta device and have no values; expected images on another device")


def _conversion(images: object) -> str:
    """Return how to convert an object to a batch of images."""
    module = type(images).__module__.partition(".")[0]
    if module == "PIL":
        return "preprocess the image: `load_model(...).preprocess(image)[None]`"
    if module == "numpy":
        return "use `torch.from_numpy(images)`; channels come before rows and columns"
    if isinstance(images, Mapping):
        return f"pass the images alone, such as `inputs['pixel_values']`; {SIDE_INPUTS}"
    if isinstance(images, Sequence) and not isinstance(images, str) and images:
        return _conversion_of_several(images)
    if isinstance(images, str) or hasattr(images, "__fspath__"):
        return f"open the file with `xai_core.data.images.open_image`, and preprocess the image; {SIDE_INPUTS}"
    return "`load_model(...).preprocess` converts a PIL image, and `torch.stack` makes a batch of several tensors"


def _conversion_of_several(images: Sequence[object]) -> str:
    """Return how to convert a list or tuple to a batch of images."""
    tensors = [image for image in images if isinstance(image, Tensor)]
    if len(tensors) < len(images):
        return f"preprocess each image, and use `torch.stack` to make a batch; {SIDE_INPUTS}"
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        listed = ", ".join(str(list(shape)) for shape in sorted(shapes)[:3])
        return (
            f"the tensors have different shapes ({listed}): resize the images to one size, or explain one image at a "
            f"time with `image[None]`; {SIDE_INPUTS}"
        )
    if tensors[0].ndim == 4:
        return (
            "use `torch.cat(images)` for several batches of images, or call `explain` with a tuple for several inputs "
            f"of the model; {SIDE_INPUTS}"
        )
    return "use `torch.stack(images)`"


def _normalization(images: Tensor) -> str:
    """Return how to convert numbers that are not floating-point."""
    if images.ndim < 3:
        return f"token ids cannot be explained: pass the images; {SIDE_INPUTS}"
    return (
        "preprocess them first, for example with `load_model(...).preprocess`, or divide 8-bit values by 255 and "
        "normalize them as the model expects"
    )


def _dimensions(images: Tensor) -> str:
    """Return how to correct a number of dimensions other than four and five."""
    if images.ndim == 2:
        return "; for one gray image [H, W], use `images[None, None]`"
    if images.ndim != 3:
        return ""
    if len(images) in CHANNELS:
        return "; add the batch dimension with `images[None]`"
    if images.shape[2] in CHANNELS:
        return "; for one image [H, W, C], use `images.permute(2, 0, 1)[None]`"
    return "; for one image [C, H, W], use `images[None]`, and for gray images [B, H, W], `images[:, None]`"
