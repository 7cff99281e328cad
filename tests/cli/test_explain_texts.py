"""`xai explain` on a model that compares images with texts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import xai_core as xai
from support.command_line import Run, refused
from support.tiny_models import explain
from xai_core.data.pixels import to_pil

METHOD = "grad-eclip"
TEXTS = ["a yellow square", "a red star"]
pytestmark = pytest.mark.usefixtures("tiny")


def match(*args: object) -> Run:
    return explain(*args, method=METHOD, model="shapes-clip")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    to_pil(xai.load_dataset("shapes-text:split=test")[0].image).save(path)  # type: ignore[arg-type]
    return path


def test_texts_are_explained(photo: Path) -> None:
    run = match(photo, *(word for text in TEXTS for word in ("--text", text)), "--page")
    assert run.code == 0, run.err
    loaded = xai.load_model("shapes-clip")
    model, tokenizer, image = loaded.model, loaded.tokenizer, xai.load_image(photo, loaded)
    assert tokenizer is not None
    with torch.no_grad():
        vectors = model.encode_image(image), model.encode_text(tokenizer(TEXTS))  # type: ignore[operator]
        logits = model.logit_scale.exp() * torch.cosine_similarity(*vectors)  # type: ignore[operator,union-attr]
    rows = json.loads(Path("out/photo.json").read_text())["maps"]
    assert [row["target"] for row in rows] == TEXTS
    assert [row["logit"] for row in rows] == pytest.approx(logits.tolist(), abs=1e-4)
    assert {row["probability"] for row in rows} == {None}
    table = [*csv.DictReader(Path("out/maps.csv").read_text().splitlines())]
    assert [float(row["logit"]) for row in table] == [row["logit"] for row in rows]
    page = Path("out/index.html").read_text()
    for row in rows:
        expected = xai.Engine(loaded).explain(image, METHOD, xai.Text(row["target"]))[METHOD].values[0]
        np.testing.assert_allclose(np.load(f"out/{row['array']}"), expected.numpy(), atol=1e-6)
        assert row["target"] in page
        assert row["target"] in run.out


@pytest.mark.parametrize("options", [(), ("--target", "0"), ("--text", TEXTS[0], "--top", "2")])
def test_other_options_are_refused(photo: Path, options: tuple[str, ...]) -> None:
    refused(match(photo, *options), "this model compares images with texts", "--text")
    assert not Path("out").exists()


def test_unknown_words_and_texts_for_a_classifier_are_refused(photo: Path) -> None:
    refused(match(photo, "--text", "a purple star"), "purple")
    refused(explain(photo, "--text", TEXTS[0]), "--text needs a model that compares images with texts")


def test_the_demo_explains_the_text_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: [METHOD])
    run = Run("demo", "--limit", 1, "--model", "shapes-clip", "--data", "shapes-text:split=test")
    assert run.code == 0, run.err
    loaded, sample = xai.load_model("shapes-clip"), xai.load_dataset("shapes-text:split=test")[0]
    engine, image = xai.Engine(loaded), loaded.preprocess(sample.image)[None]
    assert sample.text is not None
    maps = engine.explain(image, METHOD, xai.Text(sample.text))
    [expected] = engine.evaluate(image, maps, "insertion:steps=10")[METHOD]["insertion:steps=10"].values
    with Path("xai-demo/results.csv").open() as file:
        [row] = [row for row in csv.DictReader(file) if row["metric"] == "insertion"]
    assert (row["target_id"], row["target_name"], row["probability"]) == ("", sample.text, "")
    assert float(row["score"]) == pytest.approx(float(expected), abs=1e-5)
    page = Path("xai-demo/index.html").read_text()
    assert sample.text in page
    assert "class 35" not in page, "classes of the dataset are not classes of the model"


def test_the_demo_needs_texts() -> None:
    refused(Run("demo", "--limit", 1, "--model", "shapes-clip", "--data", "shapes"), "--data shapes-text")
