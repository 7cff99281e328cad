"""Chooses the part of the output that the demo explains for each image."""

from jaxtyping import Float
from torch import Tensor

from xai_core.cli.loading import ModelOnDevice
from xai_core.errors import TargetError
from xai_core.report.results import Prediction
from xai_core.segments import largest
from xai_core.targets.region import Region
from xai_core.targets.target import TargetLike
from xai_core.targets.text import Text


def explained_target(
    model: ModelOnDevice, images: Float[Tensor, "1 C H W"], text: str | None
) -> tuple[Prediction, TargetLike]:
    """Return the predicted class, the best detection, the largest region or the text of an image, with its target.

    Raises
    ------
    TargetError
        If a detector detects nothing, a segmentation model finds only background, or there is no text.
    """
    if model.loaded.tokenizer is not None:
        return _text(text)
    if model.engine.adapter(images).score_reader.is_segmenter:
        return _region(model, images)
    [predicted] = model.predict(images)
    return predicted, None


def _text(text: str | None) -> tuple[Prediction, Text]:
    if text is None:
        raise TargetError(
            "this model compares images with texts, and the dataset has no texts; pass a dataset with texts, such as "
            "--data shapes-text"
        )
    return Prediction(None, text, None), Text(text)


def _region(model: ModelOnDevice, images: Float[Tensor, "1 C H W"]) -> tuple[Prediction, Region]:
    [found] = model.engine.segment(images)
    for region in largest(found, 1, model.loaded.class_names):
        return Prediction(region.label, region.name, None, share=region.share), Region(region.label)
    raise TargetError("the segmentation model finds only background in an image, so there is no region to explain")
