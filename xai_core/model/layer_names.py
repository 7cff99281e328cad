"""Names of layers: the tensors that they refer to, and errors that suggest other layers."""

from collections.abc import Callable

from torch import nn

from xai_core.errors import LayerError
from xai_core.model.layouts import Features, Layer
from xai_core.model.probe import Probe
from xai_core.model.runtimes import require_layers
from xai_core.model.sites import Site, split_call
from xai_core.spec import close_names

NO_LAYER = (
    "no layer of this model has elements that can be located in the image; use a method without layers, such as rise, "
    "occlusion or saliency"
)


class LayerNames:
    """The layers of a probed model, by name."""

    def __init__(self, model: nn.Module, probe: Probe) -> None:
        self._model, self._probe = model, probe
        self._names = {module: name for name, module in model.named_modules()}

    def advice(self, choose: str) -> str:
        """Return advice to choose a layer, with an example, or the advice for a model without such a layer."""
        return NO_LAYER if self._example is None else f"{choose}, such as {self._example!r}"

    def name(self, layer: Layer, default: Callable[[], str]) -> str:
        """Return the name of a layer. The error for an unknown name suggests `default()`. See `ModelAdapter`."""
        if isinstance(layer, nn.Module):
            return self._of_module(layer)
        require_layers(self._model)
        module, call = split_call(str(layer))
        try:
            module = self._names[self._model.get_submodule(module)]
        except AttributeError:
            raise self._unknown(str(layer), default) from None
        runs = self._probe.runs.get(module, 0)
        if call is not None and call >= runs:
            raise LayerError(
                f"layer {module!r} runs {runs} times in one forward pass; expected a name from `{module}@0` to "
                f"`{module}@{runs - 1}`"
            )
        return module if call is None else f"{module}@{call}"

    def site(self, layer: str) -> Site:
        """Return the tensor that a name refers to. See `ModelAdapter`."""
        site = self._probe.site(layer)
        if site is None:
            why = "returns no tensor" if self._probe.runs.get(split_call(layer)[0]) else "does not run"
            raise LayerError(
                f"layer {layer!r} {why} in this model's forward pass; choose a layer that returns a tensor"
            )
        return site

    def features(self, layer: str) -> Features:
        """Return the layout of a layer's output. See `ModelAdapter`."""
        features = self._probe.layouts.of(self.site(layer))
        if features is None:
            expected = self.advice("expected a feature map, or tokens that can be located in the image")
            raise LayerError(f"layer {layer!r} has no spatial output: {expected}")
        return features

    @property
    def _example(self) -> str | None:
        """The default layer, the last layer with spatial features if there is no default, or None."""
        layers, features = reversed(self._probe.spatial_layers), self._probe.features
        located = (name for name in layers if name in features and features[name].cells > 1)
        return self._probe.default_layer or next(located, None)

    def _of_module(self, module: nn.Module) -> str:
        if module not in self._names:
            raise LayerError(
                f"the module {type(module).__name__} passed as layer is not part of this model. "
                "Pass the layer's name (a string), which also works on copies of the model"
            )
        return self._names[module]

    def _unknown(self, name: str, default: Callable[[], str]) -> LayerError:
        known = sorted(self._probe.spatial_layers)
        close = ", ".join(map(repr, close_names(name, known, cutoff=0.3) or known[-3:]))
        also = "" if self._probe.default is None else f"; the default layer is {default()!r}"
        return LayerError(
            f"the model has no layer {name!r}; "
            + (f"layers with spatial output include {close}{also}" if self._example else NO_LAYER)
        )
