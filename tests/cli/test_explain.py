"""`xai explain`: maps of photos, for several methods and targets, resumed after an interruption."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import xai_core as xai
from support.command_line import refused
from support.models import SmallCNN
from support.tiny_models import CLASSES, TEST, Flat, explain, preprocess, save
from xai_core.data.images import open_image
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry

pytestmark = pytest.mark.usefixtures("tiny")


def test_explain_writes_an_overlay_and_the_map(photos: Path) -> None:
    run = explain(photos / "cat.png", method="grad-cam,score-cam:score=logit")
    assert run.code == 0, run.err
    maps = {f"cat.{slug}.{end}" for slug in ("grad-cam", "score-cam-score=logit") for end in ("png", "npy")}
    assert {path.name for path in Path("out").iterdir()} == maps | {
        "cat.json",
        "cat.sheet.png",
        "maps.csv",
        "xai-explain.json",
    }
    values = np.load("out/cat.grad-cam.npy", allow_pickle=False)
    assert (values.shape, values.dtype) == ((32, 32), np.float32)
    assert (values.min(), values.max()) == (0, 1)
    assert open_image("out/cat.grad-cam.png").size == (40, 40)
    for shown in ("cat.png", "grad-cam", "score-cam:score=logit", "cat.grad-cam.png"):
        assert shown in run.out
    assert re.search(rf"({'|'.join(CLASSES)}) 0\.\d\d", run.out)


def test_explain_gives_the_map_of_the_engine(photos: Path) -> None:
    explain(photos / "cat.png", "--target", "espresso")
    loaded = xai.load_model("tiny:cnn")
    maps = xai.Engine(loaded).explain(preprocess(open_image(photos / "cat.png"))[None], "grad-cam", 4)
    np.testing.assert_allclose(np.load("out/cat.grad-cam.npy"), maps["grad-cam"].values[0].numpy(), atol=1e-6)


def test_explain_finds_the_pictures_in_folders_and_keeps_namesakes_apart(photos: Path) -> None:
    save(photos / "more" / "cat.png", seed=2)
    save(photos / ".hidden" / "cat.png")
    (photos / "notes.txt").write_text("no image")
    assert explain(photos, photos / "cat.png").code == 0
    assert {path.name for path in Path("out").glob("*.npy")} == {f"{n}.grad-cam.npy" for n in ("cat", "cat-2", "dog")}
    first, second = (np.load(f"out/{name}.grad-cam.npy") for name in ("cat", "cat-2"))
    assert not np.array_equal(first, second)


def test_explain_skips_images_that_are_not_the_users(photos: Path) -> None:
    for folder in ("env/lib", "lib/site-packages", ".cache/deep"):
        save(photos / folder / "logo.png")
    (photos / "env" / "pyvenv.cfg").write_text("home = /usr/bin")
    assert explain(photos).code == 0
    assert {path.name for path in Path("out").glob("*.npy")} == {"cat.grad-cam.npy", "dog.grad-cam.npy"}


def test_the_predicted_class_is_explained_in_one_forward_pass(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = SmallCNN.forward

    def forward(self: SmallCNN, images: Tensor) -> Tensor:
        calls.append(len(images))
        return original(self, images)

    monkeypatch.setattr(SmallCNN, "forward", forward)
    assert explain(photos / "cat.png", out="one").code == 0
    first = len(calls)
    assert explain(photos, out="two").code == 0
    assert len(calls) - first == first + 1


def test_explain_goes_on_past_broken_images(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"not an image")
    Path("empty").mkdir()
    run = explain(photos, "gone.png", "empty")
    assert run.code == 1
    lines = run.err.splitlines()
    assert len(lines) == 3
    for name in ("broken.png", "gone.png", "empty"):
        assert any(name in line for line in lines)
    assert len(list(Path("out").glob("*.grad-cam.png"))) == 2


def test_an_image_that_cannot_be_read_is_counted_in_the_exit_code(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"not an image")
    assert explain(photos).code == 1


def test_explain_writes_over_nothing_unless_told(photos: Path) -> None:
    assert explain(photos).code == 0
    before = Path("out/cat.grad-cam.npy").stat().st_mtime_ns
    refused(explain(photos, "--target", "0"), "would be overwritten", "--overwrite")
    assert Path("out/cat.grad-cam.npy").stat().st_mtime_ns == before
    assert explain(photos, "--overwrite").code == 0
    assert explain(photos, method="score-cam").code == 0
    refused(explain(photos, out="photos/cat.png"), "is a file")


@pytest.mark.parametrize("target", ["1", "tiger cat", "TIGER Cat"])
def test_explain_takes_a_class_by_id_or_name(photos: Path, target: str) -> None:
    run = explain(photos / "cat.png", "--target", target)
    assert run.code == 0
    assert "tiger cat" in run.out


def test_explain_refuses_classes_that_are_not(photos: Path) -> None:
    refused(explain(photos, "--target", "tiger cot"), "no class 'tiger cot'", "did you mean 'tiger cat'")
    refused(explain(photos, "--target", "cat"), "'tiger cat'")
    refused(explain(photos, "--target", "crane"), "2 or 3")
    refused(explain(photos, "--target", "5"), "0 to 4")
    refused(explain(photos, "--target", "Tabby", model="tiny:nameless"), "pass a class id")


def test_explain_shows_models_without_class_names(photos: Path) -> None:
    run = explain(photos / "cat.png", model="tiny:nameless")
    assert run.code == 0
    assert re.search(r"class \d 0\.\d\d", run.out)


def test_explain_passes_the_layer_to_methods_that_take_one(photos: Path) -> None:
    assert explain(photos / "cat.png", "--layer", "stem.2", method="grad-cam,score-cam").code == 0
    maps = xai.Engine(xai.load_model("tiny:cnn")).explain(
        preprocess(open_image(photos / "cat.png"))[None], "grad-cam:layer=stem.2"
    )
    [expected] = maps.values()
    np.testing.assert_allclose(np.load("out/cat.grad-cam.npy"), expected.values[0].numpy(), atol=1e-6)
    refused(explain(photos, "--layer", "1", method="head-attention,rollout", model="tiny:vit"), "rollout", "layer")
    refused(explain(photos, "--layer", "nowhere", out="other"), "no layer 'nowhere'")


@pytest.mark.parametrize("model", ["dino:vits16,size=96", "timm:vit_tiny_patch16_224,pretrained=false,img_size=96"])
def test_explain_takes_the_size_that_positions_are_interpolated_to(photos: Path, model: str) -> None:
    run = explain(photos / "cat.png", model=model, method="rollout")
    assert run.code == 0, run.err
    assert np.load("out/cat.rollout.npy").shape == (96, 96)


def test_explain_says_where_a_method_found_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry().entries["explainers"], "flat", Entry("flat", Flat, TEST))
    run = explain(photos / "cat.png", method="flat")
    assert run.code == 0
    assert "constant map" in " ".join(run.out.split())
    assert np.load("out/cat.flat.npy").max() == 0


def record(name: str, out: str = "out") -> dict[str, Any]:
    return json.loads(Path(out, f"{name}.json").read_text())


def rows(out: str = "out") -> list[dict[str, str]]:
    with Path(out, "maps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_overlay_covers_the_photo_with_the_map_where_the_crop_was(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cropped(image: Image.Image | Tensor) -> Tensor:
        return image[:, 4:36, 8:40] * 2 - 1 if isinstance(image, Tensor) else preprocess(image.crop((8, 4, 40, 36)))

    monkeypatch.setattr("support.tiny_models.preprocess", cropped)
    wide = save(photos / "wide.png", size=(60, 40))
    assert explain(wide).code == 0
    overlay, photo = (np.asarray(open_image(path)) for path in ("out/wide.grad-cam.png", wide))
    assert overlay.shape == photo.shape
    outside = np.ones((40, 60), bool)
    outside[4:36, 8:40] = False
    assert np.array_equal(overlay[outside], photo[outside])
    assert (overlay != photo).any()
    assert explain(wide, "--crop", out="crops").code == 0
    assert open_image("crops/wide.grad-cam.png").size == (32, 32)


def test_several_classes_and_contrasts_are_explained(photos: Path) -> None:
    run = explain(photos / "cat.png", "--target", "espresso", "--target", "0", "--contrast", "Tabby,tiger cat")
    assert run.code == 0, run.err
    assert [row["target"] for row in rows()] == ["espresso", "Tabby", "Tabby not tiger cat"]
    assert [row["target_id"] for row in rows()] == ["4", "0", ""]
    images = preprocess(open_image(photos / "cat.png"))[None]
    engine = xai.Engine(xai.load_model("tiny:cnn"))
    for row, target in zip(rows(), (4, 0, xai.Contrast(0, 1)), strict=True):
        expected = engine.explain(images, "grad-cam", target)["grad-cam"].values[0]
        np.testing.assert_allclose(np.load(Path("out", row["array"])), expected.numpy(), atol=1e-6)
    refused(explain(photos, "--contrast", "Tabby", out="other"), "two classes")
    refused(explain(photos, "--contrast", "Tabby,0", out="other"), "two different classes")


def test_the_highest_classes_are_explained(photos: Path) -> None:
    assert explain(photos / "cat.png", "--top", "3").code == 0
    predictions = record("cat")["predictions"]
    assert [row["target"] for row in rows()] == [prediction["name"] for prediction in predictions[:3]]
    scores = xai.load_model("tiny:cnn").model(preprocess(open_image(photos / "cat.png"))[None]).softmax(1)
    assert [float(row["probability"]) for row in rows()] == pytest.approx(scores.topk(3).values[0].tolist(), abs=1e-5)


def test_methods_that_are_not_compatible_are_skipped_with_their_reason(photos: Path) -> None:
    for _ in range(2):  # the second run resumes
        run = explain(photos, method="rollout,grad-cam")
        assert run.code == 1
        assert "skipped rollout: " in run.err
        assert {row["method"] for row in rows()} == {"grad-cam"}


def test_all_selects_every_compatible_method(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["grad-cam", "rollout", "smoothed", "layer-cam"]
    monkeypatch.setattr("xai_core.cli.actions.photo_methods.list_explainers", lambda: methods)
    run = explain(photos, method="all")
    assert run.code == 0, run.err
    assert {row["method"] for row in rows()} == {"grad-cam", "layer-cam"}
    assert "skipped rollout" in run.err
    assert "skipped smoothed" in run.err


def test_a_method_that_fails_costs_only_its_own_maps(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty(xai.Explainer):
        """Returns NaN."""

        name = "empty"

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.Needs()

        def explain(self, captured: xai.Captured) -> Tensor:
            return captured.images.mean(1) * torch.nan

    monkeypatch.setitem(registry().entries["explainers"], "empty", Entry("empty", Empty, TEST))
    run = explain(photos / "cat.png", method="empty,grad-cam")
    assert run.code == 1
    assert "cat.png: empty: " in run.err
    assert [row["method"] for row in rows()] == ["grad-cam"]


def test_missing_files_are_reported_before_the_model_is_loaded(photos: Path) -> None:
    assert "gone.png does not exist" in explain("gone.png", photos, model="tiny:bug").err
    assert explain("gone.png", model="tiny:bug").code == 1


def test_an_interrupted_run_resumes(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(photos / "zebra.png", seed=3)
    assert explain(photos, method="grad-cam,layer-cam", out="whole").code == 0
    calls: list[str] = []
    original = xai.Engine.explain

    def counted(self: xai.Engine, *args: Any, **options: Any) -> Any:
        calls.append("photo")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    monkeypatch.setattr(xai.Engine, "explain", counted)
    assert explain(photos, method="grad-cam,layer-cam").code != 0
    assert explain(photos, method="grad-cam,layer-cam").code == 0
    assert len(calls) == 2 + 2  # the first photo was not explained again
    names = sorted(path.name for path in Path("whole").iterdir())
    assert sorted(path.name for path in Path("out").iterdir()) == names
    for name in names:
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes(), name


def test_results_of_other_settings_are_not_mixed(photos: Path) -> None:
    assert explain(photos).code == 0
    refused(explain(photos, "--crop"), "other settings (crop)", "--overwrite")
    assert explain(photos, method="layer-cam").code == 0  # methods can be added
    assert {row["method"] for row in record("cat")["maps"]} == {"grad-cam", "layer-cam"}


def test_a_changed_photo_is_not_overwritten(photos: Path) -> None:
    assert explain(photos).code == 0
    before = Path("out/cat.grad-cam.npy").read_bytes()
    save(photos / "cat.png", seed=9)
    run = explain(photos)
    assert run.code == 1
    assert "has changed since it was explained" in run.err
    assert Path("out/cat.grad-cam.npy").read_bytes() == before
    assert explain(photos, "--overwrite").code == 0
    assert Path("out/cat.grad-cam.npy").read_bytes() != before


def test_the_default_folder_is_free_or_has_the_same_settings(photos: Path) -> None:
    for options in ((), (), ("--crop",), ()):
        assert explain(photos / "cat.png", *options, out=None).code == 0
    assert {path.name for path in Path().iterdir()} == {"photos", "xai-explain", "xai-explain-2"}


def test_a_mistake_leaves_no_folder_behind(photos: Path) -> None:
    refused(explain(photos, "--target", "99"), "0 to 4")
    assert not Path("out").exists()


def test_output_folders_are_not_searched_for_photos(photos: Path) -> None:
    for _ in range(2):
        assert explain(photos, out="photos/out").code == 0
        assert len(rows("photos/out")) == 2


def test_many_photos_are_summarized(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cli.actions.explain.LONGEST_TABLE", 1)
    assert explain(photos).out.split() == ["Explained", "2", "images.", "Folder:", "out"]
    assert len(rows()) == 2


def test_names_in_tables_run_no_formula(photos: Path) -> None:
    Path("=2.png").write_bytes((photos / "cat.png").read_bytes())
    assert explain("=2.png").code == 0
    assert rows()[0]["image"] == "'=2.png"


def test_a_page_shows_all_photos_and_targets(photos: Path) -> None:
    run = explain(photos, "--page", "--top", "2", method="grad-cam,random,rollout")
    assert "Page: out/index.html" in run.out
    page = Path("out/index.html").read_text()
    assert page.count("<article") == 2 * 2
    assert re.findall(r'data-method="([^"]*)" data-group="([^"]*)"', page)[:2] == [
        ("grad-cam", "one pass"),
        ("random", "controls"),
    ]
    assert "<b>rollout</b>" in page
    titles = re.findall("<h3>(.*)</h3>", page)
    assert titles == [f"{Path(row['image']).name}: {row['target']}" for row in rows() if row["method"] == "random"]
    assert page.count("<dt>explained</dt>") == 2
    sources = {*re.findall(r'(?:src|href)="\./([^"]*)"', page)}
    assert len([name for name in sources if name.endswith(".webp")]) == 2 + 2 * 2 * 2
    assert all(Path("out", name).exists() for name in sources)


def test_photos_with_the_same_name_have_different_titles(photos: Path) -> None:
    for folder in ("a/2024", "b/2024", "b/2025"):
        save(photos / folder / "cat.png")
    run = explain(photos, "--page")
    titles = re.findall("<h3>(.*)</h3>", Path("out/index.html").read_text())
    assert titles == ["a/2024/cat.png", "b/2024/cat.png", "2025/cat.png", "photos/cat.png", "dog.jpg"]
    assert all(title in run.out for title in titles)


def test_a_page_includes_photos_of_earlier_runs(photos: Path) -> None:
    assert explain(photos / "cat.png").code == 0  # without previews
    assert explain(photos, "--page").code == 0
    assert Path("out/index.html").read_text().count("<article") == 2
    assert explain(photos, "--page", method="layer-cam").code == 0
    assert {*re.findall(r'data-method="([^"]*)"', Path("out/index.html").read_text())} == {"grad-cam", "layer-cam"}


def test_the_original_of_a_page_fits_its_overlays(photos: Path) -> None:
    Image.new("RGB", (1000, 500), (10, 200, 30)).save(photos / "wide.png")
    for options, size in (((), (640, 320)), (("--crop",), (32, 32))):
        assert explain(photos / "wide.png", "--page", "--overwrite", *options).code == 0
        for name in ("original", "grad-cam"):
            with Image.open(f"out/wide.{name}.webp") as preview:
                assert preview.size == size


def test_names_of_photos_appear_as_text(photos: Path) -> None:
    evil = photos / "<img src=x onerror=alert(1)>.png"
    save(evil, seed=2)
    assert explain(evil, "--page").code == 0
    page = Path("out/index.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in page
