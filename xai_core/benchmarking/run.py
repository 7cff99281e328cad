"""The benchmark: settings in, a folder of rows out, each number computed once however often it is interrupted."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from xai_core.benchmarking import local, on_ray
from xai_core.benchmarking.resolve import own_device, prepare
from xai_core.benchmarking.settings import LISTS, Settings, several, whole
from xai_core.benchmarking.store import Part, Run, opened
from xai_core.data.sources import Dataset, LoadedModel
from xai_core.errors import OptionError
from xai_core.explainer import Explainer
from xai_core.metric import Metric

ENGINES = ("local", "ray")
Progress = Callable[[Run, Part | None], None]
"""Called with the run before any work, with None, and after each part."""


def benchmark(
    models: str | LoadedModel | Iterable[str | LoadedModel],
    data: str | Dataset,
    *,
    out: str | Path,
    methods: str | Explainer | Iterable[str | Explainer] = "all",
    metrics: str | Metric | Iterable[str | Metric] = (),
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    retry_errors: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Score explainers on models and data, and write rows that another call goes on from.

    Every number follows from the run's manifest. A call with the same arguments computes what is missing; with
    others, it is refused.

    Parameters
    ----------
    models, data, methods, metrics
        Specs or objects, one or several; `all` methods or metrics are the installed ones that suit.
    out
        The folder of the run.
    engine
        `local`, or `ray` for a cluster.
    address
        Of a Ray cluster; without it one is started on this machine.
    workers
        Threads that read images; with Ray, how many actors hold a model.
    retry_errors
        Whether parts that hold errors are done again.
    progress
        Told of each part.
    settings
        Further fields of `Settings`: `protocol`, `limit`, `target`, `controls`, `seed`, `precision`, `batch`, `shard`,
        `maps`, `time_limit`, `without`, `device`.

    Returns
    -------
    Run
        What the folder holds: `.rows()`, `.manifest`, `.notes()`.

    Raises
    ------
    XAIError
        Where the settings are wrong, or the folder is another run's. What fails on the way is a row with an error.
    """
    if engine not in ENGINES:
        raise OptionError(f"engine={engine!r} is not one of {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise OptionError(f"address={address!r} is of a Ray cluster; give engine='ray' too, or leave it out")
    workers = None if workers is None else whole("workers", workers, 1)
    if not isinstance(out, str | Path) or not str(out):
        raise OptionError(f"out={out!r} is no path; expected the folder of the run")
    folder = Path(out).absolute()  # wherever the process goes
    given = {"models": models, "methods": methods, "metrics": metrics, **settings}
    asked = {name: several(value) if name in LISTS else value for name, value in given.items()}
    try:
        made = Settings.of_protocol(data=data, **asked)
    except TypeError as error:
        raise OptionError(f"benchmark: {error}") from None
    with contextlib.ExitStack() as stack:
        if engine == "ray":
            cluster = stack.enter_context(on_ray.connected(address))
            ready = prepare(made, cluster.device(made.device), torch.device("cpu"))
            sent = cluster.send(ready)
        else:
            device = own_device(made.device)
            ready = prepare(made, device, device, workers or 2)
        run = stack.enter_context(opened(folder, ready.manifest))
        if retry_errors:
            run.retry_errors()
        missing = run.missing
        if progress:
            progress(run, None)
        if missing:
            parts = (
                cluster.work_through(sent, missing, ready.device.type == "cuda", workers)
                if engine == "ray"
                else local.work_through(ready, missing)
            )
            with contextlib.closing(parts):
                for part in parts:
                    run.write(part)
                    if progress:
                        progress(run, part)
    return run
