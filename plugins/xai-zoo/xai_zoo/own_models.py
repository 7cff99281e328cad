"""Models that a function of the user builds."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import xai_core as xai
from xai_core.plugin import (
    ModelCodeError,
    ModelSource,
    OptionError,
    Spec,
    UnknownModelError,
    UnknownOptionError,
    suggest,
)
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.image_options import ImageOptions
from xai_zoo.user_code import blaming, find_function, import_file, import_module, importable, on_path

_IMAGE = ("size", "mean", "std")
_WEIGHTS = ("weights", "checkpoint")
_SHARED = (*_IMAGE, *_WEIGHTS)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_FILE = re.compile(r"(?P<where>.+\.py)(?::(?P<function>.*))?")


class PythonModels(ModelSource):
    """Your own models: `models/mine.py:build,width=64,checkpoint=FILE` or `package.module:build,size=96`.

    The function or class is called with the options, and returns a module or an `xai_core.LoadedModel`. **Its code
    runs with all permissions of the process.** The source's name, `python:`, may precede the file or module.

    Options for a module: image `size` (224 or 224x320, default: 224), `mean` and `std` of the channels, and `labels`.
    The default normalization is ImageNet's, or 0.5 for one channel. A `checkpoint` (or `weights`) that the
    function does not take is loaded into the module. The random seed is 0 during the call.
    """

    name = "python"
    test_spec = "python:torchvision.models:resnet18,size=64"

    def load(self, name: str | None, **options: Any) -> xai.LoadedModel:
        where, function = _split(name)
        path = Path(where).expanduser() if where.endswith(".py") else None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            built, taken, files = _imported(where, function, path, options)
        spec = str(Spec(self.name, f"{where}:{function}", {key: _text(value) for key, value in options.items()}))
        if not isinstance(built, xai.LoadedModel):
            built = _with_preprocessing(built, taken, options)
        return dataclasses.replace(built, spec=spec, source_files=files)


def _imported(
    where: str, function: str, path: Path | None, options: Mapping[str, Any]
) -> tuple[nn.Module | xai.LoadedModel, Mapping[str, Any], list[Path]]:
    """Return the model, the options that were passed to the function, and the files of the user's code."""
    if path is None:
        with on_path(Path.cwd()):
            module = import_module(where)
            files = [Path(module.__file__)] if module.__file__ else []
            return *_build(find_function(module, function, where), f"{where}:{function}", None, options), files
    with importable(path.resolve().parent) as imported:
        function_or_model = find_function(import_file(path), function, where)
        return *_build(function_or_model, f"{where}:{function}", path, options), imported()


def _split(name: str | None) -> tuple[str, str]:
    """Return the file or module, and the function, of a name such as `models/mine.py:build`."""
    if name is None:
        raise UnknownModelError(
            "python: the function is missing; expected `FILE.py:FUNCTION` or `package.module:FUNCTION`"
        )
    if match := _FILE.fullmatch(name):
        return match["where"], match["function"] or ""
    where, _, function = name.rpartition(":")
    if not where or set("/\\") & set(function):
        raise UnknownModelError(f"{name!r} names no function; expected `FILE.py:FUNCTION` or `package.module:FUNCTION`")
    if set("/\\") & set(where):
        raise UnknownModelError(f"{where} is not a Python file; expected a name that ends in .py, such as `{where}.py`")
    return where, function


def _build(
    build: Any, shown: str, path: Path | None, options: Mapping[str, Any]
) -> tuple[nn.Module | xai.LoadedModel, Mapping[str, Any]]:
    """Call the user's function, or take the model that the name stands for. Also return the options that were passed.

    Raises
    ------
    ModelCodeError
        If the function raises an error, or does not return a model.
    OptionError
        If an option is unknown or missing, or has no effect.
    """
    is_model = isinstance(build, nn.Module | xai.LoadedModel)
    if not is_model and not callable(build):
        raise ModelCodeError(f"{shown} is {_described(build)}; expected a function or class that returns a model")
    taken = _taken(None if is_model else build, shown, options)
    with blaming(path, f"{shown} failed"):
        built = build if is_model else build(**taken)
    if isinstance(built, xai.LoadedModel):
        if unused := [option for option in options if option not in taken]:
            raise OptionError(f"{shown} does not take {unused[0]!r}, and returns a LoadedModel; remove {unused[0]}=")
    elif not isinstance(built, nn.Module):
        raise ModelCodeError(f"{shown} returned {_described(built)}; expected an nn.Module or a LoadedModel")
    return built, taken


def _taken(build: Callable[..., Any] | None, shown: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for the function: those that it names, and those that only it can know."""
    parameters = {} if build is None else _parameters(build, shown)
    kinds = [parameter.kind for parameter in parameters.values()]
    named = [name for name, parameter in parameters.items() if parameter.kind in _NAMED]
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds
    taken = {name: value for name, value in options.items() if name in named or name not in _SHARED}
    for option in taken:
        if option not in named and not takes_any:
            known = [*dict.fromkeys([*named, *_SHARED, "labels"])]
            raise UnknownOptionError(f"{shown} has no option {option!r}; {suggest(option, known)}")
    required = [name for name in named if parameters[name].default is inspect.Parameter.empty]
    if missing := [name for name in required if name not in taken]:
        raise OptionError(f"{shown} requires the option {missing[0]!r}; expected `{shown},{missing[0]}=VALUE`")
    return taken


def _parameters(build: Callable[..., Any], shown: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(build).parameters
    except (TypeError, ValueError) as error:
        raise ModelCodeError(f"{shown} has no signature ({error}); write a Python function that calls it") from error


def _with_preprocessing(model: nn.Module, taken: Mapping[str, Any], options: Mapping[str, Any]) -> xai.LoadedModel:
    """Return a module with weights of a file, if there is one, and with the preprocessing that the options describe."""
    files = [options[name] for name in _WEIGHTS if options.get(name) is not None and name not in taken]
    if len(files) > 1:
        raise OptionError("weights= and checkpoint= are the same option; set one of them")
    for file in files:
        fit(model, read_state_dict(file), file)
    images = ImageOptions.read(*(options.get(name) for name in _IMAGE))
    preprocess, restore = images.transform(_channels(model, images))
    return xai.LoadedModel(model.eval(), preprocess, restore=restore)


def _channels(model: nn.Module, images: ImageOptions) -> int:
    """Return the number of channels of the first convolution, or of the normalization, or else three."""
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None)
    if first is not None:
        return first.in_channels
    return max(len(images.mean or ()), len(images.std or ())) or 3


def _described(value: object) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in value) or 'nothing'}"
    return "nothing" if value is None else f"an object of class {type(value).__name__}"


def _text(value: Any) -> Any:
    """Return an option as a spec can express it."""
    return str(value) if isinstance(value, Path) else value
