"""Reports: files, rows, pictures, curves and the page."""

import base64
import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xai_core import files
from xai_core.data.image_names import stem
from xai_core.errors import FileError
from xai_core.report.csv_rows import csv_rows, write_csv
from xai_core.report.curves import overview, plot_curves
from xai_core.report.page import render
from xai_core.report.ranking import best_methods, mean_scores
from xai_core.report.results import (
    Explanation,
    ImageResult,
    MapScore,
    ModelResults,
    PerturbationCurve,
    Prediction,
)
from xai_core.visualization import overlays
from xai_core.visualization.photos import model_view

GREY = Image.new("RGB", (8, 6), (120, 120, 120))


def scored(deletion: float, insertion: float) -> dict[str, MapScore]:
    return {
        "deletion": MapScore(deletion, False, PerturbationCurve([0, 0.5, 1], [0.9, 0.5, 0.0])),
        "insertion": MapScore(insertion, True, PerturbationCurve([0, 0.5, 1], [0.0, 0.5, 0.9])),
    }


def result(
    name: str = "cat", first: tuple[float, float] = (0.2, 0.6), second: tuple[float, float] = (0.1, 0.5)
) -> ImageResult:
    explanations = [
        Explanation("grad-cam", GREY, 0.5, False, scored(*first)),
        Explanation("rollout", GREY, 1.5, True, scored(*second)),
    ]
    return ImageResult(name, files.distinct([name])[0], GREY, Prediction(3, 'tabby, "tabby" cat', 0.8), explanations)


def png_of(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.format == "PNG"
    return image


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    files.write_file(path, "before")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(FileError, match="No space left"):
            files.write_file(path, "after")
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]
    assert path.read_text() == "before"
    files.write_file(path, b"after")
    assert path.read_text() == "after"
    with pytest.raises(FileError, match="cannot write"):
        files.write_file(tmp_path / "nowhere" / "a.csv", "")


def test_folders_are_made_or_refused(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for taken in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FileError):
            files.make_folder(taken)


def test_names_do_not_clash_and_need_no_quoting() -> None:
    assert files.distinct(["cat", "Cat", "cat-2", "cat"]) == ["cat", "Cat-2", "cat-2-2", "cat-3"]
    assert files.distinct(["grad-cam:layer=layer3.1", "a/b c", "../..", ""]) == [
        "grad-cam-layer=layer3.1",
        "a-b-c",
        "unnamed",
        "unnamed-2",
    ]


def test_names_are_cut_to_what_a_file_system_takes(tmp_path: Path) -> None:
    name, other = files.distinct(["ü" * 120, "ü" * 121])
    assert (name, other) == ("ü" * 50, "ü" * 50 + "-2")
    files.write_file(tmp_path / f"{'ü' * 50}.{name}.png", b"")


def test_rows_survive_a_round_trip(tmp_path: Path) -> None:
    write_csv(tmp_path / "results.csv", csv_rows(ModelResults("m", "d", [result("a,b"), result('"q"\nü')], {})))
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert len(read) == 2 * 2 * 2
    assert {row["image"] for row in read} == {"a,b", '"q"\nü'}
    assert read[0] == {
        "model": "m",
        "data": "d",
        "image": "a,b",
        "method": "grad-cam",
        "metric": "deletion",
        "score": "0.2",
        "target_id": "3",
        "target_name": 'tabby, "tabby" cat',
        "probability": "0.8",
        "seconds": "0.5",
    }


def test_best_is_in_the_direction_of_the_metric() -> None:
    explanations = result().explanations
    assert best_methods(explanations, "deletion") == {"rollout"}
    assert best_methods(explanations, "insertion") == {"grad-cam"}
    assert best_methods(explanations[:1], "deletion") == set()
    assert best_methods(result(first=(0.1001, 0.5)).explanations, "deletion") == set()


def test_means_are_over_the_images_that_a_method_explained() -> None:
    other = result("dog", first=(0.4, 0.2))
    first, second = mean_scores([result(), replace(other, explanations=other.explanations[:1])])
    assert first.method == "grad-cam"
    assert first.scores["deletion"].value == pytest.approx(0.3)
    assert second.scores["insertion"].value == pytest.approx(0.5)
    assert second.seconds == 1.5


def test_an_overlay_leaves_the_photo_clear_where_nothing_is_salient() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8))
    saliency = torch.zeros(6, 8)
    assert np.array_equal(np.asarray(overlays.overlay(photo, saliency)), np.asarray(photo))
    saliency[2, 3] = 1
    changed = (np.asarray(overlays.overlay(photo, saliency)) != np.asarray(photo)).any(-1)
    assert changed.sum() == 1
    assert changed[2, 3]


def test_more_saliency_changes_the_photo_more() -> None:
    colored = np.asarray(overlays.overlay(GREY, torch.linspace(0, 1, 8).expand(6, 8)), dtype=float)
    change = np.abs(colored - 120).sum(-1)[0]
    assert (np.diff(change) > 0).all()


def test_one_pixel_above_all_others_does_not_hide_them() -> None:
    saliency = torch.full((20, 20), 0.01)
    saliency[:10] = 0.2
    saliency[0, 0] = 1
    colored = np.asarray(overlays.overlay(GREY.resize((20, 20)), saliency), dtype=float)
    change = np.abs(colored - 120).sum(-1)
    assert (change[:10] == change[0, 0]).all()
    assert (change[10:] < change[0, 0] / 4).all()


