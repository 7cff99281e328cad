"""Sets of baselines, over which a method averages."""

from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import Baseline, OptionError, baseline_images


def baseline_set(
    baselines: Baseline, images: Float[Tensor, "B C *size"], seed: int = 0
) -> list[Float[Tensor, "B C *size"]]:
    """Return the baselines of images.

    Parameters
    ----------
    baselines
        Names joined by plus signs, such as `zero+blur`, or a tensor [S,C,H,W]. The tensor can contain images of the
        dataset, preprocessed for the model. `xai_core.plugin.baseline_images` lists the names.
    images
        The images.
    seed
        Random seed of `noise`.

    Raises
    ------
    OptionError
        If a name is unknown, or the tensor does not fit the images.
    """
    if isinstance(baselines, str):
        return [baseline_images(name, images, seed) for name in baselines.split("+")]
    if baselines.shape[1:] != images.shape[1:]:
        expected = ", ".join(map(str, images.shape[1:]))
        raise OptionError(f"a tensor of baselines must be of shape [S, {expected}], got {list(baselines.shape)}")
    return [baseline.expand_as(images) for baseline in baselines.to(images)]
