"""Layer-wise relevance propagation."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_captum.attribution import Differentiated, Part
from xai_captum.modules import named, ran
from xai_captum.options import number
from xai_core.plugin import SharedModel, UnsuitableError, dominators, joins

RESHAPES = (nn.Flatten, nn.Identity, nn.Unflatten)
"""Modules that captum has no rule for, and which the epsilon rule passes as they are."""


class LRP(Differentiated):
    """Layer-wise relevance propagation by the epsilon rule: the score, handed back layer by layer.

    R_j = sum_k a_j w_jk / (eps sign(z_k) + z_k) R_k, with z_k = sum_j a_j w_jk + b_k (eq. 58); captum passes relevance
    through ReLU as it is. Biases, those of batch norm too, take their share.

    Source: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation", PLOS ONE 2015.

    Parameters
    ----------
    epsilon
        What keeps the denominator from zero.
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    name = "lrp"

    def __init__(self, epsilon: float = 1e-9, channels: str = "positive") -> None:
        super().__init__(channels)
        self.epsilon = number("epsilon", epsilon, above=0)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass, as long as captum has a rule for all that happens in the model, and each runs once."""
        from captum.attr._utils.custom_modules import Addition_Module

        ruled, passed = rules()
        leaves = {name: module for name, module in ran(adapter).items() if not list(module.children())}
        unknown = [module for module in leaves.values() if type(module) not in (*ruled, *passed, *RESHAPES)]
        if unknown:
            raise UnsuitableError(
                f"captum has no rule of lrp for {named(unknown)}, which this model has; use integrated-gradients"
            )
        again = [module for name, module in leaves.items() if type(module) in ruled and adapter.probe.runs[name] > 1]
        if again:
            raise UnsuitableError(
                f"lrp needs each layer to run once, and this model runs the same {named(again)} several times; use "
                "integrated-gradients"
            )
        additions = sum(adapter.probe.runs[name] for name, one in leaves.items() if type(one) is Addition_Module)
        if len(adapter.probe.joins) > additions:
            operations = ", ".join(sorted({*adapter.probe.joins}))
            raise UnsuitableError(
                f"this model puts features together outside of modules ({operations}), as residual connections do, "
                "which captum's lrp would count twice; use deep-lift or integrated-gradients, or put captum's "
                "Addition_Module in the place of each addition"
            )
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One to look at, one without a graph and one with it, and the pass."""
        return 4

    def attribute(self, model: SharedModel, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C H W"]:
        """Hand the score back to the images.

        Raises
        ------
        UnsuitableError
            Where the target puts several outputs together, of which captum would hand back each as if it were all.
        """
        from captum import attr
        from captum.attr._utils.lrp_rules import EpsilonRule

        with torch.enable_grad():
            image = part.images[:1].clone()
            score = model(image, part.of[:1])
        assert score.grad_fn is not None
        assert image.grad_fn is not None
        if len(joins(dominators(score.grad_fn, image.grad_fn))) > len(adapter.probe.joins):
            raise UnsuitableError(
                "lrp hands back one output of the model, and this target puts several together; explain each by "
                "itself, or use integrated-gradients"
            )
        for module in model.modules():
            vars(module).pop("rule", None)
            if type(module) in (*rules()[0], *RESHAPES):
                vars(module)["rule"] = EpsilonRule(self.epsilon)
        vars(model)["load_state_dict"] = _left_as_it_is
        return attr.LRP(model).attribute(part.images, additional_forward_args=(part.of,))


def rules() -> tuple[tuple[type[nn.Module], ...], tuple[type[nn.Module], ...]]:
    """The modules that captum has the epsilon rule for, and those that it passes relevance through as it is."""
    from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS

    return tuple(SUPPORTED_LAYERS_WITH_RULES), tuple(SUPPORTED_NON_LINEAR_LAYERS)


def _left_as_it_is(state: Any) -> None:
    """The epsilon rule changes no weight; captum would write each over itself, in the user's own tensors."""
