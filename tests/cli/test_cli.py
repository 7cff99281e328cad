"""The command line, on a tiny model and small pictures."""

import csv
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import xai_core as xai
from support.command_line import Run, refused
from support.explaining import suitable
from support.models import SmallCNN, fused_vit
from support.tiny_models import CLASSES, TEST, Flat, explain
from xai_core.cli.actions import demonstration
from xai_core.configurable import MADE_OF
from xai_core.data.images import open_image
from xai_core.errors import PluginWarning, XAIError
from xai_core.plugin import ModelSource
from xai_core.plugins.discovery import Plugin
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry
from xai_core.report.csv_rows import CSVRow
from xai_core.spec import parse

pytestmark = pytest.mark.usefixtures("tiny")


def demo(photos: Path, *args: object, model: str = "tiny:cnn") -> Run:
    return Run("demo", "--model", model, "--data", f"folder:{photos}", *args)


def demonstrated(model: nn.Module) -> list[str]:
    """The methods that suit a model, are not made of others and do not take too many forwards of 32x32 pixels."""
    engine, images = xai.Engine(model.eval()), torch.randn(1, 3, 32, 32)
    names = [parse(spec).head for spec in suitable(engine, images)]
    return [
        name
        for name, made in ((name, xai.create_explainer(name)) for name in names)
        if not MADE_OF & set(inspect.signature(type(made)).parameters)
        and made.forward_passes(engine.adapter(images)) * 32 * 32 <= demonstration.MOST_PIXELS
    ]


def demonstrate(monkeypatch: pytest.MonkeyPatch, *methods: str) -> None:
    """Let a demonstration try these methods only."""
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: [*methods])


@pytest.fixture
def affordable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a demonstration skip methods of more than 40 forward passes."""
    monkeypatch.setattr(demonstration, "MOST_PIXELS", 40 * 32 * 32)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a demonstration try three methods only, where it does not matter which."""
    demonstrate(monkeypatch, "grad-cam", "head-attention", "rollout")


@pytest.mark.usefixtures("affordable")
def test_demo_writes_pictures_curves_rows_and_a_page(photos: Path) -> None:
    run = demo(photos)
    assert run.code == 0, run.err
    out = Path("xai-demo")
    methods = demonstrated(SmallCNN())
    assert {path.name for path in out.iterdir()} == {
        *(f"{image}.{made}.png" for image in ("cat", "dog") for made in (*methods, "curves", "photo", "dff.parts")),
        *("results.csv", "index.html"),
    }
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * len(methods)
    assert set(rows[0]) == {field.name for field in fields(CSVRow)}
    assert {row["image"] for row in rows} == {"cat.png", "dog.jpg"}
    for row in rows:
        assert CLASSES[int(row["target_id"])] == row["target_name"]
        assert 0 <= float(row["score"]) <= 1
        assert 0.2 <= float(row["probability"]) <= 1
    assert run.out.startswith("tiny:cnn on folder:")
    assert f": 2 images, {len(methods)} methods, " in run.out
    assert re.search(r"mean insertion: one pass 0\.\d\d, many passes 0\.\d\d, controls 0\.\d\d\n", run.out)
    assert f"Report: {out / 'index.html'} (" in run.out
    assert len(run.out.splitlines()) <= 10
    assert "best" not in run.out


