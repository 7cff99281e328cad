"""Regions that the options of `xai explain` select in the segmentation of each photo."""

from collections.abc import Sequence

from xai_core.cli.actions.photo_targets import NotInPhotoError, PhotoTarget, PhotoTargets
from xai_core.data.class_names import class_name
from xai_core.errors import TargetError
from xai_core.segments import Segment, largest
from xai_core.targets.region import Region


def region_targets(found: Sequence[Segment], targets: PhotoTargets, failures: list[str]) -> list[PhotoTarget]:
    """Return the targets of the selected regions, each once. A message for each class without pixels is a failure.

    Raises
    ------
    TargetError
        If options are for other models, or the model has no class names and no class is selected.
    NotInPhotoError
        If no selected class has pixels.
    """
    if targets.contrasts:
        raise TargetError(
            "--contrast needs class scores, and this is a segmentation model; --target and --top select its regions"
        )
    shares = {segment.label: segment.share for segment in found}
    ids = [segment.label for segment in largest(found, targets.top, targets.class_names)] if targets.top else []
    listed = "; the classes of its pixels are " + ", ".join(map(str, found))
    if targets.top and not ids:
        failures.append(f"the model finds only background{listed}")
    for number in dict.fromkeys(targets.ids):
        if number in shares:
            ids.append(number)
        else:
            failures.append(f"the model finds no pixel of {class_name(number, targets.class_names)}{listed}")
    if not ids:
        raise NotInPhotoError("; ".join(failures))
    return [
        PhotoTarget(Region(number), class_name(number, targets.class_names), number, share=shares[number])
        for number in dict.fromkeys(ids)
    ]