def test_what_is_next_to_nothing_is_not_colored() -> None:
    saliency = torch.full((20, 20), 1e-6)
    saliency[0, 0] = 1
    colored = np.asarray(overlays.overlay(GREY.resize((20, 20)), saliency), dtype=float)
    assert (np.abs(colored - 120).sum(-1) > 0).sum() == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_the_model_sees_is_shown(channels: int) -> None:
    image = torch.linspace(-2, 2, channels * 48).view(channels, 6, 8)
    stretched = np.asarray(model_view(image))
    assert stretched.shape == (6, 8, 3)
    assert stretched.min() == 0
    restored = model_view(image, lambda x: x * 0 + 1)
    assert np.asarray(restored).min() == 255


def test_extensions_of_pictures_are_cut_off() -> None:
    assert [stem(name) for name in ("a.PNG", "b.v2.jpeg", "c.v2", "d", "e.pdf")] == [
        "a",
        "b.v2",
        "c.v2",
        "d",
        "e.pdf",
    ]


@pytest.mark.parametrize("metrics", [("deletion", "insertion"), ("deletion",), ()])
def test_curves_are_drawn_for_the_metrics_that_have_them(metrics: tuple[str, ...]) -> None:
    drawn = result()
    kept = [
        replace(one, scores={m: s if m in metrics else replace(s, curve=None) for m, s in one.scores.items()})
        for one in drawn.explanations
    ]
    image = png_of(plot_curves(replace(drawn, explanations=kept)))
    assert image.width == pytest.approx(160 * (1.6 + 3.9 * max(1, len(metrics))), abs=2)


def test_curves_are_drawn_whatever_the_class_is_called_and_whether_a_method_suited() -> None:
    png_of(plot_curves(replace(result(), predicted=Prediction(0, "$_$ or ^", 0.5))))
    png_of(plot_curves(replace(result(), explanations=[])))


def test_a_sheet_holds_every_picture() -> None:
    one, three = png_of(overview([result()])), png_of(overview([result(), result(), result()]))
    assert three.width == one.width
    assert three.height == pytest.approx(3 * one.height, abs=3)


def test_drawing_leaves_no_figure_behind() -> None:
    from matplotlib import _pylab_helpers, rcParams

    before = dict(rcParams)
    plot_curves(result())
    overview([result()])
    assert not _pylab_helpers.Gcf.figs
    assert dict(rcParams) == before


def test_parts_and_the_truth_are_shown_where_there_are_any() -> None:
    shown = result()
    parts = [Image.new("RGB", (8, 6), (value, 0, 0)) for value in (1, 2, 3)]
    with_parts = [replace(shown.explanations[0], parts=parts), shown.explanations[1]]
    made = page_of(replace(shown, explanations=with_parts, ground_truth=GREY))
    strips = [png_of(base64.b64decode(data)) for data in re.findall(r'src="data:image/png;base64,([^"]*)" style', made)]
    assert [(strip.width, strip.height) for strip in strips] == [(3 * 8 + 2 * 2, 6)]
    assert [strips[0].convert("RGB").getpixel((x, 0)) for x in (0, 10, 20)] == [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    assert "3 parts of the map" in made
    assert "Ground truth" in made
    assert "Ground truth" not in page_of(shown)


def page_of(shown: ImageResult) -> str:
    return render("Found", [ModelResults("m", "d", [shown], {})], {"Device": "cpu"}, plot_curves)


@pytest.fixture(scope="module")
def page() -> str:
    images = [result(), result("<script>alert(1)</script>", second=(0.3, 0.7))]
    results = ModelResults("model & such", "data", images, {"score-cam": "it needs <features>"})
    return render("What is found", [results], {"Device": "cpu", "Command": "xai demo"}, plot_curves)


def test_the_page_asks_nothing_of_a_network(page: str) -> None:
    for attribute in ("src", "href", "srcset", "action", "data"):
        assert all(value.startswith("data:") for value in re.findall(rf'\s{attribute}="([^"]*)', page))
    assert "//" not in re.sub(r'"data:[^"]*"', "", page)
    assert not re.search(r"@import|url\(|<script|<iframe|<object", page)


def test_the_page_holds_its_pictures(page: str) -> None:
    embedded = re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    assert len(embedded) == 2 * (1 + 2 + 1)  # for each image the photo, two overlays and the curves
    for data in embedded:
        png_of(base64.b64decode(data))


def test_the_page_shows_names_as_they_are(page: str) -> None:
    for shown in (
        "&lt;script&gt;alert(1)",
        "model &amp; such on data",
        "it needs &lt;features&gt;",
        "constant map",
    ):
        assert shown in page


def test_the_page_says_which_direction_is_better_and_marks_the_best(page: str) -> None:
    assert "Deletion<small>lower is better" in page
    assert "Insertion<small>higher is better" in page
    marked = re.findall(r'class="best"><span[^>]*>([\d.]+)', page)
    assert marked == ["0.600", "0.100", "0.200", "0.700"]  # the means of both are alike
