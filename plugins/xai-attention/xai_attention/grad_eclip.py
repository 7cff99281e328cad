"""Grad-ECLIP."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import on_grid
from xai_core.plugin import Layer, Locations, UnsuitableError, normalize


class GradEclip(xai.Explainer):
    """Grad-ECLIP: the values of the last attention layer, weighted by gradients and by similarity to the class token.

        lambda_i = cos(q_cls, k_i), min-max normalized over the patches i
        H_i = (sum over channels c of g_c v_ic lambda_i)^+,    g = dy/do_cls

    q, k and v are the queries, keys and values of all heads. o_cls is the attention output of the class token before
    the output projection. If the model pools its tokens by attention with one learned query, this query takes
    the role of the class token.

    Source: Zhao, Wang, Zeng, Zhao and Chan, "Gradient-based Visual Explanation for Transformer-based CLIP", ICML 2024,
    section 3.

    Parameters
    ----------
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "grad-eclip"

    def __init__(self, module: Layer | None = None) -> None:
        self.module = module

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the gradients of attention, after checking that the classification head reads one token."""
        self._read(adapter)
        return xai.Needs(attention=True, attention_gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Weight the values of the patches."""
        numbers, token, locations = self._read(captured.adapter)
        q, k, v, gradient = captured.attention_layer(*numbers).operands(token, token + 1)
        similarity = F.cosine_similarity(_all_heads(q), _all_heads(k), dim=2)
        evidence = (gradient * v).sum((1, 3))
        return (on_grid(locations, evidence) * normalize(on_grid(locations, similarity))).relu()

    def _read(self, adapter: xai.ModelAdapter) -> tuple[tuple[int, ...], int, Locations]:
        """Return the indices of the last attention, the query that the head reads, and the locations of the keys.

        Raises
        ------
        UnsuitableError
            If the classification head reads several tokens.
        """
        module = "" if self.module is None else adapter.layer_name(self.module)
        calls = adapter.probe.attention.calls
        last = max((number for number, call in enumerate(calls) if call.on_path and call.is_in(module)), default=-1)
        if last >= 0 and calls[last].of_one_query and calls[last].windows == 1:
            return (last,), 0, calls[last].key_locations or adapter.tokens(calls[last].keys)
        path = adapter.attention_path(self.module)
        number, rows = path.layer(-1, self.name), path.rows
        if rows.stop - rows.start > 1:
            raise UnsuitableError(
                "grad-eclip requires a model whose classification head reads one token, such as a class token. This "
                f"head reads {rows.stop - rows.start} tokens; use generic-attention"
            )
        stage = next((stage for stage in path.stages if number in stage), (number,))
        return stage, rows.start, Locations(path.features.grid, path.features.elements)


def _all_heads(vectors: Float[Tensor, "B heads n d"]) -> Float[Tensor, "B n channels"]:
    """Concatenate the vectors of the attention heads of each token."""
    return vectors.transpose(1, 2).flatten(2)
