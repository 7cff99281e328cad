"""Layer-wise relevance propagation."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_captum.attribution import GradientAttribution, ImageBlock
from xai_captum.executed_modules import class_names, executed_modules
from xai_core.plugin import SharedModel, UnsuitableError, check_number, dominators, joins, require_plain_modules

RESHAPES = (nn.Flatten, nn.Identity, nn.Unflatten)
"""Modules without a rule in captum. The epsilon rule passes relevance through them unchanged."""


class LRP(GradientAttribution):
    """Layer-wise relevance propagation with the epsilon rule: the score, propagated back layer by layer.

        R_j = sum_k a_j w_jk / (eps sign(z_k) + z_k) R_k,    z_k = sum_j a_j w_jk + b_k  (eq. 58)

    captum passes relevance through ReLU unchanged. Biases, including those of batch norm, receive a part of the
    relevance.

    Source: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation", PLOS ONE 2015.

    Parameters
    ----------
    epsilon
        Stabilizer of the denominator, > 0.
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    name = "lrp"

    def __init__(self, epsilon: float = 1e-9, channels: str = "positive") -> None:
        super().__init__(channels)
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require operations for which captum has a rule, and layers that run once. Request nothing."""
        from captum.attr._utils.custom_modules import Addition_Module

        require_plain_modules(adapter.model, self.name, "integrated-gradients")
        with_rule, unchanged = supported_modules()
        leaves = {name: module for name, module in executed_modules(adapter).items() if not list(module.children())}
        unknown = [module for module in leaves.values() if type(module) not in (*with_rule, *unchanged, *RESHAPES)]
        if unknown:
            raise UnsuitableError(
                f"captum's lrp has no rule for {class_names(unknown)}, which this model contains; use "
                "integrated-gradients"
            )
        repeated = [
            module for name, module in leaves.items() if type(module) in with_rule and adapter.probe.runs[name] > 1
        ]
        if repeated:
            raise UnsuitableError(
                f"lrp requires that each layer runs once, and this model runs the same {class_names(repeated)} several "
                "times; use integrated-gradients"
            )
        additions = sum(adapter.probe.runs[name] for name, module in leaves.items() if type(module) is Addition_Module)
        if len(adapter.probe.joins) > additions:
            operations = ", ".join(sorted({*adapter.probe.joins}))
            raise UnsuitableError(
                f"this model combines features outside of modules ({operations}), as residual connections do, and "
                "captum's lrp would count them twice. Use deep-lift or integrated-gradients, or replace each addition "
                "by captum's Addition_Module"
            )
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one to check the target, two for captum (without and with a graph), and one for the shared pass."""
        return 4

    def attribute(self, model: SharedModel, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *size"]:
        """Propagate the score back to the images.

        Raises
        ------
        UnsuitableError
            If the target combines several outputs, because captum would propagate each as if it were the whole score.
        """
        from captum import attr
        from captum.attr._utils.lrp_rules import EpsilonRule

        with torch.enable_grad():
            image = block.images[:1].clone()
            score = model(image, block.indices[:1])
        assert score.grad_fn is not None
        assert image.grad_fn is not None
        if len(joins(dominators(score.grad_fn, image.grad_fn))) > len(adapter.probe.joins):
            raise UnsuitableError(
                "lrp explains one output of the model, and this target combines several outputs. Explain each output "
                "separately, or use integrated-gradients"
            )
        for module in model.modules():
            vars(module).pop("rule", None)
            if type(module) in (*supported_modules()[0], *RESHAPES):
                vars(module)["rule"] = EpsilonRule(self.epsilon)
        vars(model)["load_state_dict"] = _keep_weights
        return attr.LRP(model).attribute(block.images, additional_forward_args=(block.indices,))


def supported_modules() -> tuple[tuple[type[nn.Module], ...], tuple[type[nn.Module], ...]]:
    """Return the modules with an epsilon rule in captum, and the modules that pass relevance through unchanged."""
    from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS

    return tuple(SUPPORTED_LAYERS_WITH_RULES), tuple(SUPPORTED_NON_LINEAR_LAYERS)


def _keep_weights(state: Any) -> None:
    """Replace `load_state_dict`: captum restores the weights, which would write to the tensors of the user's model.

    The epsilon rule changes no weights, so there is nothing to restore.
    """
