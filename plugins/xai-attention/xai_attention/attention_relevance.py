"""Relevance of the attention weights of a model."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_attention.attn_lrp import make_constant
from xai_attention.attribution_rules import AttributionRules
from xai_attention.linear_graph import ARITHMETIC, POOLING, RESHAPES, require_linear
from xai_core.plugin import AttentionLayer, AttentionReader, SharedModel, UnsuitableError, wide

WITH_RULES = frozenset({"Mm", "Bmm", "Mv", "Dot", "Convolution", "NormalizedSum", "ThroughWeights"})
PROPAGATING = (ARITHMETIC - {"Sub", "Rsub"}) | POOLING | RESHAPES | WITH_RULES


def attention_relevance(
    captured: xai.Captured, numbers: Sequence[int], method: str
) -> Mapping[int, Sequence[AttentionLayer]]:
    """Return attention layers by number, one for each image, whose gradient is that of relevance propagation.

    The relevance of a layer's weights is their product with `gradient_rows`. The relevance of the score is 1.

    Parameters
    ----------
    captured
        The view of the explainer.
    numbers
        The indices of the attention layers among all attention layers of a forward pass, in order of execution.
    method
        Name of the method, for error messages.

    Raises
    ------
    UnsuitableError
        If an operation between the first of these layers and the score has no rule, or the model cannot run in float64.
    """
    model, images = captured.shared_model(precise=True), wide(captured.images)
    make_constant(model)
    paths = captured.adapter.probe.attention
    relevant: dict[int, list[AttentionLayer]] = {number: [] for number in numbers}
    with torch.inference_mode(False), torch.enable_grad():
        for index in torch.arange(len(images), device=images.device).split(1):
            layers: list[AttentionLayer] = []
            outputs: list[Tensor] = []

            def keep(output: Tensor, outputs: list[Tensor] = outputs) -> Tensor:
                outputs.append(output)
                return output.clone()

            with AttentionReader(1, layers.append, keep, paths.layouts(1)), AttributionRules():
                score = precise_score(model, images[index], index, method)
            if len(layers) != len(paths.calls):
                raise UnsuitableError(
                    f"{method} cannot follow the attention weights of this model to their product with the values; use "
                    "generic-attention"
                )
            require_linear(score, outputs[numbers[0]], method, PROPAGATING)
            wanted = [outputs[number] for number in numbers]
            gradients = torch.autograd.grad(score, wanted, (1 / score.detach()).where(score != 0, 0))
            for number, gradient in zip(numbers, gradients, strict=True):
                relevant[number].append(layers[number].with_gradient(gradient))
    return relevant


def precise_score(
    model: SharedModel, image: Float[Tensor, "1 C H W"], index: Int[Tensor, " 1"], method: str
) -> Float[Tensor, " 1"]:
    """Return the score of an image in float64, with a graph."""
    try:
        score: Tensor = model(image.clone().requires_grad_(), index)
    except RuntimeError as error:
        if "type" not in str(error) or isinstance(error, UnsuitableError):
            raise
        raise UnsuitableError(
            f"{method} runs the model in float64, and the model's own code does not support it ({error}); use "
            "generic-attention"
        ) from error
    return score
