"""The benchmark: settings in, a folder of rows out, each number computed once however often it is interrupted."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from xai_core.benchmark import local, on_ray
from xai_core.benchmark.preparation import prepare
from xai_core.benchmark.settings import LISTS, Settings
from xai_core.benchmark.store import Part, Run, opened
from xai_core.errors import OptionError
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.source import Dataset, LoadedModel

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
    progress
        Told of each part.
    settings
        Further fields of `Settings`: `protocol`, `limit`, `target`, `floors`, `seed`, `precision`, `batch`, `shard`,
        `maps`, `without`, `device`.

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
    if workers is not None and workers < 1:
        raise OptionError(f"workers={workers} is too small; expected a whole number from 1 up")
    given = {"models": models, "methods": methods, "metrics": metrics, **settings}
    asked = {name: _several(value) if name in LISTS else value for name, value in given.items()}
    try:
        made = Settings.of_protocol(data=data, **asked)
    except TypeError as error:
        raise OptionError(f"benchmark: {error}") from None
    ready = prepare(made, workers or 2)
    with opened(Path(out), ready.manifest) as run:
        missing = run.missing
        if progress:
            progress(run, None)
        if missing:
            parts = (
                local.work_through(ready, missing)
                if engine == "local"
                else on_ray.work_through(ready, missing, address, workers)
            )
            for part in parts:
                run.write(part)
                if progress:
                    progress(run, part)
    return run


def _several(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str | LoadedModel | Explainer | Metric) else tuple(given)
