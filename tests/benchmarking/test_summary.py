"""What a run's rows come to, and how it is written: parts that were written by hand, whose numbers are known."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from xai_core.benchmarking import bootstrap
from xai_core.benchmarking.conclusions import conclusions
from xai_core.benchmarking.manifest import Manifest, ModelEntry
from xai_core.benchmarking.rows import ScoreRow, encode_rows
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.store import Run
from xai_core.benchmarking.summary import summarize
from xai_core.cli import app
from xai_core.cli.actions.benchmark import ProgressDisplay
from xai_core.cli.console import Rate, progress_bar, rich_table
from xai_core.report.figures.critical_difference import AXIS, critical_difference_diagram
from xai_core.report.figures.critical_difference import _groups as groups
from xai_core.report.summary_tables import summary_tables
from xai_core.report.tables import TextTable, latex, markdown
from xai_core.visualization.encoding import encode_figure

NAMES = ["grad-cam:layer=blocks.4|x", "smoothed(grad-cam):flip=false", "__init__<b>*a*[b](c)~d~$e$\\f&lt;", "`tick`"]
ODD = TextTable("model|a: *metric*", ("method", "mean"), [(name, "-1") for name in NAMES], frozenset({"mean"}))


def written(
    path: Path, scores: np.ndarray, methods: Sequence[str], models: int = 1, metrics: Sequence[str] = ("drop",)
) -> Run:
    """A run of four images a part, with these scores [N,methods] at each metric; NaN is a failure."""
    entries = tuple(
        ModelEntry(f"model-{i}", "0" * 64, tuple(methods), {"rollout": "no tokens", "legrad": "no tokens"})
        for i in range(models)
    )
    run = Run(
        path,
        Manifest(
            models=entries,
            data="folder:photos",
            data_content="0",
            images=len(scores),
            metrics=dict.fromkeys(metrics, True),
            skipped={"pointing": "no masks"},
            protocol=None,
            target="predicted",
            seed=0,
            precision="fp32",
            batch=4,
            shard=4,
            maps=False,
            device="cpu",
            versions={"xai-core": "0"},
            code={},
        ),
    )
    path.mkdir()
    (path / "manifest.json").write_text(run.manifest.json())
    for shard in run.shards:
        rows = [
            row(entries[shard.model_index].spec, index, method, metric, float(scores[index, place]))
            for index in range(shard.start, shard.stop)
            for place, method in enumerate(methods)
            for metric in metrics
        ]
        run.write(ShardFiles(shard, encode_rows(rows)))
    return run


def row(model: str, index: int, method: str, metric: str, score: float) -> ScoreRow:
    about = model, "folder:photos", index, f"{index}.jpg", None, method, metric
    if np.isnan(score):
        return ScoreRow(*about, error="ValueError: odd" if index else "OSError: first")
    return ScoreRow(*about, score=score, forward_passes=3, seconds=(index + 1) ** 2, memory=index * 2**20)


@pytest.fixture
def flaky(tmp_path: Path) -> Run:
    """Ten images; a method that has a score for one of them, and one for none."""
    scores = np.array([0, 2, 4, 0, 0]) + np.random.default_rng(0).normal(size=(10, 5))
    scores[2:, 3], scores[0, 3], scores[:, 4] = np.nan, np.nan, np.nan
    return written(tmp_path / "run", scores, ["one", "two", "three", "flaky", "never"])


def reported(run: Run, *options: str) -> str:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, ["report", str(run.path), *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_rows_become_numbers_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(1).normal(size=(10, 3))
    scores[[0, 5], 1] = np.nan
    run = written(tmp_path / "run", scores, ["a", "b", "c"], models=2, metrics=("drop", "rise"))
    monkeypatch.setattr(Run, "rows", lambda run: pytest.fail("all rows at once"))
    summary = summarize(run)
    assert [(one.model, one.metric) for one in summary.comparisons] == [
        (model, metric) for model in ("model-0", "model-1") for metric in ("drop", "rise")
    ]
    kept = ~np.isnan(scores[:, 1])
    for comparison in summary.comparisons:
        assert comparison.images == 8
        found = {one.method: (one.estimate.mean, one.failed) for one in comparison.standings}
        assert found == {
            "a": (pytest.approx(scores[kept, 0].mean()), 0),
            "b": (pytest.approx(scores[kept, 1].mean()), 2),
            "c": (pytest.approx(scores[kept, 2].mean()), 0),
        }
    assert summary.errors == {"OSError: first": 4, "ValueError: odd": 4}
    costs = {(one.model, one.method): (one.forward_passes, one.seconds, one.memory) for one in summary.costs}
    assert costs["model-1", "a"] == (3, (5**2 + 6**2) / 2, 9 * 2**20)
    assert costs["model-1", "b"] == (3, (5**2 + 7**2) / 2, 9 * 2**20)
    assert len(costs) == 6


def test_images_are_drawn_once_for_all_models_and_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    one = bootstrap._resample
    monkeypatch.setattr(bootstrap, "_resample", lambda table: drawn.append(table.shape) or one(table))
    scores = np.random.default_rng(2).normal(size=(9, 3))
    summarize(written(tmp_path / "run", scores, ["a", "b", "c"], models=2, metrics=("drop", "rise")))
    assert drawn == [(9, 2 * 2 * 3)]


def test_a_flaky_method_leaves_the_others_their_images(flaky: Run) -> None:
    [comparison] = summarize(flaky).comparisons
    assert comparison.images == 10
    assert [one.method for one in comparison.standings] == ["three", "two", "one"]
    said = " ".join(reported(flaky).split())
    assert "`flaky` is excluded: 1 scored and 9 failed images. Most frequent error: ValueError: odd" in said
    assert "`never` has no score: ValueError: odd" in said


def test_csv_has_every_method(flaky: Run) -> None:
    rows = {one["method"]: one for one in csv.DictReader(io.StringIO(reported(flaky, "--format", "csv")))}
    assert {*rows} == {"one", "two", "three", "flaky", "never"}
    numbers = ("mean", "low", "high", "rank", "mean_rank", "images")
    assert rows["one"]["images"] == "10"
    for method, failed in (("flaky", "9"), ("never", "10")):
        assert [rows[method][name] for name in numbers] == [""] * 6
        assert rows[method]["failed"] == failed


def test_csv_counts_the_images_that_every_compared_method_has_scored(tmp_path: Path) -> None:
    scores = np.random.default_rng(1).normal(size=(10, 3))
    scores[[0, 5], 1] = np.nan
    run = written(tmp_path / "run", scores, ["a", "b", "c"])
    rows = csv.DictReader(io.StringIO(reported(run, "--format", "csv")))
    assert {row["method"]: (row["images"], row["failed"]) for row in rows} == {
        "a": ("8", "0"),
        "b": ("8", "2"),
        "c": ("8", "0"),
    }


def test_costs_are_in_seconds_and_mebibytes(flaky: Run) -> None:
    assert "| model-0 | one | 3 | 30.5000 | 9 |" in reported(flaky, "--format", "markdown", "--costs")


def test_json_has_everything(flaky: Run) -> None:
    said = json.loads(reported(flaky, "--format", "json"))
    [summed], [comparison] = summarize(flaky).comparisons, said["comparisons"]
    assert [pair["supported"] for pair in comparison["pairs"]] == [pair.supported for pair in summed.pairs]
    assert comparison["conclusions"] == conclusions(summed)
    assert comparison["excluded"]["flaky"] == {"scored": 1, "failed": 9, "error": "ValueError: odd"}
    assert said["manifest"] == json.loads((flaky.path / "manifest.json").read_text())
    assert said["skipped"] == [
        {"model": "model-0", "name": "legrad", "reason": "no tokens"},
        {"model": "model-0", "name": "rollout", "reason": "no tokens"},
        {"model": "", "name": "pointing", "reason": "no masks"},
    ]


def test_what_is_left_out_for_one_reason_is_named_together(flaky: Run) -> None:
    assert "| model-0 | legrad, rollout | no tokens |" in reported(flaky, "--format", "markdown")


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    run = written(tmp_path / "run", np.array([[1.0, 2.0]]), ["a", "b"])
    [first, _] = csv.DictReader(io.StringIO(reported(run, "--format", "csv")))
    assert (first["mean"], first["low"], first["high"]) == ("2.0", "", "")
    assert "| b | 2.0000 |  | 1 |" in reported(run, "--format", "markdown", "--pairs")


def test_a_run_without_rows_is_said_to_have_none(tmp_path: Path) -> None:
    run = written(tmp_path / "run", np.zeros((0, 2)), ["a", "b"])
    said = reported(run)
    assert "No method has a score for drop." in said
    assert "None" not in said


def cells(text: str) -> Iterator[str]:
    """The text of a Markdown table's cells and of headings, as it is shown; what is not text comes with its kind."""
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "inline":
            shown = (
                part.content if part.type in ("text", "text_special") else part.type for part in token.children or ()
            )
            yield "".join(shown)


