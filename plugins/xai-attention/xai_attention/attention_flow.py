"""Attention flow."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import on_grid, require_same_tokens
from xai_core.plugin import UnsuitableError

UNIT = 2**30
"""Integer that represents the capacity 1. SciPy computes 32-bit flows, and the capacities into a token sum to 1."""
MAX_WORK = 2**24
"""Largest product of the edges of a layer and the flows of an image. It takes about a second for each layer."""


class AttentionFlow(xai.Explainer):
    """Attention flow: the maximum flow from each patch to the class token through all layers.

    The nodes of the graph are the tokens at the input and after each layer. The edge from token j before layer l to
    token i after it has the capacity (0.5 A_l + 0.5 I)_ij. A_l is the mean over heads. The map is the maximum flow from
    each input patch to the class token after the last layer (section 3, "attention flow"). In models without a class
    token, it is the mean of the maximum flows to the tokens that the head averages.

    This is a reference for small models. The flows are computed on the host, one after another, with capacities rounded
    to 2^-30. An image of 65 tokens takes about 0.1 s in 6 layers, and an image of 197 tokens takes 5 s in 12 layers.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.
    """

    name = "attention-flow"
    targeted = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "SciPy computes the maximum flows on the host",
    }

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count each maximum flow as a forward pass, because both take about the same time in small models."""
        return 1 + _flow_count(adapter)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer, after checking that there are not too many tokens."""
        patches, flows = math.prod(adapter.grid), _flow_count(adapter)
        if flows * patches**2 > MAX_WORK:
            raise UnsuitableError(
                f"attention-flow supports small models only, and this model requires {flows} maximum flows "
                f"through layers of {patches} patches for each image; use rollout"
            )
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Compute the maximum flows from every token to the tokens that the head reads."""
        layers = require_same_tokens(captured, self.name)
        attention = torch.stack([layer.rows().mean(1) for layer in layers], 1)  # [B,L,N,N]
        capacities = 0.5 * attention + 0.5 * torch.eye(layers[-1].keys).to(attention)
        read = captured.adapter.readout
        flows = [_max_flows(image, range(read.start, read.stop)) for image in capacities.cpu().numpy()]
        return on_grid(captured, torch.from_numpy(np.stack(flows)).to(attention))


def _flow_count(adapter: xai.ModelAdapter) -> int:
    """Return the number of pairs of a patch and a token that the head reads."""
    return math.prod(adapter.grid) * (adapter.readout.stop - adapter.readout.start)


def _max_flows(capacities: NDArray[np.floating], read: range) -> NDArray[np.float64]:
    """Return the mean maximum flow [N] from each token to the tokens `read`, for capacities [L,N,N].

    The graph of a flow contains the edges from its source token, all edges of the inner layers, and the edges to its
    target token. The other edges of the first and the last layer carry no flow and are omitted.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    depth, tokens, _ = capacities.shape
    if depth == 1:
        return capacities[0, read].mean(0, dtype=np.float64)
    edges = np.rint(UNIT * capacities.swapaxes(1, 2)).astype(np.int32)
    inner, source, sink = edges[1:-1].ravel(), 0, 1 + tokens * (depth - 1)
    nodes = np.arange(1, sink, dtype=np.int32).reshape(depth - 1, tokens)
    ends = np.concatenate([nodes[0], np.repeat(nodes[1:], tokens, 0).ravel(), np.full(tokens, sink, np.int32)])
    starts = np.cumsum([0] + (1 + tokens * (depth - 2)) * [tokens] + tokens * [1] + [0], dtype=np.int32)

    def max_flow(token: int, target: int) -> int:
        capacity = np.concatenate([edges[0, token], inner, edges[-1, :, target]])
        graph = csr_array((capacity, ends, starts), shape=(sink + 1, sink + 1))
        return int(maximum_flow(graph, source, sink).flow_value)

    return np.mean([[max_flow(token, target) for target in read] for token in range(tokens)], 1) / UNIT
