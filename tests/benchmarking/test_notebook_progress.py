"""Progress bars and tables of benchmarks in notebooks, with a display in the place of a kernel's."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import xai_core as xai
from support.benchmark_runs import TWO, Speckles, run
from xai_core.benchmarking.notebook_progress import NotebookProgress, in_notebook

Bundle = dict[str, str]


class Display:
    """Keeps what a kernel would display, in order."""

    def __init__(self) -> None:
        self.started = 0
        self.bundles: list[Bundle] = []

    def __call__(self, bundle: Bundle, raw: bool, display_id: bool) -> "Display":
        assert raw
        assert display_id
        self.started += 1
        self.bundles.append(bundle)
        return self

    def update(self, bundle: Bundle, raw: bool) -> None:
        assert raw
        self.bundles.append(bundle)


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Display:
    display = Display()
    get_ipython: Callable[[], object] = object
    monkeypatch.setitem(sys.modules, "ipykernel", module("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", module("IPython", get_ipython=get_ipython))
    monkeypatch.setitem(sys.modules, "IPython.display", module("IPython.display", display=display))
    return display


def test_a_notebook_is_a_process_with_a_kernel(kernel: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert not in_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", object)
    monkeypatch.delitem(sys.modules, "ipykernel")  # as in IPython's terminal
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    monkeypatch.setitem(sys.modules, "ipykernel", module("ipykernel"))
    assert not in_notebook()


def test_one_display_is_updated_after_each_shard(kernel: Display, tmp_path: Path) -> None:
    run(tmp_path / "run", Speckles(5), metrics=TWO[0], shard=2)
    assert kernel.started == 1
    texts = [bundle["text/plain"] for bundle in kernel.bundles]
    assert [f"{count} of 5 images" in text for count, text in zip((0, 2, 4, 5), texts, strict=True)] == [True] * 4
    assert ["left" in text for text in texts] == [False, True, True, False]
    assert '<progress max="5" value="4"></progress>' in kernel.bundles[2]["text/html"]


def test_a_resumed_run_begins_with_its_finished_images(kernel: Display, tmp_path: Path) -> None:
    run(tmp_path / "run", Speckles(5), metrics=TWO[0], shard=2)
    (tmp_path / "run" / "checksums" / "000-000000002.sha256").unlink()
    kernel.bundles.clear()
    run(tmp_path / "run", Speckles(5), metrics=TWO[0], shard=2)
    assert ["3 of 5 images" in bundle["text/plain"] for bundle in kernel.bundles] == [True, False]


def test_false_or_a_function_replaces_the_bar(kernel: Display, tmp_path: Path) -> None:
    calls: list[object] = []
    run(tmp_path / "silent", Speckles(1), metrics=TWO[0], progress=False)
    run(tmp_path / "called", Speckles(1), metrics=TWO[0], progress=lambda *of: calls.append(of))
    assert len(calls) == 2
    assert not kernel.bundles


def test_names_and_notes_are_escaped(kernel: Display, tmp_path: Path) -> None:
    finished = run(tmp_path / "run", Speckles(1), metrics=TWO[0], progress=False)
    progress = NotebookProgress()
    progress(finished, None)
    progress._models, progress._notes = ("<i>model</i>",), {"<b>note</b>": None}
    assert "&lt;i&gt;model&lt;/i&gt;: 1 of 1 images" in progress._html()
    assert "&lt;b&gt;note&lt;/b&gt;" in progress._html()


def test_a_run_displays_its_mean_scores(tmp_path: Path) -> None:
    finished = run(tmp_path / "run", Speckles(5, broken=(3,)), metrics=TWO, shard=2)
    html = finished._repr_html_()
    assert "5 of 5 images in " in html
    assert "4 of 20 rows contain an error. The most frequent is: " in html
    assert "speckle-3.png is truncated" in html
    rows = [row for row in finished if row.error is None]
    for method in finished.manifest.models[0].methods:
        for metric in TWO:
            values = [row.score for row in rows if (row.method, row.metric) == (method, metric)]
            assert f"<td>{sum(values) / len(values):.4f}</td>" in html
    assert "deletion:steps=4 (lower is better)" in html


def test_an_unfinished_run_displays_its_progress(tmp_path: Path) -> None:
    finished = run(tmp_path / "run", Speckles(4), metrics=TWO[0], shard=2)
    (finished.path / "checksums" / "000-000000002.sha256").unlink()
    assert "2 of 4 images in " in xai.Run.read(finished.path)._repr_html_()
    (finished.path / "checksums" / "000-000000000.sha256").unlink()
    empty = xai.Run.read(finished.path)._repr_html_()
    assert "0 of 4 images in " in empty
    assert "<table>" not in empty
