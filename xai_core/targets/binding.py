"""Binds a target to a batch of images."""

from typing import Any

from xai_core.errors import TargetError
from xai_core.targets.box import Box
from xai_core.targets.measures import FunctionMeasure
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget, Target, TargetLike, class_ids, class_target


def targets_of(target: TargetLike, output: Any, logits: ScoreReader, batch: int) -> tuple[list[BoundTarget], bool]:
    """Bind what a user passed as `target` to a batch.

    Returns
    -------
    tuple
        The bound targets, and whether the user passed T ids per image.

    Raises
    ------
    TargetError
        If a Python id is not a class of the model, the ids are not one row per image, or the type is not supported.
    """
    if isinstance(target, Target):
        return [target.bind(output, logits, batch)], False
    if isinstance(target, type):
        raise TargetError(
            f"target is the Python class {target.__name__}; pass an object, such as `{target.__name__}(...)`"
        )
    if callable(target):
        return [BoundTarget(FunctionMeasure(target), batch)], False
    if target is None and logits.is_detector:
        return [Box().bind(output, logits, batch)], False
    scores = logits(output, batch).detach()
    if target is None:
        return [class_target(scores.argmax(1), logits)], False
    ids = class_ids(target, scores, batch)
    several = ids.ndim == 2
    classes = scores.shape[1]
    reason = f"not classes of this model: expected 0 to {classes - 1}"
    return [
        class_target(column.clamp(0, classes - 1), logits, (column >= 0) & (column < classes), reason)
        for column in (ids.unbind(1) if several else [ids])
    ], several
