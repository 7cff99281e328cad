"""Each plugin of the catalogue costs its own rows in a benchmark. All other rows equal those of a run without it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support.benchmark_runs import Speckles, by_key, run
from support.misbehavior import ADAPTERS, ENDINGS, EXCEPTIONS, IN_CALLS, Kind, Misbehavior
from support.misbehavior.registering import register_adapter
from support.models import made
from support.on_ray import run_driver
from xai_core.benchmarking import process

METHODS = ["rise:masks=4", "grad-cam", "random"]
METRICS = ["deletion:steps=2", "average-drop"]
DATA = Speckles(2, masked=(0, 1))
Rows = Mapping[tuple[str, str, str], tuple[float | None, str | None]]


def rows(out: Path, methods: list[Any], metrics: list[Any], **options: Any) -> Rows:
    """Return the score and the error for each image, method and metric."""
    return rows_of(run(out, DATA, made("cnn"), methods=methods, metrics=metrics, **options))


def rows_of(finished: xai.Run) -> Rows:
    return {key: (row["score"], row["error"]) for key, row in by_key(finished.rows()).items()}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    found = rows(tmp_path_factory.mktemp("undisturbed"), METHODS, METRICS)
    assert {error for _, error in found.values()} == {None}
    return found


def assert_error(case: Misbehavior, error: str | None) -> None:
    if case.error is None:
        assert error is None
        return
    assert error is not None, case.name
    assert error.removeprefix("disabled: ").startswith(case.error.__name__)
    assert case.name in error
    assert re.search(case.message, error)


def with_good_ones(kind: Kind) -> tuple[list[Any], list[Any]]:
    """Return methods and metrics: the plugins of a kind between good ones."""
    return [METHODS[0], *kind.explainers, *METHODS[1:]], [METRICS[0], *kind.metrics, METRICS[1]]


def assert_only_own_rows(kind: Kind, undisturbed: Rows, out: Path, **options: Any) -> None:
    """Run a benchmark with all plugins of a kind, and compare all rows."""
    assert_rows(kind, undisturbed, rows(out, *with_good_ones(kind), time_limit=kind.time_limit, **options))


def assert_rows(kind: Kind, undisturbed: Rows, found: Rows) -> None:
    """Require that only the rows of the plugins of a kind contain errors."""
    methods, metrics = with_good_ones(kind)
    assert len(found) == len(DATA) * len(methods) * len(metrics)
    assert {key: found[key] for key in undisturbed} == undisturbed
    for case in kind.cases:
        own = {*((case.name, metric) for metric in METRICS), *((method, case.name) for method in METHODS)}
        errors = [error for (_, *names), (_, error) in found.items() if tuple(names) in own]
        assert errors
        for error in errors:
            assert_error(case, error)


@pytest.mark.parametrize("kind", IN_CALLS, ids=lambda kind: kind.name)
def test_benchmark(kind: Kind, undisturbed: Rows, tmp_path: Path) -> None:
    assert_only_own_rows(kind, undisturbed, tmp_path / "run")


@pytest.mark.filterwarnings("ignore::xai_core.errors.PluginWarning")
def test_adapters(undisturbed: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [register_adapter(case, monkeypatch) for case in ADAPTERS.cases]
    found = rows(tmp_path / "run", METHODS, METRICS, time_limit=ADAPTERS.time_limit)
    assert found == undisturbed
    assert all(calls)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the worker is this process")
def test_supervised_benchmark(undisturbed: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.3)
    monkeypatch.setattr(process, "POLL", 0.05)
    assert_only_own_rows(ENDINGS, undisturbed, tmp_path / "run", in_process=False)


ON_RAY = Kind(
    "on-ray",
    "On Ray",
    EXCEPTIONS.cost,
    (*EXCEPTIONS.cases, *(case for case in ENDINGS.cases if case.name == "ending-exit")),
)


@pytest.mark.slow
def test_on_ray(undisturbed: Rows, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = (
        f"from test_misbehavior import *; rows(Path({str(out)!r}), *with_good_ones(ON_RAY), backend='ray', workers=1)"
    )
    run_driver(code, Path(__file__).parent)
    assert_rows(ON_RAY, undisturbed, rows_of(xai.Run.read(out)))
