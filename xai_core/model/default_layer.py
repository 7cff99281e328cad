"""Chooses the default layer: the last spatial features that lie on every path from the image to the target."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import Tensor

from xai_core.model.autograd_graph import lacks_gradients
from xai_core.model.layouts import Features, cells, to_elements
from xai_core.model.site_graph import SiteGraph
from xai_core.model.site_layouts import SiteLayouts
from xai_core.model.sites import Site

Candidate = tuple[Site, Features]
TESTED = 16
"""The number of scores of detections among which one with a gradient is searched for."""


@dataclass(frozen=True)
class DefaultLayer:
    """The site that methods use by default.

    Attributes
    ----------
    last
        The last features that the scores depend on, before pooling, with their layout.
    default
        The last features whose cells influence the scores. If the classification head reads a class token only, the
        gradient of the last patch tokens is zero. Then the default is the input of the last attention layer that mixes
        the patches into the class token.
    """

    last: Candidate
    default: Candidate


def default_layer(
    graph: SiteGraph,
    layouts: SiteLayouts,
    excluded: Collection[str],
    pixel_scores: Tensor | None,
    detection_scores: Tensor | None = None,
) -> DefaultLayer | None:
    """Return the default layer, or None if no spatial features lie on every path from the image to the scores.

    If every layer with spatial features runs several times, as in a network for two images, the result is the last run.
    If no graph connects the image with the scores, the result is the last layer that runs.

    Parameters
    ----------
    graph
        The sites and their graph.
    layouts
        Their layouts.
    excluded
        The names of layers that are never the default layer, because they pool or pad features.
    pixel_scores
        [1,K,*size], if the target reads scores of each pixel, or None.
    detection_scores
        The scores of detections, if the target reads these, or None.
    """
    if pixel_scores is not None:
        last = _coarsest(graph, layouts, excluded, pixel_scores)
        return None if last is None else DefaultLayer(last, last)
    if detection_scores is not None:
        last = next(_before_detections(graph, layouts, excluded, detection_scores), None)
        return None if last is None else DefaultLayer(last, last)
    last = next(_spatial(_dominating(graph), layouts, excluded), None)
    if last is not None:
        dominating = _spatial(_dominating(graph), layouts, excluded)
        read = next((candidate for candidate in dominating if _reads(graph, candidate)), last)
        return DefaultLayer(last, _mixed(graph, layouts, read) or read)
    last_pass = graph.last_pass()
    if last_pass is not None:
        found = default_layer(last_pass, layouts, excluded, pixel_scores, detection_scores)
        return found if found is not None and found.default[0].layer in graph.repeated else None
    last = None if graph.from_image else next(_spatial(reversed(layouts.sites), layouts, excluded), None)
    return None if last is None else DefaultLayer(last, last)


def _dominating(graph: SiteGraph) -> Iterator[Site]:
    return (site for site, on_every in graph.sites if on_every)


def _spatial(sites: Iterator[Site], layouts: SiteLayouts, excluded: Collection[str]) -> Iterator[Candidate]:
    """Yield the sites with more than one cell per image or frame, each with its layout."""
    for site in sites:
        features = layouts.of(site) if site.layer not in excluded else None
        if features is not None and math.prod(features.grid[-2:]) > 1:
            yield site, features


def _reads(graph: SiteGraph, candidate: tuple[Site | Tensor, Features], blocked: Site | None = None) -> bool:
    """Return whether the scores depend on at least one cell. Dependence through the `blocked` site does not count."""
    at, features = candidate
    gradient = graph.gradient(at, blocked)
    return gradient is not None and bool(
        cells(to_elements(gradient, features.layout, features.count), features).any().tolist()
    )


def _mixed(graph: SiteGraph, layouts: SiteLayouts, read: Candidate) -> Candidate | None:
    """Return the last features through which the last tokens on every path influence the scores, or None.

    The last tokens are the output of `read`, or tokens that are computed later and that no module returns. The features
    have the same number of channels as these tokens.
    """
    site, wanted = read
    streams = (tokens for tokens in graph.streams(site) if _reads(graph, (tokens, wanted)))
    source = next(streams, graph.tensor(site))
    after = [later for later in graph.after(source) if wanted.channels in later.shape[1:]]
    graph.differentiate(after)
    for later in after:
        features = layouts.of(later)
        if features is None or (features.grid, features.channels) != (wanted.grid, wanted.channels):
            continue
        if _reads(graph, (later, features)) and not _reads(graph, (source, wanted), blocked=later):
            return later, features
    return None


def _coarsest(
    graph: SiteGraph, layouts: SiteLayouts, excluded: Collection[str], pixel_scores: Tensor
) -> Candidate | None:
    """Return the last features on the coarsest grid that are not scores, for a model with scores of each pixel.

    Early features are ignored. They are computed from less than half as many tensors as the last features.
    """
    candidates = [*_spatial(_dominating(graph), layouts, excluded)]
    features = [candidate for candidate in candidates if not _are_scores(graph, candidate, pixel_scores)] or candidates
    depths = [len(graph.earlier[site]) for site, _ in features]
    late = [candidate for candidate, depth in zip(features, depths, strict=True) if 2 * depth >= depths[0]]
    return min(late, key=lambda candidate: candidate[1].cells, default=None)


def _are_scores(graph: SiteGraph, candidate: Candidate, pixel_scores: Tensor) -> bool:
    """Return whether each channel is a class: the scores of a class depend on that channel alone."""
    site, features = candidate
    if features.channels != pixel_scores.shape[1] or not pixel_scores.requires_grad or lacks_gradients(pixel_scores):
        return False
    gradient = graph.gradient_of(pixel_scores[:, 0].sum(), site)
    if gradient is None:
        return True
    return int((to_elements(gradient, features.layout, features.count).abs().amax((0, 1)) > 0).sum()) <= 1


def is_saturated(graph: SiteGraph, scores: Tensor | None) -> bool:
    """Return whether all tested scores of detections have zero gradients, because they are rounded to 0 or 1."""
    return scores is not None and _has_gradients(scores) and _tested(graph, scores) is None


def _before_detections(
    graph: SiteGraph, layouts: SiteLayouts, excluded: Collection[str], scores: Tensor
) -> Iterator[Candidate]:
    """Yield the features on every path to the scores of detections that do not contain the scores themselves.

    The score of one detection depends on several cells of such features, or on all channels of a feature map.
    """
    if not _has_gradients(scores):
        yield from _spatial(_dominating(graph), layouts, excluded)
        return
    layouts.expect([*_dominating(graph)])  # the last features are often queries, without locations
    tested = _tested(graph, scores)
    if tested is None:
        return
    for site, features in _spatial(_dominating(graph), layouts, excluded):
        gradient = graph.gradient_of(tested, site)
        if gradient is None:
            continue
        depends = cells(to_elements(gradient, features.layout, features.count), features) != 0  # [1,n,K]
        all_channels = not features.is_sequence and int(depends.any(1).sum()) == features.channels
        if all_channels or int(depends.any(2).sum()) > 1:
            yield site, features


def _has_gradients(scores: Tensor) -> bool:
    return bool(scores.numel()) and scores.requires_grad and not lacks_gradients(scores)


def _tested(graph: SiteGraph, scores: Tensor) -> Tensor | None:
    """Return the score nearest to 0.5 whose gradient is not zero, or None if the nearest scores have none.

    The gradient is zero if a score is rounded to 0 or 1, or if it is computed from a region outside of the image.
    """
    *_, first = [None, *_dominating(graph)]
    values = scores.flatten()
    nearest = (values - 0.5).abs().topk(min(TESTED, len(values)), largest=False).indices
    for index in nearest.tolist():
        gradient = None if first is None else graph.gradient_of(values[index], first)
        if gradient is None or bool(gradient.any()):
            return values[index]
    return None
