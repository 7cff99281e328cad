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
from xai_attention.attention_ops import on_grid, over_same_tokens
from xai_core.plugin import UnsuitableError

UNIT = 2**30
"""The capacity 1: SciPy's flows are of 32-bit integers, and a token takes in no more than 1 from a layer."""
MOST_WORK = 2**24
"""Edges of a layer times the flows of an image: about a second for each layer."""


class AttentionFlow(xai.Explainer):
    """Attention flow: the most that can flow from each patch to the class token through all layers.

    The graph has the tokens at the input and after each layer as nodes, and an edge from token j before layer l
    to token i after it, with the capacity (0.5 A_l + 0.5 I)_ij, A_l the mean over heads. The map is each patch's
    maximum flow from the input to the class token after the last layer (section 3, "attention flow"). In models
    without a class token it is the mean of the maximum flows to the tokens that the head averages.

    A reference for small models: the flows are computed on the host, one after the other, with capacities
    rounded to 2^-30. An image of 65 tokens takes about 0.1 s in 6 layers, one of 197 tokens 5 s in 12.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.
    """

    name = "attention-flow"
    targeted = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "maximum flows are SciPy's, which computes on the host",
    }

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One, and for each maximum flow another, which takes about as long in small models."""
        return 1 + _flow_count(adapter)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The attention of every layer, in a model whose head reads tokens, and not too many."""
        patches, flows = math.prod(adapter.grid), _flow_count(adapter)
        if flows * patches**2 > MOST_WORK:
            raise UnsuitableError(
                f"attention-flow is a reference for small models, and here an image takes {flows} maximum flows "
                f"through layers of {patches} patches, too many to wait for; use rollout"
            )
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Find the maximum flow from every token to those that the head reads."""
        layers = over_same_tokens(captured, self.name)
        attention = torch.stack([layer.rows().mean(1) for layer in layers], 1)  # [B,L,N,N]
        capacities = 0.5 * attention + 0.5 * torch.eye(layers[-1].keys).to(attention)
        read = captured.adapter.readout
        flows = [_flows(image, range(read.start, read.stop)) for image in capacities.cpu().numpy()]
        return on_grid(captured, torch.from_numpy(np.stack(flows)).to(attention))


def _flow_count(adapter: xai.ModelAdapter) -> int:
    """From each patch to each token that is read."""
    return math.prod(adapter.grid) * (adapter.readout.stop - adapter.readout.start)


def _flows(capacities: NDArray[np.floating], read: range) -> NDArray[np.float64]:
    """The maximum flow [N] from each token to those that are read, their mean, for capacities [L,N,N].

    A flow has the edges from its own token, those between, and those to the one that is read; the others of the first
    and the last layer, which carry none of it, are left out.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    depth, tokens, _ = capacities.shape
    if depth == 1:
        return capacities[0, read].mean(0, dtype=np.float64)
    edges = np.rint(UNIT * capacities.swapaxes(1, 2)).astype(np.int32)
    between, source, sink = edges[1:-1].ravel(), 0, 1 + tokens * (depth - 1)
    nodes = np.arange(1, sink, dtype=np.int32).reshape(depth - 1, tokens)
    ends = np.concatenate([nodes[0], np.repeat(nodes[1:], tokens, 0).ravel(), np.full(tokens, sink, np.int32)])
    starts = np.cumsum([0] + (1 + tokens * (depth - 2)) * [tokens] + tokens * [1] + [0], dtype=np.int32)

    def flow(token: int, one: int) -> int:
        capacity = np.concatenate([edges[0, token], between, edges[-1, :, one]])
        graph = csr_array((capacity, ends, starts), shape=(sink + 1, sink + 1))
        return int(maximum_flow(graph, source, sink).flow_value)

    return np.mean([[flow(token, one) for one in read] for token in range(tokens)], 1) / UNIT
