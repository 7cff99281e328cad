"""Texts of `xai explain`, for models that compare images with texts."""

from jaxtyping import Float
from torch import Tensor

from xai_core.cli.actions.photo_targets import PhotoTarget, PhotoTargets
from xai_core.engine import Engine
from xai_core.errors import TargetError
from xai_core.targets.text import Text


def text_targets(engine: Engine, images: Float[Tensor, "1 C H W"], targets: PhotoTargets) -> list[PhotoTarget]:
    """Return the targets of the texts, each once, with the logits of an image.

    Raises
    ------
    TargetError
        If there is no text, or options are for other models.
    """
    if not targets.texts or targets.ids or targets.contrasts or targets.boxes or targets.top:
        raise TargetError(
            "this model compares images with texts; pass one or several texts, such as --text 'a red star', without "
            "--target, --contrast, --box and --top"
        )
    texts = [(text, Text(text)) for text in dict.fromkeys(targets.texts)]
    return [PhotoTarget(target, text, None, logit=float(engine.score(images, target))) for text, target in texts]
