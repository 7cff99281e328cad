"""The blocks of a transformer: the tokens that each attention on the path to the scores contributes to."""

from collections import Counter
from dataclasses import replace

from torch import Tensor

from xai_core.model.attention_trace import TracedAttention
from xai_core.model.autograd_graph import ancestors
from xai_core.model.layouts import Features
from xai_core.model.observed_pass import ObservedPass
from xai_core.model.site_graph import SiteGraph
from xai_core.model.site_layouts import SiteLayouts
from xai_core.model.sites import Site


def attention_blocks(observed: ObservedPass, layouts: SiteLayouts, pooling: int | None = None) -> tuple[Features, ...]:
    """Return the layout of each attention's block, or () if one has no block or the layouts differ.

    If residuals are added outside of modules, no module returns the block's tokens. Then the last module input before
    the next attention determines the layout. The `pooling` of the last tokens (`AttentionPath.pooling`) has no block.
    Before it, the last module input may follow a final norm, so the last block has no such input.
    """
    graph = observed.graph
    on_path = [(number, traced) for number, traced in enumerate(observed.attentions, 1) if graph.connects(traced.nodes)]
    if len({traced.layer.keys for _, traced in on_path}) > 1:
        return ()
    dominating = {site.layer: site for site, on_every in graph.sites if on_every and site.layer not in graph.repeated}
    attentions_in = Counter(name for _, traced in on_path for name in traced.around)
    blocks: list[Features] = []
    in_blocks = [(number, traced) for number, traced in on_path if number - 1 != pooling]
    for number, traced in in_blocks:
        alone = [dominating[name] for name in traced.around if attentions_in[name] == 1 and name in dominating]
        own = [site for site in alone if _may_have_tokens(site.shape, traced)]
        block = next(filter(None, (_output(site, traced, layouts) for site in own)), None)
        if block is None and (pooling is None or number < in_blocks[-1][0]):
            block = _last_input(number, traced, observed, layouts)
        blocks += [] if block is None else [block]
    alike = len({(features.layout, features.count, features.channels) for features in blocks}) == 1
    return tuple(blocks) if alike and len(blocks) == len(in_blocks) else ()


def _may_have_tokens(shape: tuple[int, ...], traced: TracedAttention) -> bool:
    return len(shape) == 3 and traced.layer.keys in shape[:2]


def _output(site: Site, traced: TracedAttention, layouts: SiteLayouts) -> Features | None:
    features = layouts.of(site)
    if features is None or not _has_tokens(features, traced):
        return None
    return replace(features, call=site.call)


def _has_tokens(features: Features, traced: TracedAttention) -> bool:
    return features.is_sequence and features.count == traced.layer.keys


def _last_input(number: int, traced: TracedAttention, observed: ObservedPass, layouts: SiteLayouts) -> Features | None:
    """Return the layout of the last module input before the next attention that is on every path to the scores."""
    calls, graph = observed.calls, observed.graph
    for name, tensor in reversed([*calls.inputs_after(number)]):
        shape = tuple(tensor.shape)
        if calls.runs[name] == 1 and _may_have_tokens(shape, traced) and _is_after(tensor, traced, graph):
            same = (site for site in calls.tensors if site.layer == name and site.shape == shape)
            features = next((layouts.of(site) for site in same), None)
            if features is not None and _has_tokens(features, traced):
                return replace(features, is_input=True)
    return None


def _is_after(tensor: Tensor, traced: TracedAttention, graph: SiteGraph) -> bool:
    node = tensor.grad_fn
    return node is not None and graph.path.get(node, False) and not ancestors([node]).isdisjoint(traced.nodes)
