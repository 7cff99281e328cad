"""A run that was interrupted is resumed, finished shards are not computed again, and other folders are left alone."""

import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest
from torch import Tensor
from typer.testing import CliRunner

import xai_core as xai
from support import subprocesses as fresh
from support.benchmark_runs import Breaking, Brightness, Counted, Speckles, StopError, run, same
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.summary import summarize
from xai_core.cli import app
from xai_core.errors import DeviceError, FileError
from xai_core.plugin import Evaluation


def test_what_is_finished_is_not_computed_again(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "undisturbed")
    calls: list[int] = []

    def stop(going: xai.Run, part: ShardFiles | None) -> None:
        calls.append(len(going.missing))
        if part is not None:
            raise StopError

    with pytest.raises(StopError):
        run(tmp_path / "run", progress=stop)
    model = Counted()
    resumed = run(tmp_path / "run", model=model, progress=lambda going, part: calls.append(len(going.missing)))
    assert calls == [2, 1, 1, 0]
    assert same(resumed, undisturbed)
    # Four images are left: two probes, the pass, the ends of the curves (image, zero; blurred), which methods share,
    # and three points between for each method and metric.
    assert sorted(model.forward_passes) == [1, 1, 4, *(3 * [4]), *(2 * 2 * [3 * 4])]
    model.forward_passes = []
    run(tmp_path / "run", model=model)
    assert model.forward_passes == []


def test_a_reader_sees_an_unfinished_run(tmp_path: Path) -> None:
    def stop(going: xai.Run, part: ShardFiles | None) -> None:
        if part is not None:
            raise StopError

    with pytest.raises(StopError):
        run(tmp_path / "run", progress=stop)
    summary = summarize(xai.Run.read(tmp_path / "run"))
    assert (summary.finished, summary.images) == (6, 10)
    assert {comparison.images for comparison in summary.comparisons} == {6}


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match=r"thesis\.tex"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    def second(going: xai.Run, part: ShardFiles | None) -> None:
        said.append(
            fresh.printed(
                f"""
                from pathlib import Path
                from support.benchmark_runs import run
                try:
                    run(Path({str(tmp_path / "run")!r}))
                except Exception as error:
                    print(f"{{type(error).__name__}}: {{error}}")
                """.replace("\n                ", "\n"),
                *sys.path,
            )
        )

    said: list[str] = []
    run(tmp_path / "run", Speckles(2), shard=2, progress=second)
    assert len(said) == 2
    assert all(one.startswith("FileError: another process is using") for one in said)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="contains no run"):
        xai.Run.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(FileError, match="is not a manifest"):
        xai.Run.read(tmp_path)


def test_what_a_kill_leaves_of_the_manifest_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.123").write_text("{")
    (tmp_path / ".lock").touch()
    run(tmp_path, Speckles(2), methods="grad-cam", metrics=Brightness())
    (tmp_path / "rows" / ".000-000000000.parquet.77").write_text("PAR")
    (tmp_path / ".notes").write_text("mine")
    (tmp_path / "rows" / ".000-000000000.parquet.mine").write_text("mine")
    run(tmp_path, Speckles(2), methods="grad-cam", metrics=Brightness())
    left = sorted(path.name for path in tmp_path.rglob(".*"))
    assert left == [".000-000000000.parquet.mine", ".lock", ".notes"]


class Doomed(Brightness):
    """Its device fails."""

    name = "doomed"
    error: ClassVar[Exception | None] = RuntimeError("CUDA error: unspecified launch failure")

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        if self.error:
            raise self.error
        return super().evaluate(evaluation, saliency)


def test_a_device_that_fails_ends_the_run_with_the_shard_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        run(tmp_path / "run", metrics=Doomed())
    assert xai.Run.read(tmp_path / "run").finished == []
    monkeypatch.setattr(Doomed, "error", None)
    assert not summarize(run(tmp_path / "run", metrics=Doomed())).errors


def test_parts_with_errors_are_done_again_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def some(self: Breaking, captured: xai.Captured) -> Tensor:
        if not free.is_set() and (captured.images == Speckles()[7].image).all((1, 2, 3)).any():
            raise RuntimeError("not now")
        return captured.activation().mean(1)

    monkeypatch.setattr(Breaking, "explain", some)
    failed = run(tmp_path / "run", methods=Breaking(), metrics=Brightness())
    assert summarize(failed).errors == {"RuntimeError: not now (raised by explainer 'breaking')": 1}
    free.set()
    model, missing = Counted(), []
    assert summarize(run(tmp_path / "run", methods=Breaking(), metrics=Brightness())).errors
    again = run(
        tmp_path / "run",
        model=model,
        methods=Breaking(),
        metrics=Brightness(),
        retry_errors=True,
        progress=lambda going, part: missing.append(len(going.missing)),
    )
    assert not summarize(again).errors
    assert missing == [1, 0]
    assert [count for count in model.forward_passes if count > 1] == [4]


def test_what_interrupts_a_run_stops_its_readers(tmp_path: Path) -> None:
    def stop(going: xai.Run, part: ShardFiles | None) -> None:
        if part is not None:
            raise StopError

    with pytest.raises(StopError) as raised:
        run(tmp_path / "run", progress=stop)
    assert raised.tb  # which would keep the parts, and so the threads, alive
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def tables(path: Path) -> list[str]:
    """Return the complete output of `xai report` for a run."""
    kinds = (["--format", "csv"], ["--format", "markdown", "--pairs"], ["--format", "latex"], [])
    made = [CliRunner().invoke(app, ["report", str(path), *options]) for options in kinds]
    assert all(one.exit_code == 0 for one in made)
    return [one.stdout for one in made]


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    """Ten times: no file is ever half-written, and the tables are those of an undisturbed run, byte for byte."""
    out = fresh.printed(f"from support.benchmark_killed_at_random import main; main({str(tmp_path / 'run')!r}, 10)")
    assert int(out.split()[-1]) == 10, "it was through too soon to be killed"
    resumed, undisturbed = xai.Run.read(tmp_path / "run"), xai.Run.read(tmp_path / "undisturbed")
    assert not resumed.missing
    assert same(resumed, undisturbed)
    assert tables(resumed.path) == tables(undisturbed.path)
    assert not [file for file in resumed.path.rglob(".*") if file.name != ".lock"]
