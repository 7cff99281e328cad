"""Methods that the options of `xai explain` select."""

import inspect
from collections.abc import Mapping

from xai_core.configurable import MADE_OF
from xai_core.errors import OptionError, PluginError
from xai_core.explainer import Explainer
from xai_core.plugins.creation import create_explainer
from xai_core.plugins.registry import list_explainers
from xai_core.spec import read_value, split

ALL = "all"


def selected_methods(methods: str, layer: str | None) -> tuple[Mapping[str, Explainer], Mapping[str, str]]:
    """Return the explainers of a comma-separated list, by spec, and the reason for each method that is skipped.

    Parameters
    ----------
    methods
        Specs separated by commas, or `all` for every installed method that needs neither options nor another method.
    layer
        A layer for methods with a `layer` option, or None for the default of each method.
    """
    options = {} if layer is None else {"layer": read_value(layer)}
    if methods != ALL:
        return {spec: create_explainer(spec, **options) for spec in split(methods)}, {}
    explainers: dict[str, Explainer] = {}
    skipped: dict[str, str] = {}
    for name in list_explainers():
        try:
            explainer = create_explainer(name)
            if not MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
                skipped[name] = "composite method; pass it by name"
                continue
            explainers[name] = create_explainer(name, **_accepted(explainer, options))
        except (OptionError, PluginError) as error:
            skipped[name] = str(error)
    return explainers, skipped


def _accepted(explainer: Explainer, options: Mapping[str, object]) -> Mapping[str, object]:
    """Return the options that an explainer has."""
    return {name: value for name, value in options.items() if name in inspect.signature(type(explainer)).parameters}
