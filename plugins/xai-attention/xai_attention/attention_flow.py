"""Attention flow."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import chained_layers, on_grid
from xai_core.plugin import Layer, UnsuitableError

UNIT = 2**30
"""Integer that represents the capacity 1. SciPy computes 32-bit flows, and the capacities into a token sum to 1."""
MAX_WORK = 2**24
"""Largest product of the edges of a layer and the flows of an image. It takes about a second for each layer."""


class AttentionFlow(xai.Explainer):
    """Attention flow: the maximum flow from each patch to the class token through all layers.

    The nodes of the graph are the tokens at the input and after each layer. The edge from token j before layer l to
    token i after it has the capacity (0.5 A_l + 0.5 I)_ij. A_l is the mean over heads. The map is the maximum flow from
    each input patch to the class token after the last layer (section 3, "attention flow"). If the classification head
    reads other tokens, the map is the mean of the maximum flows to these tokens.

    Use this method only for small models. The flows are computed on the host, one after another, with capacities
    rounded to 2^-30. An image of 65 tokens takes about 0.1 s in 6 layers, and an image of 197 tokens takes 5 s in 12
    layers.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.

    Parameters
    ----------
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "attention-flow"
    targeted = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "SciPy computes the maximum flows on the host",
    }

    def __init__(self, module: Layer | None = None) -> None:
        self.module = module

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count each maximum flow as a forward pass, because both take about the same time in small models."""
        path = adapter.attention_path(self.module)
        return 1 + path.features.cells * sum(weight > 0 for weight in path.readout)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer, after checking that there are not too many tokens."""
        path = adapter.attention_path(self.module)
        path.chain(self.name, signed=False)
        patches, flows = path.features.cells, self.forward_passes(adapter) - 1
        if flows * patches**2 > MAX_WORK:
            raise UnsuitableError(
                f"attention-flow supports small models only, and this model requires {flows} maximum flows "
                f"through layers of {patches} patches for each image; use rollout"
            )
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Return the maximum flows from every token to the tokens that the classification head reads."""
        path = captured.adapter.attention_path(self.module)
        layers = chained_layers(captured, path, self.name)
        attention = torch.stack([layer.rows().mean(1) for layer in layers], 1)  # [B,L,N,N]
        capacities = 0.5 * attention + 0.5 * torch.eye(layers[-1].keys).to(attention)
        flows = [_max_flows(image, np.array(path.readout)) for image in capacities.cpu().numpy()]
        return on_grid(path.features, torch.from_numpy(np.stack(flows)).to(attention))


def _max_flows(capacities: NDArray[np.floating], readout: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean maximum flow [N] from each token, with the weights `readout` [N], for capacities [L,N,N].

    The graph of a flow contains the edges from its source token, all edges of the inner layers, and the edges to its
    target token. The other edges of the first and the last layer carry no flow and are omitted.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    depth, tokens, _ = capacities.shape
    if depth == 1:
        return readout @ capacities[0]
    edges = np.rint(UNIT * capacities.swapaxes(1, 2)).astype(np.int32)
    inner, source, sink = edges[1:-1].ravel(), 0, 1 + tokens * (depth - 1)
    nodes = np.arange(1, sink, dtype=np.int32).reshape(depth - 1, tokens)
    ends = np.concatenate([nodes[0], np.repeat(nodes[1:], tokens, 0).ravel(), np.full(tokens, sink, np.int32)])
    starts = np.cumsum([0] + (1 + tokens * (depth - 2)) * [tokens] + tokens * [1] + [0], dtype=np.int32)

    def max_flow(token: int, target: int) -> int:
        capacity = np.concatenate([edges[0, token], inner, edges[-1, :, target]])
        graph = csr_array((capacity, ends, starts), shape=(sink + 1, sink + 1))
        return int(maximum_flow(graph, source, sink).flow_value)

    read = np.flatnonzero(readout).tolist()
    flows = np.array([[max_flow(token, target) for target in read] for token in range(tokens)])
    return flows @ readout[read] / UNIT
