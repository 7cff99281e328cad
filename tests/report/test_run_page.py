"""The page of a run: its files, its links, and what it shows."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from support.benchmark_runs import TWO, Speckles, prepared, run
from xai_core.benchmarking.disagreement import disagreements
from xai_core.benchmarking.mean_curves import mean_curves
from xai_core.benchmarking.saved_maps import saved_maps
from xai_core.benchmarking.store import Run
from xai_core.benchmarking.summary import Summary, summarize
from xai_core.errors import FileError
from xai_core.report.figures.files import vector_files
from xai_core.report.figures.forest import forest_plot
from xai_core.report.figures.styles import method_styles
from xai_core.report.page_files import write_page
from xai_core.report.run_page import RunPage

METHODS = ["grad-cam", "eigen-cam"]


def no_photos(index: int) -> None:
    return None


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    out = tmp_path_factory.mktemp("page") / "run"
    return summarize(run(out, Speckles(5), methods=METHODS, controls=True, maps=True))


@pytest.fixture(scope="module")
def page(summary: Summary) -> RunPage:
    return RunPage(summary, no_photos)


def index_of(page: RunPage) -> str:
    index = page.files["index.html"]
    assert isinstance(index, str)
    return index


def test_every_figure_is_an_svg_and_a_pdf(page: RunPage) -> None:
    figures = {path: content for path, content in page.files.items() if path.startswith("figures/")}
    kinds = {re.sub(r"^figures/counted\.(?:\w+-steps=4\.)?", "", path) for path in figures}
    names = ("means", "curves", "differences", "ranks", "disagreement", "costs")
    assert kinds == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf")}
    for path, content in figures.items():
        assert isinstance(content, bytes)
        if path.endswith(".svg"):
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert content.startswith(b"%PDF-")


def test_links_lead_to_the_files_of_the_page_only(page: RunPage) -> None:
    targets = {unquote(target) for target in re.findall(r'(?:src|href)="(.*?)"', index_of(page))} - {"data:,"}
    assert targets == page.files.keys() - {"index.html"}
    assert not re.findall(r"https?:|//", re.sub(r"<pre.*?</pre>", "", index_of(page), flags=re.DOTALL))


def test_it_has_a_verdict_of_two_sentences_and_labels_the_controls(page: RunPage) -> None:
    [verdict] = re.findall(r'<div class="verdict">(.*?)</div>', index_of(page))
    assert verdict.count("<p>") == 2
    for control in ("random", "center", "edges"):
        assert f">{control} (control)</td>" in index_of(page)
    bold = re.findall(r'<td class=" bold">(.*?)</td>', index_of(page))
    assert set(bold) <= set(METHODS)
    assert len(bold) == 2


def test_text_is_escaped(summary: Summary) -> None:
    index = index_of(RunPage(replace(summary, notes=["<script>`<b>`"], comparisons=[], costs=[]), no_photos))
    assert "&lt;script&gt;<code>&lt;b&gt;</code>" in index
    assert "<script" not in index


def test_a_run_without_maps_explains_how_to_save_them(tmp_path: Path) -> None:
    short = summarize(run(tmp_path / "run", Speckles(2), methods=METHODS, metrics=TWO[:1]))
    page = RunPage(short, no_photos)
    assert "with <code>--maps</code>" in index_of(page)
    assert not [path for path in page.files if "disagreement" in path]


def test_a_run_without_finished_images_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(prepared().json())
    page = RunPage(summarize(Run.read(tmp_path)), no_photos)
    assert "0 of 2 images" in index_of(page)
    assert not [path for path in page.files if path.startswith("figures/")]


def test_equal_figures_have_equal_files(summary: Summary) -> None:
    comparison = summary.comparisons[0]
    styles = method_styles(summary.comparisons)
    first, second = (dict(vector_files(forest_plot(comparison, styles))) for _ in range(2))
    assert first == second


def test_mean_curves_are_means_over_images(summary: Summary) -> None:
    for comparison in summary.comparisons:
        curves = mean_curves(summary.run, comparison)
        assert [curve.method for curve in curves] == [standing.method for standing in comparison.standings]
        for curve, standing in zip(curves, comparison.standings, strict=True):
            assert curve.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
            assert np.trapezoid(curve.means, curve.fractions) == pytest.approx(standing.estimate.mean, abs=1e-6)
            assert curve.low is not None
            assert curve.high is not None
            assert (curve.low <= curve.means + 1e-9).all()
            assert (curve.means <= curve.high + 1e-9).all()


def test_disagreements_have_the_largest_ranges(summary: Summary) -> None:
    deletion = summary.comparisons[0]
    rows = [row for row in summary.run if row.metric == deletion.metric and row.method in METHODS]
    scores = {(row.index, row.method): row.score or 0 for row in rows}
    ranges = {index: abs(scores[index, METHODS[0]] - scores[index, METHODS[1]]) for index in range(5)}
    found = disagreements(summary.run, deletion, METHODS, count=3)
    assert [each.index for each in found] == sorted(ranges, key=lambda index: -ranges[index])[:3]
    for each in found:
        assert each.range == ranges[each.index]
        assert [*each.scores.values()] == sorted(each.scores.values())  # lower is better
        maps = saved_maps(summary.run, "counted", each.index)
        assert {method: values.shape for method, values in maps.items()} == dict.fromkeys(
            [*METHODS, "random", "center", "edges"], (32, 32)
        )
    assert disagreements(summary.run, deletion, METHODS[:1]) == []


def test_damaged_maps_are_named(tmp_path: Path) -> None:
    short = summarize(run(tmp_path / "run", Speckles(2), methods=METHODS, metrics=TWO[:1], maps=True))
    [file] = (tmp_path / "run" / "maps").iterdir()
    file.write_bytes(b"PK" + file.read_bytes()[40:])
    with pytest.raises(FileError, match=rf"{file.name} is damaged"):
        RunPage(short, no_photos)


def test_only_files_that_were_not_changed_are_replaced(tmp_path: Path) -> None:
    write_page(tmp_path / "page", {"index.html": "one", "tables/a.tex": "a"})
    write_page(tmp_path / "page", {"index.html": "two", "tables/a.tex": "a"})
    index = tmp_path / "page" / "index.html"
    assert index.read_text() == "two"
    index.write_text("changed")
    with pytest.raises(FileError, match=r"index\.html would be overwritten; choose another --out, or add --overwrite"):
        write_page(tmp_path / "page", {"index.html": "three"})
    assert index.read_text() == "changed"
    write_page(tmp_path / "page", {"index.html": "three"}, overwrite=True)
    assert index.read_text() == "three"


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("other")
    with pytest.raises(FileError, match="would be overwritten"):
        write_page(tmp_path, {"index.html": "one"})
