"""A demonstration skips methods that break the contract, scores by the ground truth, and writes as it goes."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.command_line import Run
from support.misbehaving import TheirCAM
from xai_core.cli.actions.demonstration import Demonstration
from xai_core.data.ground_truth import model_mask
from xai_core.data.sources import Sample
from xai_core.report.results import ImageResult


@pytest.mark.usefixtures("their_plugin")
@pytest.mark.parametrize("fault", ["forward_passes", "explain"])
def test_a_method_that_breaks_the_contract_is_skipped(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: ["grad-cam", "their-cam"])
    monkeypatch.setattr(TheirCAM, fault, lambda self, given: torch.zeros(3))
    run = Run("demo", "--limit", 1, "--model", "shapes-cbam", "--data", "shapes")
    assert run.code == 0, run.err
    page = Path("xai-demo/index.html").read_text()
    assert "<b>their-cam</b>" in page
    assert "their-cam of their-cam 2.3 must return " in page
    assert [path.name for path in (tmp_path / "xai-demo").glob("*.grad-cam.png")]


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demonstration of three methods of one pass, and a control."""
    monkeypatch.chdir(tmp_path)
    methods = ["grad-cam", "layer-cam", "spatial-attention", "center"]
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: methods)


def demonstrate(limit: int) -> Run:
    return Run("demo", "--limit", limit, "--model", "shapes-cbam", "--data", "shapes:split=test")


@pytest.mark.usefixtures("few")
def test_methods_of_one_pass_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = xai.Engine.explain

    def explain(self: xai.Engine, images: Tensor, methods: Any, *args: Any, **options: Any) -> Any:
        calls.append([*methods])
        return original(self, images, methods, *args, **options)

    monkeypatch.setattr(xai.Engine, "explain", explain)
    assert demonstrate(1).code == 0
    assert calls == [["grad-cam", "layer-cam", "spatial-attention", "center"]]
    page = Path("xai-demo/index.html").read_text()
    groups = re.findall(r'<figure data-method="([^"]*)" data-group="([^"]*)"', page)
    assert groups == [
        ("grad-cam", "one pass"),
        ("layer-cam", "one pass"),
        ("spatial-attention", "attention"),
        ("center", "controls"),
    ]


@pytest.mark.usefixtures("few")
def test_maps_are_scored_by_the_ground_truth() -> None:
    assert demonstrate(1).code == 0
    with Path("xai-demo/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["metric"] for row in rows} == {"deletion", "insertion", "relevance-mass", "pointing-game"}
    loaded, sample = xai.load_model("shapes-cbam"), xai.load_dataset("shapes:split=test")[0]
    images, mask = loaded.preprocess(sample.image)[None], model_mask(loaded, sample)
    engine = xai.Engine(loaded)
    maps = engine.explain(images, "grad-cam")
    [expected] = engine.evaluate(images, maps, "relevance-mass", mask[None])["grad-cam"]["relevance-mass"].values
    [score] = [row["score"] for row in rows if (row["method"], row["metric"]) == ("grad-cam", "relevance-mass")]
    assert float(score) == pytest.approx(float(expected), abs=1e-5)
    assert f"in mask {expected:.2f}" in Path("xai-demo/index.html").read_text()


@pytest.mark.usefixtures("few")
def test_equal_maps_are_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    original = xai.Engine.evaluate

    def evaluate(self: xai.Engine, images: Tensor, maps: Any, *args: Any) -> Any:
        scored.append([*maps])
        return original(self, images, maps, *args)

    monkeypatch.setattr(xai.Engine, "evaluate", evaluate)
    monkeypatch.setattr(
        "xai_core.cli.actions.demonstration.list_explainers", lambda: ["center", "grad-cam", "shapley-cam"]
    )
    assert demonstrate(1).code == 0
    assert scored == [["center", "grad-cam"]]
    with Path("xai-demo/results.csv").open() as file:
        scores = {(row["method"], row["metric"]): row["score"] for row in csv.DictReader(file)}
    for metric in ("deletion", "insertion", "relevance-mass", "pointing-game"):
        assert scores["shapley-cam", metric] == scores["grad-cam", metric]


@pytest.mark.usefixtures("few")
def test_results_are_written_after_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Demonstration._result

    def result(self: Demonstration, sample: Sample, name: str) -> ImageResult:
        page = Path("xai-demo/index.html")
        seen.append(page.read_text().count("<article") if page.exists() else 0)
        return original(self, sample, name)

    monkeypatch.setattr(Demonstration, "_result", result)
    assert demonstrate(3).code == 0
    assert seen == [0, 1, 2]


@pytest.mark.usefixtures("few")
def test_progress_is_printed_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cli.console.INTERVAL", 0.0)
    lines = demonstrate(2).err.splitlines()
    assert "[0/2] test-0: methods of one pass" in lines
    assert "[1/2] test-1: scores" in lines
    monkeypatch.setattr("xai_core.cli.console.INTERVAL", 1000.0)
    assert demonstrate(2).err == ""