def test_demo_says_why_methods_are_not_for_the_model(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demonstrate(monkeypatch, "grad-cam", "raw-attention", "rollout", "smoothed")
    assert "1 method, 3 skipped" in demo(photos).out
    page = Path("xai-demo/index.html").read_text()
    assert "<b>raw-attention, rollout</b>" in page
    assert "the classification head of this model reads a feature map" in page
    assert "the demo does not run composite methods; use `xai explain --method smoothed(grad-cam)`" in page
    assert all(image in page for image in ("cat.png", "dog.jpg"))


@pytest.mark.slow
@pytest.mark.usefixtures("affordable")
def test_demo_runs_every_method_that_suits(photos: Path) -> None:
    run = demo(photos, "--limit", 1, model="tiny:vit")
    assert run.code == 0
    assert all(Path(f"xai-demo/cat.{method}.png").exists() for method in demonstrated(fused_vit()))
    assert not Path("xai-demo/dog.grad-cam.png").exists()


@pytest.mark.usefixtures("few")
def test_demo_shows_the_heads_of_attention(photos: Path) -> None:
    assert demo(photos, "--limit", 1, model="tiny:vit").code == 0
    heads = fused_vit().blocks[0].attn.num_heads
    size = 34 * heads - 2, 32
    assert open_image("xai-demo/cat.head-attention.parts.png").size == size
    assert f"{heads} parts of the map" in Path("xai-demo/index.html").read_text()
    run = explain(photos / "cat.png", model="tiny:vit", method="head-attention,grad-cam")
    assert run.code == 0
    assert open_image("out/cat.head-attention.parts.png").size == size
    assert not Path("out/cat.grad-cam.parts.png").exists()


@pytest.mark.usefixtures("few")
def test_demo_shows_several_models_each_in_a_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = (("tiny:cnn", f"folder:{photos}"), ("tiny:vit", "shapes:size=32"))
    monkeypatch.setattr("xai_core.cli.actions.demo.SHOWN", shown)
    monkeypatch.setattr("xai_core.cli.actions.demo.installed_model", lambda device: None)
    run = Run("demo", "--limit", 1)
    assert run.code == 0, run.err
    names = {path.relative_to("xai-demo").as_posix() for path in Path("xai-demo").rglob("*") if path.is_file()}
    assert {"index.html", "results.csv"} < names
    assert {"tiny-cnn/cat.grad-cam.png", "tiny-vit/train-0.rollout.png", "tiny-vit/train-0.ground-truth.png"} < names
    with Path("xai-demo/results.csv").open() as file:
        found = {(row["model"], row["data"], row["image"]) for row in csv.DictReader(file)}
    assert found == {("tiny:cnn", f"folder:{photos}", "cat.png"), ("tiny:vit", "shapes:size=32", "train-0")}
    page = Path("xai-demo/index.html").read_text()
    assert page.count('alt="Ground-truth mask') == 1  # of the shape alone
    assert all(f"{model} on {data}" in page for model, data in shown)


def test_demo_leaves_out_what_takes_too_long(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cli.actions.demonstration.MOST_PIXELS", 100 * 32 * 32)
    demonstrate(monkeypatch, "score-cam", "ss-cam")
    assert demo(photos, "--limit", 1).code == 0
    assert "needs 121 forward passes per image" in Path("xai-demo/index.html").read_text()
    assert not Path("xai-demo/cat.ss-cam.png").exists()
    assert Path("xai-demo/cat.score-cam.png").exists()


@pytest.mark.usefixtures("few")
def test_demo_takes_a_fresh_folder_each_time(photos: Path) -> None:
    for name in ("xai-demo", "xai-demo-2", "xai-demo-3"):
        assert demo(photos, "--limit", 1).code == 0
        assert Path(name, "index.html").exists()


@pytest.mark.usefixtures("few")
def test_demo_refuses_a_folder_that_holds_files(photos: Path) -> None:
    held = Path("mine/notes.txt")
    held.parent.mkdir()
    held.write_text("mine")
    refused(demo(photos, "--out", "mine"), "already contains files", "--overwrite")
    assert [path.name for path in held.parent.iterdir()] == ["notes.txt"]
    assert demo(photos, "--out", "mine", "--overwrite").code == 0
    assert held.read_text() == "mine"
    refused(demo(photos, "--out", "mine/notes.txt"), "is a file")


@pytest.mark.usefixtures("few")
def test_demo_leaves_broken_images_out(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"not an image")
    run = demo(photos)
    assert run.code == 1
    assert "skipped: " in run.err
    assert "broken.png" in run.err
    assert "cat.png" in Path("xai-demo/index.html").read_text()
    (photos / "cat.png").write_bytes(b"not an image either")
    (photos / "dog.jpg").unlink()
    refused(demo(photos), "no readable image")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "grad-cma"}, ("'grad-cma'", "did you mean 'grad-cam'")),
        ({"method": "grad-cam:depth=3"}, ("grad-cam", "depth")),
        ({"model": "tinny:cnn"}, ("'tinny'", "did you mean 'tiny'")),
        ({"method": "rollout"}, ("feature map", "such as grad-cam")),
    ],
)
def test_errors_are_one_line(photos: Path, options: dict[str, str], words: Sequence[str]) -> None:
    refused(explain(photos, **options), *words)


def test_debug_shows_the_traceback(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("explain", photos, "--model", "tiny:cnn", "--method", "nothing", "--out", "out")
    assert isinstance(Run("--debug", *args).exception, XAIError)
    monkeypatch.setenv("XAI_DEBUG", "1")
    assert isinstance(Run(*args).exception, XAIError)


def test_errors_of_others_pass(photos: Path) -> None:
    run = explain(photos, model="tiny:bug")
    assert isinstance(run.exception, RuntimeError)


def test_an_unknown_device_is_refused(photos: Path) -> None:
    run = explain(photos, "--device", "abacus")
    assert run.code == 2
    assert "--device" in run.err
    assert run.exception is None or isinstance(run.exception, SystemExit)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ["grad-cam", "rollout", "xai-cam"]),
        ("metrics", ["deletion", "insertion", "xai-faithfulness"]),
        ("models", ["efficientnet-lite0", "torchvision", "tiny", "the-tests 1.2", "--source NAME"]),
        ("datasets", ["folder", "photos", "xai-zoo"]),
        ("plugins", ["cam", "xai-zoo"]),
    ],
)
def test_list_shows_each_kind_within_80_columns(kind: str, names: list[str]) -> None:
    run = Run("list", kind)
    assert run.code == 0
    assert "\x1b" not in run.out
    assert max(map(len, run.out.splitlines())) <= 80
    for name in names:
        assert name in run.out
    everything = Run("list")
    assert all(name in everything.out for name in names)


