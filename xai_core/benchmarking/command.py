"""The command that repeats a run."""

import shlex
from collections.abc import Iterator

from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.protocols import find_protocol
from xai_core.benchmarking.settings import CONTROLS, RECORDED, RecordedSettings


def command_of(manifest: Manifest, out: str) -> str:
    """Return the `xai benchmark` command of a run with this manifest.

    Models, methods, metrics and data that Python code passed as objects appear with their specs, which the command line
    may not know.
    """
    words = ["xai", "benchmark"]
    for model in manifest.models:
        words += ["--model", model.spec]
    words += ["--data", manifest.data, "--limit", str(manifest.images)]
    methods = dict.fromkeys(method for model in manifest.models for method in model.methods)
    uses_all = any(model.skipped for model in manifest.models)
    words += ["--method", "all" if uses_all else ",".join(methods)]
    words += [] if uses_all and methods.keys() & {*CONTROLS} else ["--no-controls"]
    protocol = () if manifest.protocol is None else find_protocol(manifest.protocol).metrics
    metrics = [metric for metric in manifest.metrics if metric not in protocol]
    words += ["--metric", "all" if manifest.skipped else ",".join(metrics)] if metrics else []
    return shlex.join([*words, *_recorded(manifest), "--device", manifest.device, "--out", out])


def _recorded(manifest: RecordedSettings) -> Iterator[str]:
    """Yield the options of recorded settings that differ from their defaults."""
    for name, setting in RECORDED.items():
        value = getattr(manifest, name)
        if value != setting.default and not (name == "target" and manifest.protocol):
            option = f"--{name.replace('_', '-')}"
            yield from [option] if value is True else [option, str(value)]
