"""Settings of a benchmark. Each setting is declared once, with its default, help text and allowed values.

The command line, the TOML reader and the manifest are derived from these declarations. A test compares the tables in
`docs/benchmark.md` with them. This module imports neither PyTorch nor plugins, so `xai benchmark --help` is fast.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai_core.benchmarking.declaration import checked_value, declare
from xai_core.benchmarking.protocols import PROTOCOLS, find_protocol
from xai_core.errors import FileError, OptionError, UnknownOptionError
from xai_core.spec import suggest

if TYPE_CHECKING:
    from xai_core.data.sources import Dataset, LoadedModel
    from xai_core.explainer import Explainer
    from xai_core.metric import Metric

ALL = "all"
"""Name that selects every compatible method that is not composite, or every compatible metric."""
CONTROLS = ("random", "center", "edges")
"""The control methods, which do not depend on the model."""


@dataclass(frozen=True, kw_only=True)
class RecordedSettings:
    """Settings that the manifest records unchanged, because scores or files depend on them."""

    protocol: str | None = field(
        default=None,
        metadata=declare(
            help=f"Evaluation protocol of a paper: {', '.join(PROTOCOLS)}. It adds metrics and sets the target.",
            metavar="NAME",
            default_help="none",
        ),
    )
    target: str = field(
        default="predicted",
        metadata=declare(
            help="Class to explain: the predicted class or the image's label. For a detector: its best detection, of "
            "any class or of the label's. For a segmentation model: the region of its largest class or of the label's. "
            "For a model of images and texts: the image's text.",
            choices=("predicted", "label"),
        ),
    )
    seed: int = field(
        default=0,
        metadata=declare(help="Random seed of every method and metric that does not set its own.", metavar="N"),
    )
    precision: str = field(
        default="fp32",
        metadata=declare(
            help="Floating-point precision of forward passes (bf16 and fp16 use autocast).",
            choices=("fp32", "bf16", "fp16"),
        ),
    )
    batch: int = field(default=8, metadata=declare(help="Batch size.", metavar="N", minimum=1))
    shard: int = field(
        default=16,
        metadata=declare(
            help="Number of images that are saved together (a shard). A resumed run recomputes unfinished shards.",
            metavar="N",
            minimum=1,
        ),
    )
    maps: bool = field(default=False, metadata=declare(help="Save the maps, as float16 NumPy files."))
    time_limit: float = field(
        default=1800.0,
        metadata=declare(
            help="Timeout per image for one method, or for one metric on the maps of one method, in seconds.",
            metavar="SECONDS",
        ),
    )

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class Settings(RecordedSettings):
    """Settings that decide what a benchmark computes."""

    models: "tuple[str | LoadedModel, ...]" = field(
        metadata=declare(
            help="Models to benchmark (see `xai list models`).",
            metavar="SPEC",
            option="model",
            several=True,
            objects=True,
        )
    )
    data: "str | Dataset" = field(
        metadata=declare(help="Dataset (see `xai list datasets`).", metavar="SPEC", objects=True)
    )
    methods: "tuple[str | Explainer, ...]" = field(
        default=(ALL,),
        metadata=declare(
            help="Methods, or `all` for every compatible method that is not composite.",
            metavar="SPEC[,SPEC...]",
            option="method",
            several=True,
            objects=True,
        ),
    )
    metrics: "tuple[str | Metric, ...]" = field(
        default=(),
        metadata=declare(
            help="Metrics, or `all` for every compatible metric. Required if no protocol is set.",
            metavar="SPEC[,SPEC...]",
            option="metric",
            several=True,
            objects=True,
            default_help="the metrics of the protocol",
        ),
    )
    without: tuple[str, ...] = field(
        default=(),
        metadata=declare(
            help="Methods and metrics to exclude from `all` and from the controls.",
            metavar="SPEC[,SPEC...]",
            several=True,
            default_help="none",
        ),
    )
    limit: int | None = field(
        default=None,
        metadata=declare(
            help="Number of images, from the start of the dataset.",
            metavar="N",
            minimum=1,
            default_help="all images",
        ),
    )
    controls: bool = field(
        default=True, metadata=declare(help=f"Add the model-independent control methods {', '.join(CONTROLS)}.")
    )
    device: str | None = field(
        default=None,
        metadata=declare(
            help="PyTorch device, such as cpu or cuda:1.", metavar="DEVICE", default_help="a GPU if available"
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, example in (
            ("models", self.models, "'torchvision:resnet50'"),
            ("data", self.data, "'folder:photos'"),
            ("methods", self.methods, "'grad-cam', or 'all'"),
        ):
            if value is None or (isinstance(value, str | tuple) and not value):
                raise OptionError(f"no {name} to benchmark; pass {name}=, such as {example}")
        if not self.metrics and self.protocol is None:
            raise OptionError("no metrics to benchmark; pass metrics=, such as 'deletion', or protocol='rise'")

    @classmethod
    def with_protocol(cls, **settings: Any) -> "Settings":
        """Return the settings, with the metrics and the target that the protocol adds.

        Raises
        ------
        OptionError
            If a value is not allowed, or if the target differs from the protocol's.
        """
        requested = cls(**settings)
        if requested.protocol is None:
            return requested
        protocol = find_protocol(requested.protocol)
        if settings.get("target", protocol.target) != protocol.target:
            raise OptionError(
                f"the protocol {requested.protocol} explains the {protocol.target} class, not the {requested.target};"
                " leave out the target, or the protocol"
            )
        return replace(requested, metrics=(*protocol.metrics, *requested.metrics), target=protocol.target)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Settings that decide where and how a benchmark runs. No score depends on them."""

    out: Path = field(
        metadata=declare(
            help="Folder of the run. If the folder contains a run with the same settings, the run resumes.",
            metavar="RUN",
        )
    )
    backend: str = field(
        default="local",
        metadata=declare(help="Execution backend: this machine, or a Ray cluster.", choices=("local", "ray")),
    )
    address: str | None = field(
        default=None,
        metadata=declare(
            help="Address of a Ray cluster.", metavar="HOST:PORT", default_help="a new cluster on this machine"
        ),
    )
    workers: int | None = field(
        default=None,
        metadata=declare(
            help="Number of data-loading threads (local) or of actors (ray).",
            metavar="N",
            minimum=1,
            default_help="2 threads, or one actor per GPU or per two CPUs",
        ),
    )
    in_process: bool = field(
        default=False,
        metadata=declare(
            help="Compute in this process, for debugging. A plugin that ends or blocks the process then stops the run."
        ),
    )
    retry_errors: bool = field(default=False, metadata=declare(help="Recompute the shards that contain errors."))

    def __post_init__(self) -> None:
        _check(self)
        if self.address is not None and self.backend != "ray":
            raise OptionError(
                f"address={self.address!r} is the address of a Ray cluster; pass backend='ray' too, or omit address="
            )
        if self.in_process and self.backend == "ray":
            raise OptionError("in_process=True is not possible with backend='ray'; omit one of them")


