"""Reads the attention of any model while it runs, fused or explicit.

A torch function mode observes `scaled_dot_product_attention`, `multi_head_attention_forward`, and products of values
with a softmax over keys, whichever library provides the model. It changes nothing. It stores references to queries,
keys and values, or to the weights if the model computes them explicitly.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from xai_core.model.attention import AttentionLayer, ExplicitAttention
from xai_core.model.attention_functions import from_multi_head, from_scaled_dot_product
from xai_core.model.attention_weights import WeightsFollower, WeightsProduct
from xai_core.model.head_layout import HeadLayout


class AttentionReader(TorchFunctionMode):
    """Context that passes every attention of this thread to `on_layer`, in order of execution.

    Parameters
    ----------
    batch
        The number of images.
    on_layer
        Receives each attention layer.
    on_output
        Replaces the tensor with respect to which the gradient of each attention is taken. This is the output, or the
        weights if the model computes them explicitly. If given, values are stored for attention gradients.
    """

    def __init__(
        self,
        batch: int,
        on_layer: Callable[[AttentionLayer], None],
        on_output: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._batch, self._on_layer, self._on_output = batch, on_layer, on_output
        self._follower = WeightsFollower()
        self._replaced: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # weights that were multiplied before

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function unchanged, and record it if it is attention."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            layer = from_scaled_dot_product(self._batch, self._on_output is not None, *args, **kwargs)
        elif func is F.multi_head_attention_forward:
            layer = from_multi_head(*args, **kwargs)
        else:
            product = self._follower.product(func, args, kwargs)
            if product is not None:
                return self._multiplied(product)
            return self._follower.follow(func, args, kwargs, func(*args, **kwargs))
        return self._recorded(layer, func(*args, **kwargs))

    def _multiplied(self, product: WeightsProduct) -> Tensor:
        """Record explicit weights at their first product, and compute the product."""
        if product.operand not in self._replaced:
            weights = product.weights
            layout = HeadLayout.of(product.as_matrix(weights.detach()).shape[:-2], self._batch)
            layer = ExplicitAttention(weights, product.as_matrix, layout)
            self._replaced[product.operand] = self._recorded(layer, weights)
        return product.run(self._replaced[product.operand])

    def _recorded(self, layer: AttentionLayer, output: Any) -> Any:
        self._on_layer(layer)
        return self._on_output(output) if self._on_output else output
