"""The detections or the regions in a photo that a user of the app can choose from."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from xai_core.detection.listing import Detection
from xai_core.engine import Engine
from xai_core.errors import TargetError
from xai_core.segments import Segment
from xai_core.targets.box import Box
from xai_core.targets.region import Region
from xai_core.web_app.chosen_model import ChosenModel, Explained

Found = Detection | Segment

THRESHOLD = 0.5
"""The lowest score of a detection that is listed. The best detection is always listed."""
MOST = 20
"""The largest number of detections that are listed."""


def found_in_photo(model: ChosenModel, images: Float[Tensor, "1 C H W"]) -> Sequence[Found]:
    """Return the detections of a detector, or the regions of a segmentation model. Other models have none.

    Raises
    ------
    TargetError
        If a detector detects no object.
    """
    if model.explained is Explained.DETECTION:
        return _detections(model.engine, images)
    return _regions(model.engine, images) if model.explained is Explained.REGION else []


def chosen_target(found: Sequence[Found], chosen: str | None) -> Box | Region:
    """Return the target of the detection or the region with this description, or of the first one."""
    each = next((each for each in found if str(each) == chosen), found[0])
    return Region(each.label) if isinstance(each, Segment) else Box(each.box, each.label)


def _detections(engine: Engine, images: Float[Tensor, "1 C H W"]) -> list[Detection]:
    """Return the detections in an image, the highest score first."""
    [found] = engine.detect(images, 0)
    if not found:
        raise TargetError("the detector detects no object in this photo; choose another photo or model")
    return [detection for detection in found[:MOST] if detection.score >= THRESHOLD] or found[:1]


def _regions(engine: Engine, images: Float[Tensor, "1 C H W"]) -> list[Segment]:
    """Return the regions in an image, the largest first, and the background last."""
    [found] = engine.segment(images)
    return sorted(found, key=lambda segment: segment.is_background)
