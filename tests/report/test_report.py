"""Reports: files, rows, pictures, curves and the page."""

import csv
import io
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
from xai_core.report.curves import line_style, plot_curves
from xai_core.report.demo_sections import page_photo, page_section
from xai_core.report.mean_scores import mean_scores
from xai_core.report.method_groups import ATTENTION, ONE_PASS
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
        Explanation("grad-cam", ONE_PASS, GREY, 0.5, False, scored(*first)),
        Explanation("rollout", ATTENTION, GREY, 1.5, True, scored(*second)),
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
    assert image.width == pytest.approx(130 * (2.85 + 3.8 * max(1, len(metrics))), abs=2)


def test_no_two_methods_of_a_demonstration_are_drawn_alike() -> None:
    assert len({line_style(number) for number in range(36)}) == 36


def test_curves_are_drawn_whatever_the_class_is_called_and_whether_a_method_suited() -> None:
    png_of(plot_curves(replace(result(), predicted=Prediction(0, "$_$ or ^", 0.5))))
    png_of(plot_curves(replace(result(), explanations=[])))


def test_drawing_leaves_no_figure_behind() -> None:
    from matplotlib import _pylab_helpers, rcParams

    before, figures = dict(rcParams), [*_pylab_helpers.Gcf.figs]
    plot_curves(result())
    assert [*_pylab_helpers.Gcf.figs] == figures
    assert dict(rcParams) == before


def test_a_section_shows_the_images_and_their_means() -> None:
    shown = result()
    parts = [Image.new("RGB", (8, 6), (value, 0, 0)) for value in (1, 2, 3)]
    explanations = [replace(shown.explanations[0], parts=parts), shown.explanations[1]]
    image = replace(shown, explanations=explanations, ground_truth=GREY, label="lynx")
    results = ModelResults("m", "d", [image], {"rise": "too slow", "score-cam": "too slow"})
    photo = page_photo(image, "m")
    section = page_section(results, [photo])
    assert section.title == "m on d"
    assert section.metrics == {"deletion": False, "insertion": True}
    assert section.skipped == {"rise, score-cam": "too slow"}
    assert [(row.method, row.values["insertion"]) for row in section.rows] == [("grad-cam", 0.6), ("rollout", 0.5)]
    assert photo.classes == {"predicted": 'tabby, "tabby" cat 0.80', "ground truth": "lynx"}
    assert photo.ground_truth is not None
    first, second = photo.maps
    assert (first.image.file, first.group) == ("m/cat.grad-cam.png", ONE_PASS)
    assert first.parts is not None
    assert (first.parts.width, first.parts.height, first.part_count) == (3 * 8 + 2 * 2, 6, 3)
    assert list(first.captions) == ["insertion 0.60"]
    assert list(second.captions) == ["constant map", "insertion 0.50"]
    assert second.parts is None
