"""The extension points.

A plugin is a distribution with an entry point in the group `xai_core`:

    [project.entry-points.xai_core]
    mine = "my_package"

The module that it names carries functions marked with `xai_core.hookimpl`, each named after one of the
functions below. They are called once, when the first method, metric, model or data set is looked up. Each
takes no argument and returns a list of classes; names must be unique over all that is installed.
"""

import pluggy

from xai_core.data.sources import DatasetSource, ModelSource
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter

CONTRACT = 1
"""The version of the contract between plugins and xai-core: the hooks, and what their classes promise and are given.

It grows where a plugin has to be changed to go on working. A plugin says with which releases of xai-core it works by
its own requirements, such as `xai-core>=0.1,<0.2`, and is not loaded with others.
"""

hookspec = pluggy.HookspecMarker("xai_core")
hookimpl = pluggy.HookimplMarker("xai_core")


@hookspec
def xai_explainers() -> list[type[Explainer]]:
    """Give explainers: subclasses of `Explainer`, one per method, each with a `name`.

    They are made by `create_explainer(name, **options)`, and `name:option=value` wherever a method is named.
    """
    raise NotImplementedError


@hookspec
def xai_metrics() -> list[type[Metric]]:
    """Give metrics: subclasses of `Metric`, each with a `name` and its direction, `higher_is_better`."""
    raise NotImplementedError


@hookspec
def xai_adapters() -> list[type[ModelAdapter]]:
    """Give adapters for models that the built-in ones misread: subclasses of `ModelAdapter`.

    An engine asks each one's `suits(model, probe)` in the order of the distributions' names, before the
    built-in ones, and takes the first that does.
    """
    raise NotImplementedError


@hookspec
def xai_models() -> list[type[ModelSource]]:
    """Give model sources: subclasses of `ModelSource`, made without arguments."""
    raise NotImplementedError


@hookspec
def xai_datasets() -> list[type[DatasetSource]]:
    """Give data sources: subclasses of `DatasetSource`, made without arguments."""
    raise NotImplementedError
