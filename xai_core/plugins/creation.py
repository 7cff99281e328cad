"""Creates explainers and metrics, and loads models and datasets, from their specs."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from xai_core.configurable import MADE_OF
from xai_core.data.sources import Dataset, DatasetSource, LoadedModel, ModelSource
from xai_core.errors import OptionError, PluginContractError, SpecError, UnknownOptionError, XAIError
from xai_core.explainer import Explainer
from xai_core.isolation.error_context import PluginCall
from xai_core.metric import Metric
from xai_core.plugins.loader import Entry
from xai_core.plugins.model_options import shared_options, with_labels
from xai_core.plugins.own_models import with_source
from xai_core.plugins.registry import current
from xai_core.spec import Spec, close_names, parse, suggest

T = TypeVar("T")


def create_explainer(name: str, **options: Any) -> Explainer:
    """Create an explainer by name or spec, such as `grad-cam` or `grad-cam:layer=layer3`.

    Parameters
    ----------
    name
        A name or spec.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownExplainerError
        If no plugin provides the name.
    UnknownOptionError
        If the method has no such option.
    OptionError
        If an option has a wrong value.
    SpecError
        If the spec cannot be parsed.
    """
    return _create(name, "explainers", Explainer, options)


def create_metric(name: str, **options: Any) -> Metric:
    """Create a metric by name or spec, such as `deletion` or `deletion:steps=28`.

    Parameters
    ----------
    name
        A name or spec.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownMetricError
        If no plugin provides the name.
    UnknownOptionError
        If the metric has no such option.
    OptionError
        If an option has a wrong value.
    SpecError
        If the spec cannot be parsed.
    """
    return _create(name, "metrics", Metric, options)


def load_model(spec: str, **options: Any) -> LoadedModel:
    """Load a model by its spec, such as `timm:vit_small_patch16_224` or `torchvision:resnet50,weights=FILE`.

    Parameters
    ----------
    spec
        A source, and a model of that source if it has several. Or a function of a file or module that builds the model,
        such as `models/mine.py:build`, whose code is run.
    options
        Options, which override those of the spec. `labels` sets the class names of any model.

    Raises
    ------
    UnknownModelError
        If no plugin provides the source, or the source does not have the model.
    UnknownOptionError, OptionError
        If an option does not exist, or has a wrong value.
    CheckpointError, FileError
        If a weights file cannot be read, does not match the model, or does not exist.
    PluginContractError
        If the source returns no `LoadedModel`.
    """
    parsed = with_source(parse(spec))
    entry = current().find("models", parsed.head)
    options = {**parsed.options, **options}
    with source_call("model", spec).responsible(quiet=XAIError):
        source: ModelSource = entry.made_by()
        own_options, class_names = shared_options(source.load, options)
        loaded = _call(source.load, parsed, parsed.name, **own_options)
    if not isinstance(loaded, LoadedModel):
        raise _wrong_type(entry, "a LoadedModel", loaded)
    return loaded if class_names is None else with_labels(loaded, class_names, options["labels"])


def load_dataset(spec: str, **options: Any) -> Dataset:
    """Open a dataset by its spec, such as `photos` or `folder:PATH`.

    Parameters
    ----------
    spec
        A source, and the dataset or folder if the source needs one. Quotes allow any path: `folder:"/data/a,b"`.
    options
        Options, which override those of the spec.

    Raises
    ------
    UnknownDatasetError
        If no plugin provides the source, or the source does not have the dataset.
    UnknownOptionError, OptionError
        If an option does not exist, or has a wrong value.
    FileError
        If a file or folder does not exist.
    PluginContractError
        If the source returns no dataset.
    """
    parsed = parse(spec)
    entry = current().find("datasets", parsed.head)
    with source_call("dataset", spec).responsible(quiet=XAIError):
        source: DatasetSource = entry.made_by()
        data = _call(source.load, parsed, parsed.name, **{**parsed.options, **options})
    if not isinstance(data, Dataset):
        raise _wrong_type(entry, "a dataset with `__len__` and `__getitem__`", data)
    return data


def _wrong_type(entry: Entry, expected: str, returned: object) -> PluginContractError:
    return PluginContractError(
        f"`load` of the source {entry.name} of {entry.plugin.release} must return {expected}; "
        f"it returned {type(returned).__name__}"
    )


def source_call(kind: str, requested: object) -> PluginCall:
    """Describe the calls of a model or dataset, which come from a source or from an object that the user passed."""
    if not isinstance(requested, str):
        name = type(requested).__name__
        return PluginCall(kind, requested.spec or name if isinstance(requested, LoadedModel) else name, requested)
    spec = parse(requested)
    entry = current().entries[f"{kind}s"].get((with_source(spec) if kind == "model" else spec).head)
    return PluginCall(kind, requested, *((entry.made_by, entry.plugin.release) if entry else (requested,)))


def _create(text: str, kind: str, base: type[T], options: dict[str, Any]) -> T:
    spec = parse(text)
    entry = current().find(kind, spec.head)
    made_by = entry.made_by
    if spec.name is not None:
        taken = ", ".join(_options_of(made_by)) or "none"
        raise SpecError(
            f"{spec.name!r} in {text!r} is not an option; expected `{spec.head}:option=value`. The options are: {taken}"
        )
    with PluginCall(kind.removesuffix("s"), spec.head, made_by, entry.plugin.release).responsible(quiet=XAIError):
        created = _call(made_by, spec, **{**_nested(made_by, spec), **spec.options, **options})
    assert isinstance(created, base)
    return created


def _nested(made_by: type[Any], spec: Spec) -> dict[str, Any]:
    """Return the option that receives the specs in the parentheses of a composite method."""
    if not spec.of:
        return {}
    taken = [name for name in MADE_OF if name in _options_of(made_by)]
    if not taken:
        raise SpecError(f"{spec.head!r} is not a composite explainer; expected `{spec.head}:option=value`")
    if taken == ["explainer"] and len(spec.of) > 1:
        raise SpecError(f"{spec.head!r} must contain exactly one explainer, got {len(spec.of)}: {', '.join(spec.of)}")
    return {taken[0]: spec.of[0] if taken == ["explainer"] else spec.of}


def _options_of(function: Callable[..., Any], skipped: int = 0) -> list[str]:
    """Return the names of a function's parameters, without the first `skipped`, `*args` and `**options`."""
    parameters = [*inspect.signature(function).parameters.values()][skipped:]
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _call(function: Callable[..., Any], spec: Spec, *args: Any, **options: Any) -> Any:
    """Call a function with options, after checking that it takes them.

    Raises
    ------
    UnknownOptionError
        If it does not take one of the options.
    OptionError
        If it requires an option that is missing.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        known = _options_of(function, len(args))
        takes = f"it takes {', '.join(known) or 'no options'}"
        for option in options:
            if option not in known:
                close = f"; {suggest(option, known)}" if close_names(option, known) else ""
                raise UnknownOptionError(f"{spec.head} has no option {option!r} ({takes}){close}") from None
        raise OptionError(f"{spec.head}: {error}; {takes}") from None
    return function(*args, **options)
