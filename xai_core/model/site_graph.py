"""The sites of one forward pass in its autograd graph: which of them lie between the image and the scores."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.hooks import RemovableHandle

from xai_core.model.autograd_graph import ancestors, dominators, lacks_gradients
from xai_core.model.graph_nodes import Node
from xai_core.model.kept_locations import Kept, kept_locations
from xai_core.model.site_sets import SiteSets
from xai_core.model.sites import Site


class SiteGraph:
    """The graph of a forward pass in which each site is a copy with a node of its own.

    Parameters
    ----------
    tensors
        The tensor of each site, in order of execution.
    edges
        The gradient edge of each site. The node of a tensor changes if the model writes to the tensor.
    scores
        The tensors that the target's score is computed from.
    image
        The image, as the model received it.
    inputs
        The tokens that modules receive.

    Attributes
    ----------
    path
        The operations between the image and the scores, from last to first, and whether each is on every path. If a
        `no_grad` block cuts the graph, the path starts at the first site after it.
    from_image
        Whether the path starts at the image.
    ends
        The operations that compute the scores.
    """

    def __init__(
        self,
        tensors: Mapping[Site, Tensor],
        edges: Mapping[Site, GradientEdge],
        scores: Sequence[Tensor],
        image: Tensor,
        inputs: Sequence[Tensor] = (),
    ) -> None:
        self._tensors, self._image, self._inputs = tensors, image, inputs
        self._sites: dict[Node, Site] = {edge.node: site for site, edge in edges.items()}
        self._edges = {tensors[site]: edge for site, edge in edges.items()}
        self.scores = scores
        self.ends = [score.grad_fn for score in scores if score.grad_fn is not None]
        behind = ancestors(self.ends)
        source = next((node for node in (image.grad_fn, *self._sites) if node in behind), None)
        self.path: Mapping[Node, bool] = {} if source is None else dominators(self.ends, source)
        self.from_image = source is not None and source is image.grad_fn
        self._gradients: dict[Tensor, tuple[Tensor, Tensor] | None] = {}  # each with the score

    def tensor(self, site: Site) -> Tensor:
        """Return the tensor of a site."""
        return self._tensors[site]

    def depends_on_image(self, nodes: Sequence[Node]) -> bool:
        """Return whether some operations depend on the image. This is assumed if the model cuts the graph."""
        return not self.from_image or self._image.grad_fn in ancestors(nodes)

    @cached_property
    def lacks_gradients(self) -> bool:
        """Return whether a part of the gradients is missing, as in int8 models."""
        return any(lacks_gradients(score) for score in self.scores)

    def connects(self, nodes: Sequence[Node]) -> bool:
        """Return whether some operations lie between the image and the scores."""
        return any(node in self.path for node in nodes)

    def reads(self, tensor: Tensor) -> bool:
        """Return whether the target's score is computed from a tensor alone."""
        return any(tensor is score for score in self.scores) or (
            tensor.grad_fn is not None and self.path.get(tensor.grad_fn, False)
        )

    @property
    def sites(self) -> Iterator[tuple[Site, bool]]:
        """The sites between the image and the scores, from last to first, and whether each is on every path."""
        return ((self._sites[node], on_every) for node, on_every in self.path.items() if node in self._sites)

    @cached_property
    def repeated(self) -> Mapping[str, int]:
        """The layers that run several times between the image and the scores, each with the number of its last call."""
        calls: dict[str, set[int]] = {}
        for site, _ in self.sites:
            calls.setdefault(site.layer, set()).add(site.call)
        return {layer: max(numbers) for layer, numbers in calls.items() if len(numbers) > 1}

    def after(self, tensor: Tensor) -> Iterator[Site]:
        """Yield the sites between a tensor and the scores, from last to first."""
        nodes = itertools.takewhile(lambda node: node is not tensor.grad_fn, self.path)
        return (self._sites[node] for node in nodes if node in self._sites)

    def last_pass(self) -> "SiteGraph | None":
        """Return the graph of the last of several passes through the same modules, or None if there is one pass."""
        outer = {layer for layer in self.repeated if not any(_contains(other, layer) for other in self.repeated)}
        earlier = {
            node
            for node, site in self._sites.items()
            if site.layer in outer and site.call < self.repeated[site.layer] and node in self.path
        }
        if not earlier:
            return None
        last = copy.copy(self)
        last.path = dominators(self.ends, [*self.path][-1], earlier)
        return last

    @cached_property
    def kept(self) -> Mapping[Site, Kept | None]:
        """For each site that depends on the image, how its order is known, or None: see `kept_locations`."""
        return {} if self._image.grad_fn is None else kept_locations(self._sites, self._image.grad_fn)

    @cached_property
    def earlier(self) -> Mapping[Site, tuple[Site, ...]]:
        """For each site on the path, the sites that it is computed from, in order of execution."""
        numbered = [*self._sites.values()]
        bits = {site: 1 << number for number, site in enumerate(numbered)}
        before: dict[Node, int] = {}
        earlier: dict[Site, int] = {}
        for node in reversed([*self.path]):
            seen = 0
            for other, _ in node.next_functions:
                if other in before:
                    seen |= before[other]
                    if other in self._sites:
                        seen |= bits[self._sites[other]]
            before[node] = seen
            if node in self._sites:
                earlier[self._sites[node]] = seen
        return SiteSets(numbered, earlier)

    def streams(self, site: Site) -> Iterator[Tensor]:
        """Yield tokens of the site's shape that modules receive on every path to the scores, from last to first."""
        for tensor in reversed(self._inputs):
            if tuple(tensor.shape) == site.shape and tensor.grad_fn is not None and self.path.get(tensor.grad_fn):
                yield tensor

    def gradient(self, at: Site | Tensor, blocked: Site | None = None) -> Tensor | None:
        """Return the gradient of the highest score at a tensor, or None if it is missing or zero everywhere.

        The gradient of the score is zero everywhere if the classification head is initialized with zeros. Then the
        gradient of the highest value of the head's input is returned.

        Parameters
        ----------
        at
            A site, or another tensor of the graph.
        blocked
            A site through which no gradient passes.
        """
        self.differentiate([at])
        found = self._gradients[self._at(at)]
        if found is None:
            return None
        score, gradient = found
        return gradient if blocked is None else self.gradient_of(score, at, blocked)

    def differentiate(self, at: Sequence[Site | Tensor]) -> None:
        """Compute `gradient` at several tensors in one backward pass."""
        rest = [tensor for tensor in map(self._at, at) if tensor not in self._gradients]
        for score in self._differentiable:
            gradients = self._gradients_of(score, rest)
            self._gradients |= {tensor: (score, found) for tensor, found in gradients.items() if found.any().tolist()}
            rest = [tensor for tensor in rest if tensor not in self._gradients]
        self._gradients |= dict.fromkeys(rest)

    def _gradients_of(self, score: Tensor, tensors: Sequence[Tensor]) -> dict[Tensor, Tensor]:
        inputs = [tensor for tensor in tensors if tensor.requires_grad]
        if not inputs:
            return {}
        try:
            edges = [self._edge(tensor) for tensor in inputs]
            gradients = torch.autograd.grad(score, edges, retain_graph=True, allow_unused=True)
        except RuntimeError:  # the model overwrote a tensor that some of the gradients need
            single = ((tensor, self.gradient_of(score, tensor)) for tensor in inputs)
            return {tensor: found for tensor, found in single if found is not None}
        return {tensor: found for tensor, found in zip(inputs, gradients, strict=True) if found is not None}

    def _at(self, at: Site | Tensor) -> Tensor:
        return self._tensors[at] if isinstance(at, Site) else at

    def _edge(self, tensor: Tensor) -> GradientEdge:
        return self._edges.get(tensor) or get_gradient_edge(tensor)

    def gradient_of(self, score: Tensor, at: Site | Tensor, blocked: Site | None = None) -> Tensor | None:
        """Return the gradient of a number at a tensor, or None if it is missing."""
        tensor = self._at(at)
        if not tensor.requires_grad:
            return None
        handle = None if blocked is None else self._blocked(blocked)
        try:
            return torch.autograd.grad(score, [self._edge(tensor)], retain_graph=True, allow_unused=True)[0]
        except RuntimeError:  # the model overwrote a tensor that the gradient needs
            return None
        finally:
            if handle is not None:
                handle.remove()

    def _blocked(self, site: Site) -> RemovableHandle | None:
        """Set the gradient at a site to zero until the handle is removed."""
        edge = self._edges.get(self._tensors[site])
        return None if edge is None else edge.node.register_prehook(lambda gradients: tuple(map(_zeros, gradients)))

    @cached_property
    def _differentiable(self) -> tuple[Tensor, ...]:
        """The highest score, and the highest value of the last vector on every path to the scores."""
        vectors = (self._tensors[site] for site, on_every in self.sites if on_every and len(site.shape) == 2)
        ends = [*self.scores[:1], *[vector for vector in vectors if vector is not self.scores[0]]]
        return tuple(end.amax() for end in ends if end.requires_grad and not lacks_gradients(end))


def _zeros(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else torch.zeros_like(gradient)


def _contains(outer: str, layer: str) -> bool:
    return layer != outer and layer.startswith(f"{outer}.")
