"""The summary of a demonstration has two lines for each model, and four more."""

from pathlib import Path

from PIL import Image

from xai_core.cli.actions.demo_summary import summary_lines
from xai_core.report.method_groups import CONTROL, ONE_PASS
from xai_core.report.results import Explanation, ImageResult, MapScore, ModelResults, Prediction

GRAY = Image.new("RGB", (8, 8))


def of_model(name: str) -> ModelResults:
    maps = [
        Explanation(method, group, GRAY, 0.1, False, {"insertion": MapScore(score, True)})
        for method, group, score in (("cam", ONE_PASS, 0.6), ("grad-cam", ONE_PASS, 0.8), ("random", CONTROL, 0.5))
    ]
    return ModelResults(name, "data", [ImageResult("a", "a", GRAY, Prediction(0, "cat", 0.9), maps)], {"rise": "slow"})


def test_three_models_are_summarized_in_ten_lines(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    lines = [*summary_lines([of_model(name) for name in "xyz"], tmp_path, 12.3)]
    assert len(lines) == 10
    assert lines[:2] == ["x on data: 1 image, 3 methods, 1 skipped", "  mean insertion: one pass 0.70, controls 0.50"]
    assert lines[-1] == "Explained 3 images in 12 s."
