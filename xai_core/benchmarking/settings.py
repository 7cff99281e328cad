"""What a benchmark is asked for: as arguments, or as a TOML file that says the same."""

import operator
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, SupportsIndex

from torch import nn

from xai_core.benchmarking.protocols import find_protocol
from xai_core.data.sources import Dataset, LoadedModel
from xai_core.errors import FileError, OptionError
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.spec import suggest

ALL = "all"
"""Every installed method that suits the model, or metric that suits the data."""
CONTROLS = ("random", "center", "edges")
"""Methods that see nothing of the model: what any other is compared with."""
PRECISIONS = ("fp32", "bf16", "fp16")
TARGETS = ("predicted", "label")
TIME_LIMIT = 1800.0
LISTS: dict[str, tuple[type, ...]] = {
    "models": (str, LoadedModel),
    "methods": (str, Explainer),
    "metrics": (str, Metric),
    "without": (str,),
}
"""The settings that hold several, and what each of them is."""
AROUND = ("out", "engine", "address", "workers")
"""What else a file may say: where and how the work is done, on which no number depends."""


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Attributes
    ----------
    models
        Specs, or loaded models.
    data
        A spec, or a data set.
    methods
        Specs, explainers, or `all`.
    metrics
        Specs, metrics, or `all`; beside those of the protocol.
    protocol
        The name of a preset, which gives metrics with their options and the target; see `protocols`.
    without
        Names of methods and metrics that `all` leaves out.
    limit
        How many images, from the first; all of them where None.
    target
        The class explained: `predicted`, or the image's `label`.
    controls
        Whether `random`, `center` and `edges` are among the methods.
    seed
        Of every method and metric that takes one and is not given it.
    precision
        `fp32`, or `bf16` or `fp16` for the model's forwards (autocast).
    batch, shard
        How many images go through a pass, and how many are written together.
    maps
        Whether the maps are written too.
    time_limit
        Seconds for each image that one method, or one metric on one method's maps, may take before it is interrupted.
    device
        Such as `cpu` or `cuda`; a GPU where there is one if None.
    """

    models: tuple[str | LoadedModel, ...]
    data: str | Dataset
    methods: tuple[str | Explainer, ...] = (ALL,)
    metrics: tuple[str | Metric, ...] = ()
    protocol: str | None = None
    without: tuple[str, ...] = ()
    limit: int | None = None
    target: str = "predicted"
    controls: bool = True
    seed: int = 0
    precision: str = "fp32"
    batch: int = 8
    shard: int = 16
    maps: bool = False
    time_limit: float = TIME_LIMIT
    device: str | None = None

    def __post_init__(self) -> None:
        for name, given in (("models", self.models), ("data", self.data)):
            if given is None or (isinstance(given, str | tuple) and not given):
                raise OptionError(f"no {name} to benchmark; give {name}=, such as {_EXAMPLES[name]}")
        for name, example in (("protocol", "rise"), ("device", "cuda")):
            if not isinstance(getattr(self, name), str | None):
                raise OptionError(f"{name}={_short(getattr(self, name))} is no text; expected such as {example!r}")
        for name, kinds in LISTS.items():
            for one in getattr(self, name):
                if not isinstance(one, kinds):
                    hint = "; give a spec, or LoadedModel(model, preprocess, spec=...)" if name == "models" else ""
                    expected = " or ".join("spec" if kind is str else kind.__name__ for kind in kinds)
                    raise OptionError(f"{name}: expected a {expected}, got {type(one).__name__} {_short(one)}{hint}")
        if not self.methods:
            raise OptionError(f"no methods to benchmark; give their names, or {ALL!r}")
        if not self.metrics and self.protocol is None:
            raise OptionError("no metrics to score with; give their names, or a protocol such as 'rise'")
        for name, allowed in (("precision", PRECISIONS), ("target", TARGETS)):
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name}={getattr(self, name)!r} is not one of {', '.join(allowed)}")
        for name, least in {"limit": 1, "batch": 1, "shard": 1, "seed": 0}.items():
            number = getattr(self, name)
            if number is not None or name != "limit":
                object.__setattr__(self, name, whole(name, number, least))
        limit = self.time_limit
        if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 < limit < float("inf"):
            raise OptionError(f"time_limit={limit!r} is out of range; expected seconds, more than 0")
        object.__setattr__(self, "time_limit", float(limit))  # so that 60 and 60.0 are one run
        for name in ("controls", "maps"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name}={getattr(self, name)!r} is neither true nor false")

    @classmethod
    def of_protocol(cls, **given: Any) -> "Settings":
        """The settings given, with those that a protocol adds.

        Raises
        ------
        OptionError
            Where something is missing, out of range, or against the protocol.
        """
        settings = cls(**given)
        if settings.protocol is None:
            return settings
        protocol = find_protocol(settings.protocol)
        if given.get("target", protocol.target) != protocol.target:
            raise OptionError(
                f"the protocol {settings.protocol} explains the {protocol.target} class, not the {settings.target}"
            )
        return replace(settings, metrics=(*protocol.metrics, *settings.metrics), target=protocol.target)


def whole(name: str, given: object, least: int) -> int:
    """A whole number, NumPy's too, as Python's.

    Raises
    ------
    OptionError
        Where it is something else, or less than it may be.
    """
    number = operator.index(given) if isinstance(given, SupportsIndex) and not isinstance(given, bool) else least - 1
    if number < least:
        raise OptionError(f"{name}={given!r} is out of range; expected a whole number from {least} up")
    return number


def several(given: Any) -> tuple[Any, ...]:
    """One or several as several; a model that is a sequence of layers is one."""
    alone = isinstance(given, str | LoadedModel | Explainer | Metric | nn.Module) or not isinstance(given, Iterable)
    return (given,) if alone else tuple(given)


def read_settings(path: Path) -> dict[str, Any]:
    """Read what a TOML file says, by the names of `Settings` and of `AROUND`.

    Raises
    ------
    FileError
        Where it cannot be read.
    OptionError
        Where it says what no setting is called.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not TOML: {error}") from error
    known = [*(field.name for field in fields(Settings)), *AROUND]
    for name, value in given.items():
        if name not in known:
            raise OptionError(f"{path}: there is no setting {name!r}; {suggest(name, known)}")
        if name in LISTS:
            given[name] = several(value)
    return given


def _short(given: object) -> str:
    shown = " ".join(repr(given).split())
    return shown if len(shown) < 40 else shown[:37] + "..."


_EXAMPLES = {"models": "'torchvision:resnet50'", "data": "'folder:photos'"}