def test_names_are_what_they_are_in_markdown() -> None:
    title, *shown = cells(markdown([ODD]))
    assert title == ODD.title
    assert shown == ["method", "mean", *(cell for each in ODD.rows for cell in each)]


def test_sentences_in_markdown_keep_code_and_nothing_else() -> None:
    sheet = TextTable("title", (), (), below=["`a|b*c*` has no score: <b> __init__ *x*"])
    [_, inline] = [one for one in MarkdownIt("commonmark").parse(markdown([sheet])) if one.type == "inline"]
    parts = inline.children or []
    assert {part.type for part in parts} <= {"code_inline", "text", "text_special"}
    assert [part.content for part in parts if part.type == "code_inline"] == ["a|b*c*"]
    assert "".join(part.content for part in parts) == "a|b*c* has no score: <b> __init__ *x*"


def test_names_are_what_they_are_in_latex() -> None:
    sheet = TextTable("title", ("method", "p"), [("grad-cam:layer=blocks.4|x", "< 0.001"), ("[a]*", "5 %")])
    text = latex([sheet])
    assert r"grad-cam:layer=blocks.4\textbar{}x & \textless{} 0.001 \\" in text
    assert r"{[}a{]}{*} & 5 \% \\" in text  # a row's end takes a bare bracket or star after it as its own


