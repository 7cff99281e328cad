"""The readout: how the scores depend on each of the last tokens."""

from collections.abc import Collection
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.model.layouts import Features, to_elements
from xai_core.model.site_graph import SiteGraph
from xai_core.model.sites import Site


@dataclass(frozen=True)
class Readout:
    """Dependence of the output on the last tokens.

    Attributes
    ----------
    reads
        For each token, whether the output depends on it.
    weights
        The weight of each token in the output. The weights sum to one. Tokens that the output treats alike, as a mean
        does, have equal weights. Otherwise, each token without a location in the image counts as much as all patches
        together. An example is the concatenation of a class token and the mean of the patches.
    """

    reads: tuple[bool, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, gradient: Float[Tensor, "N C"], locations: Collection[int]) -> "Readout":
        """Return the readout for the gradient of a score at the tokens, some of which have locations in the image."""
        reads = gradient.abs().amax(1) > 0
        rows = gradient[reads]
        mean = rows.mean(0)
        alike = bool(((rows - mean).abs().amax() <= 1e-3 * mean.abs().amax()).tolist())
        read = reads.nonzero().flatten().tolist()
        if alike:
            return cls(tuple(reads.tolist()), _weights(len(gradient), [read]))
        patches = [token for token in read if token in locations]
        if len(patches) > 1 and _is_maximum(rows != 0):
            patches = [*locations]
        others = [[token] for token in read if token not in locations]
        return cls(tuple(reads.tolist()), _weights(len(gradient), [*others, patches]))

    @classmethod
    def usual(cls, count: int, locations: Collection[int]) -> "Readout":
        """Return the usual readout: the first token without a location, such as a class token, or else all tokens."""
        class_token = next(([token] for token in range(count) if token not in locations), None)
        read = class_token or range(count)
        return cls(tuple(token in read for token in range(count)), _weights(count, [read]))


def read_out(graph: SiteGraph, last: tuple[Site, Features]) -> Readout | None:
    """Return how the scores depend on the last tokens, or None if there is no gradient."""
    site, features = last
    gradient = graph.gradient(site)
    return (
        None
        if gradient is None
        else Readout.of(to_elements(gradient, features.layout, features.count)[0], features.elements)
    )


def _weights(count: int, groups: Collection[Collection[int]]) -> tuple[float, ...]:
    """Return weights that are equal for all groups, and within each group."""
    groups = [group for group in groups if group]
    weights = {token: 1 / len(groups) / len(group) for group in groups for token in group}
    return tuple(weights.get(token, 0.0) for token in range(count))


def _is_maximum(reads: Bool[Tensor, "N C"]) -> bool:
    """Return whether each channel is read from one token, which depends on the image."""
    return bool((reads.sum(0) <= 1).all().tolist())
