"""The attention of a model, as one forward pass of one image shows it."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from xai_core.errors import NoAttentionError, UnsuitableError
from xai_core.model.attention import ExplicitAttention
from xai_core.model.attention_call import FEATURE_MAPS, AttentionCall
from xai_core.model.attention_path import AttentionPath
from xai_core.model.attention_path_reader import AttentionPathReader, tokens_at
from xai_core.model.attention_problems import no_graph
from xai_core.model.attention_trace import head_layout, users_of
from xai_core.model.decoder import Decoder
from xai_core.model.decoder_reader import read_decoder
from xai_core.model.head_layout import HeadLayout
from xai_core.model.key_locations import key_locations
from xai_core.model.layouts import Features
from xai_core.model.noise import NoiseImages
from xai_core.model.observed_pass import ObservedPass, Observer
from xai_core.model.readout import Readout, read_out
from xai_core.model.site_layouts import SiteLayouts
from xai_core.model.sites import Site


class AttentionPaths:
    """The attention of each forward pass, and its paths to the scores.

    The path through the whole model is read from the probe. Paths through single modules are read when they are first
    requested, from another forward pass.

    Parameters
    ----------
    observed
        The forward pass of the probe.
    observer
        Observes other images.
    images
        These images.
    layouts
        The layouts of the sites.
    last
        The last features of the model, with their site, or None.
    readout
        How the scores depend on them, or None if this is not known.

    Attributes
    ----------
    calls
        The attention layers of each forward pass, in order of execution.
    """

    def __init__(
        self,
        observed: ObservedPass,
        observer: Observer,
        images: NoiseImages,
        layouts: SiteLayouts,
        last: tuple[Site, Features] | None,
        readout: Readout | None,
    ) -> None:
        self.calls = tuple(_calls(observed, last))
        self._observer, self._images, self._layouts, self._last = observer, images, layouts, last
        self._paths: dict[str, AttentionPath] = {}
        if last is not None and last[1].is_sequence and self._on_path(""):
            self._paths[""] = _path(observed, self._on_path(""), last, readout)

    @property
    def pooling(self) -> int | None:
        """The index of the attention with which one query pools the last tokens, see `AttentionPath`, or None."""
        return self._paths[""].pooling if "" in self._paths else None

    def layouts(self, batch: int) -> Sequence[HeadLayout | None]:
        """Return the order of images, windows and heads in each attention, or None for the usual order.

        Raises
        ------
        UnsuitableError
            If the dimension of the images cannot be distinguished from windows and heads.
        """
        if batch == 1 or all(call.is_plain for call in self.calls):
            return [call.layout for call in self.calls]
        return self._layouts_of_batches

    @cached_property
    def _layouts_of_batches(self) -> Sequence[HeadLayout | None]:
        """The layouts with the batch dimension, which is found by a pass of two images."""
        one_image, two_images = (self._observer.first_rows(self._images.first(count)) for count in (1, 2))
        return [
            call.layout if call.is_plain or one is None or two is None else call.layout_of_batches(one, two)
            for call, one, two in zip(self.calls, one_image, two_images, strict=True)
        ]

    def of(self, module: str = "") -> AttentionPath:
        """Return the path through the model, or through one module.

        Raises
        ------
        NoAttentionError
            If no attention lies between the images and the scores.
        UnsuitableError
            If the scores do not depend on tokens of the module that have locations in the image.
        """
        if module not in self._paths:
            with torch.inference_mode(False), torch.enable_grad():
                self._paths[module] = self._read(module)
        return self._paths[module]

    @cached_property
    def decoder(self) -> Decoder | None:
        """The decoder through which the scores depend on the last tokens. None if the last tokens are read otherwise.

        It is read from another forward pass.
        """
        path = self._paths.get("")
        if self._last is None or path is None or path.problem in ("", no_graph()):
            return None
        if all(call.windows > 1 or call.keys != path.features.count for call in path.calls.values()):
            return None
        with torch.inference_mode(False), torch.enable_grad():
            observed = self._observer.observe(self._images.first(1))
            return read_decoder(observed, self.calls, self._last, path.readout)

    def is_differentiable(self, number: int) -> bool:
        """Return whether explainers may request the gradient of an attention layer.

        The layer lies on a path to the scores, or belongs to the decoder.
        """
        return self.calls[number].on_path or (self.decoder is not None and number in self.decoder.layers)

    def _on_path(self, module: str) -> dict[int, AttentionCall]:
        return {number: call for number, call in enumerate(self.calls) if call.on_path and call.is_in(module)}

    def _read(self, module: str) -> AttentionPath:
        calls, where = self._on_path(module), f" in module {module!r}" if module else ""
        if not calls:
            raise NoAttentionError(
                f"this model has no attention layer on the path from the images to the scores{where}; use "
                f"{FEATURE_MAPS}"
            )
        observed = self._observer.observe(self._images.first(1))
        last = self._last_of(module, observed, [*calls.values()][-1].keys)
        if last is None:
            raise UnsuitableError(
                f"no attention layer{where} affects the scores of this model through tokens with known image "
                f"locations; use {FEATURE_MAPS}"
            )
        return _path(observed, calls, last, read_out(observed.graph, last))

    def _last_of(self, module: str, observed: ObservedPass, tokens: int) -> tuple[Site, Features] | None:
        """Return the last tokens of a module on the path to the scores."""
        for site, _ in observed.graph.sites:
            if f"{site.layer}.".startswith(f"{module}.") and tokens in site.shape:
                features = self._layouts.of(site)
                if features is not None and features.is_sequence and features.count == tokens:
                    return site, features
        return None


def _path(
    observed: ObservedPass, calls: dict[int, AttentionCall], last: tuple[Site, Features], readout: Readout | None
) -> AttentionPath:
    readout = readout or Readout.usual(last[1].count, last[1].elements)
    if observed.graph.tensor(last[0]).grad_fn is None or not observed.graph.path:
        return AttentionPath(calls, last[1], readout.weights, (), frozenset(), no_graph())
    return AttentionPathReader(observed, calls, last, readout.weights).path()


def _calls(observed: ObservedPass, last: tuple[Site, Features] | None) -> Iterator[AttentionCall]:
    graph, blocked = observed.graph, [mixed for traced in observed.attentions for mixed, _ in traced.mixed]
    users = users_of([*graph.path])
    for traced in observed.attentions:
        layer, nodes, locations = traced.layer, traced.nodes, None
        on_path, layout = not graph.path or graph.connects(nodes), head_layout(traced, users)
        from_images = on_path or graph.depends_on_image(nodes)
        if last is not None and last[1].is_sequence and on_path and layer.of_one_query:
            locations = key_locations(traced.values[0], tokens_at(graph, last), last[1], blocked)
        matrices = layer.batch * layer.heads
        yield AttentionCall(
            module=traced.module,
            around=traced.around,
            queries=layer.queries,
            keys=layer.keys,
            windows=layer.batch if layout is None else matrices // layout.heads,
            is_plain=layer.leading is None or layer.leading == (1, layer.heads) or not from_images,
            from_images=from_images,
            on_path=on_path,
            layout=layout,
            is_signed=isinstance(layer, ExplicitAttention) and _has_negative(traced.differentiated),
            key_locations=locations,
        )


def _has_negative(weights: Tensor | None) -> bool:
    return weights is not None and bool((weights < 0).any().tolist())
