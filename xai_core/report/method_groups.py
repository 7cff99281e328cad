"""Groups of methods on a page: what a method needs, and whether it depends on the model."""

from xai_core.capture.needs import Needs
from xai_core.explainer import Explainer
from xai_core.model.adapter import ModelAdapter
from xai_core.report.controls import is_control

ONE_PASS, MANY_PASSES, ATTENTION, CONTROL = "one pass", "many passes", "attention", "controls"
GROUPS = {
    ONE_PASS: "One forward pass, and at most one backward pass.",
    MANY_PASSES: "Additional passes, for example on perturbed images.",
    ATTENTION: "Attention matrices or attention modules of the model.",
    CONTROL: "Independent of the model. A useful map differs from these.",
}
"""The groups in the order of the page, each with its description."""


def method_group(explainer: Explainer, adapter: ModelAdapter, forward_passes: int) -> str:
    """Return the group of a method that needs a number of forward passes for a model: a key of `GROUPS`.

    Raises
    ------
    UnsuitableError
        If the method is not defined for this model.
    """
    if is_control(explainer.name):
        return CONTROL
    if any(map(_reads_attention, explainer.needs(adapter).all)):
        return ATTENTION
    return MANY_PASSES if forward_passes > 1 else ONE_PASS


def _reads_attention(needs: Needs) -> bool:
    return bool(needs.attention or needs.attention_gradients or needs.gates or needs.block_scores)
