"""The detections in a photo that a user of the app can choose from."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from xai_core.detection.listing import Detection
from xai_core.engine import Engine
from xai_core.errors import TargetError
from xai_core.targets.box import Box

THRESHOLD = 0.5
"""The lowest score of a detection that is listed. The best detection is always listed."""
MOST = 20
"""The largest number of detections that are listed."""


def listed_detections(engine: Engine, images: Float[Tensor, "1 C H W"]) -> list[Detection]:
    """Return the detections in an image, the highest score first.

    Raises
    ------
    TargetError
        If the detector detects no object.
    """
    [found] = engine.detect(images, 0)
    if not found:
        raise TargetError("the detector detects no object in this photo; choose another photo or model")
    return [detection for detection in found[:MOST] if detection.score >= THRESHOLD] or found[:1]


def chosen_detection(found: Sequence[Detection], chosen: str | None) -> Box:
    """Return the target of the detection with this description, or of the best one if it is not in the list."""
    detection = next((detection for detection in found if str(detection) == chosen), found[0])
    return Box(detection.box, detection.label)