def test_names_of_several_lines_are_one_in_tables() -> None:
    name = "tuned:how=tensor([1.,\r\n2.])"
    sheet = TextTable(name, ("method", "mean"), [(name, "1")], frozenset(), [f"`{name}` is better"])
    assert [line[:2] for line in markdown([sheet]).splitlines() if line] == ["##", "| ", "| ", "| ", "`t"]
    [title, below, *_, row, rule, end, _] = latex([sheet]).splitlines()
    assert title == "% tuned:how=tensor([1., 2.])"
    assert below == "% `tuned:how=tensor([1., 2.])` is better"
    assert (row, rule, end) == (r"tuned:how=tensor({[}1., 2.{]}) & 1 \\", r"\bottomrule", r"\end{tabular}")


@pytest.mark.parametrize("width", [40, 80])
def test_names_are_whole_in_the_terminal(width: int) -> None:
    text = Console(width=width, file=io.StringIO(), record=True)
    sheet = TextTable("title", ("method", "mean"), [(name * 3, "-0.1234") for name in NAMES], frozenset({"mean"}))
    text.print(rich_table(sheet))
    shown = "".join(text.export_text().split()).replace("-0.1234", "")
    for name in NAMES:
        assert name * 3 in shown


def test_the_picture_has_room_for_long_names(tmp_path: Path) -> None:
    """Its line of ranks is as wide, however long the names are, and a dollar is no formula."""
    scores = np.random.default_rng(3).normal(size=(12, 4))
    names = ["grad-cam:layer=model.blocks.11.norm1$x^$" * 3, "b", "c", "d"]
    [comparison] = summarize(written(tmp_path / "run", scores, names)).comparisons
    with Image.open(io.BytesIO(encode_figure(critical_difference_diagram(comparison), dpi=150))) as picture:
        dark = np.asarray(picture.convert("L")) < 160
    runs = [len(one) for line in dark for one in "".join("#" if on else " " for on in line).split()]
    assert max(runs) > 0.7 * AXIS * 150


def test_bars_join_what_the_critical_difference_does_not_tell_apart() -> None:
    """The longest runs of mean ranks that are closer than it, none inside another; a method by itself has no bar."""
    assert groups([1.0, 1.5, 2.1, 3.5, 4.4, 6.0], 1.0) == [(0, 1), (1, 2), (3, 4)]
    assert groups([1.0, 1.2, 1.4, 3.0], 0.5) == [(0, 2)]
    assert groups([1.0, 2.0, 3.0], 1.0) == []
    assert groups([2.0, 2.0, 2.0], 0.1) == [(0, 2)]


def test_summaries_are_the_same_again(flaky: Run) -> None:
    assert reported(flaky, "--format", "json") == reported(flaky, "--format", "json")
    assert summary_tables(summarize(flaky), pairs=True) == summary_tables(summarize(flaky), pairs=True)


def test_slow_work_has_a_rate_and_a_time_left() -> None:
    """Parts of sixteen images that take forty seconds each."""
    bars, now = progress_bar(rate=True), [0.0]
    bars.get_time = lambda: now[0]  # type: ignore[method-assign]
    task = bars.add_task("model", total=160)
    for _ in range(5):
        now[0] += 40
        bars.advance(task, 16)
    assert Rate().render(bars.tasks[0]).plain == "24.0/min"
    assert bars.tasks[0].time_remaining == 200


def test_each_model_has_a_bar_of_its_images(tmp_path: Path) -> None:
    run = written(tmp_path / "run", np.ones((10, 2)), ["a", "b"], models=2)
    for shard in run.shards[1:3]:  # of the first model
        (run.path / "rows" / f"{shard.name}.parquet").unlink()
    bars = progress_bar(rate=True)
    watch = ProgressDisplay(bars)
    watch(run, None)
    assert [(bar.description, bar.completed, bar.total) for bar in bars.tasks] == [
        ("model-0", 4, 10),
        ("model-1", 10, 10),
    ]
    for shard in run.missing:
        watch(run, ShardFiles(shard, b""))
    assert [bar.completed for bar in bars.tasks] == [10, 10]
