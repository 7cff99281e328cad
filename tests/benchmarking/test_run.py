"""The object that a benchmark returns: its length, rows, text and pickles."""

import io
import pickle
from pathlib import Path

import pytest
import torch

import xai_core as xai
from support.benchmark_runs import TWO, Brightness, Speckles, run
from xai_core.benchmarking.rows import ScoreRow
from xai_core.benchmarking.summary import summarize


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> xai.Run:
    return run(tmp_path_factory.mktemp("finished") / "run", Speckles(5, broken=(3,)), metrics=TWO[0], shard=2)


def test_its_rows_can_be_indexed(finished: xai.Run) -> None:
    table = [ScoreRow(**row) for row in finished.rows().to_pylist()]
    assert len(finished) == len(table) == 5 * 2
    assert [finished[i] for i in range(len(table))] == [*finished] == table
    assert finished[-1] == table[-1]
    for index in (len(table), -len(table) - 1):
        with pytest.raises(IndexError):
            finished[index]


def test_its_text_is_short(finished: xai.Run, tmp_path: Path) -> None:
    assert repr(finished).startswith(f"<Run {finished.path}: 3 of 3 shards finished, manifest ")
    deep = xai.Run(tmp_path.joinpath(*["a" * 50] * 9), finished.manifest)
    for each in (finished, deep, finished.manifest, summarize(finished)):
        assert len(repr(each)) < 200
        assert "\n" not in repr(each)


def test_it_survives_pickle_and_torch(finished: xai.Run) -> None:
    buffer = io.BytesIO()
    torch.save(finished, buffer)
    buffer.seek(0)
    for copy in (pickle.loads(pickle.dumps(finished)), torch.load(buffer, weights_only=False)):
        assert copy == finished
        assert [*copy] == [*finished]
    summary = summarize(finished)
    assert pickle.loads(pickle.dumps(summary)) == summary


def test_the_manifest_records_the_python_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "run", Speckles(2), methods="grad-cam", metrics=Brightness())
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    with pytest.raises(xai.XAIError, match=r"versions\.python: [0-9.]+\w*, now 3\.99\.0"):
        run(tmp_path / "run", Speckles(2), methods="grad-cam", metrics=Brightness())
