"""The extension points (hooks) that plugins implement.

A plugin is a package with an entry point in the group `xai_core`:

    [project.entry-points.xai_core]
    mine = "my_package"

The module that the entry point names contains functions marked with `xai_core.hookimpl`, each named after one of the
functions below. They are called once, when the first method, metric, model or dataset is looked up. Each takes no
argument and returns a list of classes. Names must be unique among all installed plugins.
"""

import pluggy

from xai_core.data.sources import DatasetSource, ModelSource
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter

CONTRACT = 1
"""The version of the contract between plugins and xai-core: the hooks and the interfaces of their classes.

It increases when plugins have to be changed. A plugin declares the compatible releases of xai-core in its requirements,
such as `xai-core>=0.1,<0.2`. It is not loaded with other releases.
"""

hookspec = pluggy.HookspecMarker("xai_core")
hookimpl = pluggy.HookimplMarker("xai_core")


@hookspec
def xai_explainers() -> list[type[Explainer]]:
    """Return explainers: subclasses of `Explainer`, one per method, each with a `name`.

    `create_explainer(name, **options)` creates them, and so does the spec `name:option=value`.
    """
    raise NotImplementedError


@hookspec
def xai_metrics() -> list[type[Metric]]:
    """Return metrics: subclasses of `Metric`, each with a `name` and its direction `higher_is_better`."""
    raise NotImplementedError


@hookspec
def xai_adapters() -> list[type[ModelAdapter]]:
    """Return adapters for models that the built-in adapters misinterpret: subclasses of `ModelAdapter`.

    An engine uses the first adapter whose `suits(model, probe)` returns true. It calls the adapters of plugins
    first, in the order of the package names, and then the built-in adapters.
    """
    raise NotImplementedError


@hookspec
def xai_models() -> list[type[ModelSource]]:
    """Return model sources: subclasses of `ModelSource`, created without arguments."""
    raise NotImplementedError


@hookspec
def xai_datasets() -> list[type[DatasetSource]]:
    """Return dataset sources: subclasses of `DatasetSource`, created without arguments."""
    raise NotImplementedError
