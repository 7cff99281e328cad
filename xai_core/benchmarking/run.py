"""The function `benchmark`, which writes rows of scores to a folder. An interrupted run resumes."""

import contextlib
import inspect
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from xai_core.benchmarking import on_ray
from xai_core.benchmarking.declaration import short_repr
from xai_core.benchmarking.notebook_progress import NotebookProgress, in_notebook
from xai_core.benchmarking.resolve import ResolvedBenchmark, local_device, resolve
from xai_core.benchmarking.settings import EXECUTION, SETTINGS, Execution, Settings, require_known
from xai_core.benchmarking.shards import Shard, ShardFiles
from xai_core.benchmarking.store import Run, open_run
from xai_core.benchmarking.supervisor import SupervisedWorker
from xai_core.benchmarking.worker import Worker
from xai_core.data.sources import Dataset, LoadedModel
from xai_core.errors import OptionError
from xai_core.explainer import Explainer
from xai_core.metric import Metric
from xai_core.spec import split_all

ShardStream = Generator[ShardFiles, None, None]
Progress = Callable[[Run, ShardFiles | None], None]
"""Called with the run and None before any work, then with the run and the files of each finished shard."""
_KINDS: Mapping[str, tuple[type, ...]] = {
    "models": (str, LoadedModel),
    "methods": (str, Explainer),
    "metrics": (str, Metric),
    "without": (str,),
}
"""Accepted types of each value of the settings that have several."""


def benchmark(
    models: str | LoadedModel | Iterable[str | LoadedModel],
    data: str | Dataset,
    *,
    out: str | Path,
    progress: Progress | Literal[False] | None = None,
    **settings: Any,
) -> Run:
    """Score methods on models and a dataset, and write a row for each image, method and metric.

    If `out` contains an unfinished run with the same settings, the run resumes. All scores depend on the settings
    in the run's manifest only.

    Parameters
    ----------
    models
        Specs or `LoadedModel` objects, one or several. A string can be a comma-separated list of specs.
    data
        Spec, dataset of `Sample` objects, or dataset of (image, class) pairs.
    out
        Folder of the run.
    progress
        Function that is called before any work, and after each shard. Default: in a notebook, a progress bar for each
        model. Elsewhere, and with False, no progress is displayed.
    settings
        Further settings by name: the attributes of `Settings` and `Execution` in `xai_core.benchmarking.settings`.
        `methods` and `metrics` take specs or objects, one or several.

    Returns
    -------
    Run
        The run. `run.rows()` is a table of the scores.

    Raises
    ------
    OptionError
        If a setting is unknown, or its value is not allowed.
    FileError
        If the folder contains a run with other settings, or other files.
    XAIError
        If a model, method, metric or dataset cannot be created. Later errors are stored in rows.
    """
    if progress is None and in_notebook():
        progress = NotebookProgress()
    require_known(settings, "benchmark()")
    passed = {"models": models, "data": data, "out": out, **settings}
    values = {name: _as_tuple(name, value) for name, value in passed.items()}
    execution = Execution(**{name: value for name, value in values.items() if name in EXECUTION})
    chosen = Settings.with_protocol(**{name: value for name, value in values.items() if name not in EXECUTION})
    folder = execution.out.absolute()  # before a plugin can change the working directory
    compute: Callable[[Sequence[Shard]], ShardStream]
    with contextlib.ExitStack() as stack:
        if execution.backend == "ray":
            with SupervisedWorker() as planner:  # starts while Ray does
                cluster = stack.enter_context(on_ray.connect(execution.address))
                device = cluster.device(chosen.device)
                plan = planner.plan(chosen, device, torch.device("cpu"))
            manifest = plan.manifest
            compute = partial(cluster.run_shards, cluster.share(plan), device.type == "cuda", execution.workers)
        elif os.name == "posix" and not execution.in_process:
            worker = stack.enter_context(SupervisedWorker())
            device = local_device(chosen.device)
            manifest = worker.plan(chosen, device, device, execution.workers or 2).manifest
            compute = partial(_run_supervised, worker)
        else:
            device = local_device(chosen.device)
            resolved = resolve(chosen, device, device, execution.workers or 2)
            manifest = resolved.manifest
            compute = partial(_run_in_process, resolved)
        run = stack.enter_context(open_run(folder, manifest))
        if execution.retry_errors:
            run.recompute_errors()
        missing = run.missing
        if progress:
            progress(run, None)
        if missing:
            with contextlib.closing(compute(missing)) as results:
                for shard_files in results:
                    run.write(shard_files)
                    if progress:
                        progress(run, shard_files)
    return run


def _run_supervised(worker: SupervisedWorker, shards: Sequence[Shard]) -> ShardStream:
    """Compute shards in a worker process, in order."""
    for shard, following in pairwise([*shards, None]):
        assert shard is not None
        yield worker.run(shard, following)


def _run_in_process(resolved: ResolvedBenchmark, shards: Sequence[Shard]) -> ShardStream:
    """Compute shards in this process, in order."""
    worker = Worker(resolved)
    try:
        for shard, following in pairwise([*shards, None]):
            assert shard is not None
            yield worker.run(shard, following)
    finally:
        worker.close()


def _signature() -> inspect.Signature:
    """Return the signature of `benchmark` with all settings and their defaults, for `help` and editors."""
    own = inspect.signature(benchmark).parameters
    optional = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=setting.type)
        for name, setting in SETTINGS.items()
        if name not in own
    ]
    return inspect.Signature(
        [own["models"], own["data"], own["out"], *optional, own["progress"]], return_annotation=Run
    )


benchmark.__signature__ = _signature()  # type: ignore[attr-defined] # which every function may have


def _as_tuple(name: str, value: Any) -> Any:
    """Return the value of a setting that has several values as a tuple, and the value of any other setting unchanged.

    A string can be a comma-separated list of specs.

    Raises
    ------
    OptionError
        If one of several values has a wrong type.
    """
    if name not in _KINDS:
        return value
    kinds = _KINDS[name]
    # A sequence of layers is iterable, but it is one model.
    single = isinstance(value, (*kinds, nn.Module)) or not isinstance(value, Iterable)
    values = tuple(split_all([value] if single else value))
    for each in values:
        if not isinstance(each, kinds):
            expected = " or ".join("spec" if kind is str else kind.__name__ for kind in kinds)
            remedy = "; wrap it: LoadedModel(model, preprocess, spec=...)" if name == "models" else ""
            raise OptionError(f"{name}: expected a {expected}, got {type(each).__name__} {short_repr(each)}{remedy}")
    return values