def _check(settings: RecordedSettings | Execution) -> None:
    """Check every value, and replace it by one of the declared type."""
    for setting in fields(settings):
        if setting.metadata:  # the manifest has fields that are not settings
            value = checked_value(setting, getattr(settings, setting.name))
            object.__setattr__(settings, setting.name, value)


def _declared(settings: type) -> dict[str, Field[Any]]:
    return {setting.name: setting for setting in fields(settings)}


RECORDED: Mapping[str, Field[Any]] = _declared(RecordedSettings)
EXECUTION: Mapping[str, Field[Any]] = _declared(Execution)
CHOSEN: Mapping[str, Field[Any]] = {
    name: setting for name, setting in _declared(Settings).items() if name not in RECORDED
}
"""The settings that name models, data, methods and metrics. The manifest records the objects that they name."""
SETTINGS: Mapping[str, Field[Any]] = {**CHOSEN, **RECORDED, **EXECUTION}
"""Every setting, by name."""


def require_known(names: Iterable[str], source: str) -> None:
    """Check that every name is the name of a setting. The error message starts with `source`.

    Raises
    ------
    UnknownOptionError
        If a name is not the name of a setting.
    """
    for name in names:
        if name not in SETTINGS:
            raise UnknownOptionError(f"{source} has no setting {name!r}; {suggest(name, SETTINGS)}")


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings by name from a TOML file.

    Raises
    ------
    FileError
        If the file cannot be read.
    UnknownOptionError
        If the file contains an unknown name.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not a TOML file: {error}") from error
    require_known(settings, str(path))
    return settings