def test_list_names_the_models_of_a_source() -> None:
    assert Run("list", "models", "--source", "tiny").out.split() == ["tiny:cnn", "tiny:vit", "tiny:nameless"]
    assert Run("list", "models", "--source", "efficientnet-lite0").out.split() == ["efficientnet-lite0"]
    refused(Run("list", "models", "--source", "tinny"), "did you mean 'tiny'")
    assert Run("list", "metrics", "--source", "tiny").code == 2


def test_list_asks_no_source_for_the_names_of_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(ModelSource):
        """Fails."""

        name = "failing"

        def names(self) -> Sequence[str]:
            raise RuntimeError("no idea")

        def load(self, name: str | None, **options: Any) -> xai.LoadedModel:
            raise NotImplementedError

    entry = Entry("failing", Failing, Plugin("a", "b", "their-models", "0.3"))
    monkeypatch.setitem(registry().entries["models"], "failing", entry)
    run = Run("list", "models")
    assert run.code == 0, run.err
    assert "their-models 0.3" in run.out
    assert "efficientnet-lite0" in run.out
    with pytest.warns(PluginWarning, match="model source failing of their-models 0.3 failed"):
        assert "efficientnet-lite0" in xai.list_models()


@pytest.mark.parametrize("kind", [(), ("metrics",), ("plugins",)])
def test_list_shows_the_plugins_that_failed(kind: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("lost", "lost_module", "lost-plugin", "0.3", "ModuleNotFoundError: No module named 'lost'")
    monkeypatch.setattr(registry(), "plugins", [*registry().plugins, broken])
    run = Run("list", *kind)
    assert run.code == 0
    assert "failed to load" in run.out
    assert "lost-plugin 0.3" in run.out
    assert "No module named 'lost'" in " ".join(run.out.split())
    assert run.out.count("lost-plugin") == 1


def test_list_shows_the_plugins_that_the_environment_disables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_PLUGINS", "xai-cam")
    monkeypatch.setattr(registry(), "left_out", [Plugin("lost", "lost_module", "lost-plugin", "0.3")])
    run = Run("list", "plugins")
    assert run.code == 0
    loaded, disabled = run.out.split("Disabled plugins")
    assert "lost" not in loaded
    assert "lost-plugin 0.3 XAI_PLUGINS=xai-cam" in " ".join(disabled.split())


@pytest.mark.slow
def test_the_real_demo_from_start_to_end(tmp_path: Path) -> None:
    """In a process of its own, and with few methods, since each is scored by twenty forward passes of a real model."""
    [script] = [one for one in entry_points(group="console_scripts") if one.name == "xai"]
    program = f"""
from {script.module} import {script.attr}
from xai_core.cli.actions import demonstration
demonstration.list_explainers = lambda: ["cam", "conceptor-cam", "grad-cam", "score-cam"]
{script.attr}()
"""
    command = [sys.executable, "-c", program, "demo", "--data", "photos:coffee"]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # other tests run beside it
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert run.returncode == 0, run.stderr
    with Path("xai-demo/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["image"], row["target_name"]) for row in rows} == {("coffee", "espresso")}
    methods = {row["method"] for row in rows}
    assert methods == {"cam", "conceptor-cam", "grad-cam"}
    assert len(rows) == len(methods) * 2
    coffee = {row["metric"]: float(row["score"]) for row in rows if row["method"] == "cam"}
    assert coffee["deletion"] < 0.4 < 0.7 < coffee["insertion"]
    page = Path("xai-demo/index.html").read_text()
    assert "needs 1281 forward passes per image" in page
    assert page.count('src="data:image/webp;base64,') == 1 + len(methods)
    assert Path("xai-demo/coffee.curves.png").exists()
    assert "efficientnet-lite0 on photos:coffee" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 80


def test_demo_marks_constant_maps(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry().entries["explainers"], "flat", Entry("flat", Flat, TEST))
    demonstrate(monkeypatch, "flat", "grad-cam")
    assert demo(photos, "--limit", 1).code == 0
    assert "<small>constant map</small>" in Path("xai-demo/index.html").read_text()
