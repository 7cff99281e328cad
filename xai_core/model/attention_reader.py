"""Reads the attention of any model while it runs, fused or explicit.

A torch function mode observes `scaled_dot_product_attention`, `multi_head_attention_forward`, and products of values
with a softmax over keys, whichever library provides the model. It changes nothing. It stores references to queries,
keys and values, or to the weights if the model computes them explicitly.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from xai_core.model.attention import AttentionLayer, ExplicitAttention
from xai_core.model.attention_functions import from_multi_head, from_scaled_dot_product
from xai_core.model.attention_weights import TokensAt, WeightsFollower, WeightsProduct
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
        Replaces the tensor with respect to which the gradient of each attention is taken. This tensor is the output, or
        the weights if the model computes them explicitly. If given, values are stored for attention gradients.
    layouts
        The order of windows and heads in each attention, if it is known.
    """

    def __init__(
        self,
        batch: int,
        on_layer: Callable[[AttentionLayer], None],
        on_output: Callable[[Any], Any] | None = None,
        layouts: Sequence[HeadLayout | None] = (),
    ) -> None:
        super().__init__()
        self._batch, self._on_layer, self._on_output = batch, on_layer, on_output
        self._layouts = iter(layouts)
        self._follower = WeightsFollower()
        self._replaced: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # weights that were multiplied before

    def on_mixed(self, layer: AttentionLayer, values: TokensAt, output: TokensAt) -> Any:
        """Return the output of a product of attention weights and values. A subclass may replace it."""
        return output.value

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function unchanged, and record it if it is attention."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            layout, with_values = next(self._layouts, None), self._on_output is not None
            layer, value = from_scaled_dot_product(self._batch, layout, with_values, *args, **kwargs)
            output = self._recorded(layer, func(*args, **kwargs))
            return self.on_mixed(layer, TokensAt(value, -2), TokensAt(output, -2))
        if func is F.multi_head_attention_forward:
            next(self._layouts, None)
            layer, value = from_multi_head(*args, **kwargs)
            output = self._recorded(layer, func(*args, **kwargs))
            return self.on_mixed(layer, TokensAt(value, 0), TokensAt(output, 0))
        product = self._follower.product(func, args, kwargs)
        if product is None:
            return self._follower.follow(func, args, kwargs, func(*args, **kwargs))
        layer, weights = self._weights(product)
        return self.on_mixed(layer, product.values, TokensAt(product.run(weights), product.queries))

    def _weights(self, product: WeightsProduct) -> tuple[AttentionLayer, Tensor]:
        """Record explicit weights at their first product, and return their layer and their replacement."""
        if product.operand not in self._replaced:
            leading = product.as_matrix(product.weights.detach()).shape[:-2]
            layout = next(self._layouts, None) or HeadLayout.of(leading, self._batch)
            arrange = partial(layout.arrange, batch=self._batch)
            layer = ExplicitAttention(product.weights, product.as_matrix, arrange)
            self._replaced[product.operand] = layer, self._recorded(layer, product.weights)
        layer, weights = self._replaced[product.operand]
        return layer, weights

    def _recorded(self, layer: AttentionLayer, output: Any) -> Any:
        self._on_layer(layer)
        return self._on_output(output) if self._on_output else output
