"""Checks the shape of the images where the model's first convolution receives them."""

from torch import Tensor, nn

from xai_core.errors import InputShapeError


def check_first_convolution(module: nn.Conv2d | nn.Conv3d, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Require the dimensions and the channels that the first convolution requires.

    Parameters
    ----------
    module
        The convolution.
    tensor
        Its input.
    shape
        The shape of the image, as the model received it.

    Raises
    ------
    InputShapeError
        If the image has another shape. The message states the conversion.
    """
    channels = module.in_channels
    if isinstance(module, nn.Conv2d) and tensor.ndim == 5:
        raise InputShapeError(
            f"the model's first convolution requires images [B, {channels}, H, W], but the images have five dimensions "
            f"{list(tensor.shape)}; remove an additional dimension with `images[0]`, or pass frames or slices as images"
        )
    if isinstance(module, nn.Conv3d) and tensor.ndim == 4:
        raise InputShapeError(
            f"the model's first convolution requires volumes [B, {channels}, D, H, W], but the images have four "
            f"dimensions {list(tensor.shape)}; add the batch dimension of a single volume with `volume[None]`"
        )
    if len(shape) == 5 and channels == shape[2] != shape[1]:
        raise InputShapeError(
            f"expected volumes [B, C, D, H, W], but the model's first convolution requires {channels} channels and the "
            f"volumes have {shape[1]}. If the model requires [B, D, C, H, W], pass `volumes.transpose(1, 2)`, and "
            "`forward=lambda model, volumes: model(volumes.transpose(1, 2))` to the Engine"
        )
    if tensor.ndim == module.weight.ndim and tensor.shape[1] != channels:
        is_channels_last = tensor.shape[-1] == channels
        size, order = ("H, W", "0, 3, 1, 2") if tensor.ndim == 4 else ("D, H, W", "0, 4, 1, 2, 3")
        raise InputShapeError(
            f"the model's first convolution requires {channels} channels, but the images have "
            f"{tensor.shape[1]}; expected images [B, {channels}, {size}]"
            + (f"; for images [B, {size}, C], use `images.permute({order})`" if is_channels_last else "")
        )
