"""README: its length, its figures, and its commands. `test_examples.py` runs its Python code."""

import re
import shlex
import types
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import xai_core as xai
from support.models import made, three_images
from support.paths import ROOT
from xai_core.cli import app

README = (ROOT / "README.md").read_text()
PLUGINS_PAGE = (ROOT / "docs" / "plugins" / "index.md").read_text()
RESULTS = ROOT / "benchmarks" / "results" / "amd-epyc-2-cores-torch2.15.0.md"
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("xai ")
]
MEASURED = {  # task in the README: group of benchmarks/results, with the rows of the libraries in the README's order
    "Grad-CAM, ResNet-50": ("Grad-CAM, resnet50", ["xai-core", "pytorch-grad-cam", "torchcam", "captum"]),
    "several CAM methods, ResNet-50": (
        "Nine single-pass CAMs, resnet50",
        ["xai-core, nine", "pytorch-grad-cam, eight", "torchcam, five"],
    ),
    "Score-CAM, ResNet-18": (
        "Score-CAM, resnet18",
        ["xai-core", "pytorch-grad-cam, batch 16", "torchcam, batch 32"],
    ),
    "Ablation-CAM, ResNet-18": ("Ablation-CAM, resnet18", ["xai-core", "pytorch-grad-cam, batch 32"]),
    "deletion in 84 steps, ResNet-18": (
        "Deletion, resnet18",
        ["xai-core, 84 steps", "quantus, 84 steps of 1792 features"],
    ),
}


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 120


def test_there_are_as_many_methods_and_metrics_as_it_says() -> None:
    [methods], [metrics] = (
        re.findall(r"more than (\d+) \[methods\]", README),
        re.findall(r"and (\d+) \[metrics\]", README),
    )
    assert len(xai.list_explainers()) > int(methods)
    assert len(xai.list_metrics()) > int(metrics)


@pytest.mark.parametrize("task", MEASURED)
def test_the_times_in_the_comparison_are_measured(task: str) -> None:
    group, contenders = MEASURED[task]
    [section] = re.findall(
        rf"^## {re.escape(group)},[^\n]*\n(.*?)(?=^## |\Z)", RESULTS.read_text(), re.DOTALL | re.MULTILINE
    )
    ratios = [re.search(rf"^\| {re.escape(name)} \|.*\| ([\d.]+) \|$", section, re.MULTILINE) for name in contenders]
    [row] = re.findall(rf"^\| {re.escape(task)} \|(.*)\|$", README, re.MULTILINE)
    shown = re.findall(r"\d+(?:\.\d+)?", row)
    assert shown == [
        f"{float(ratio[1]):.{len(text.partition('.')[2])}f}" for ratio, text in zip(ratios, shown, strict=True) if ratio
    ]


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fewer images than in the README, one after the other in an empty folder with a photo."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xai_core.cli.actions.demonstration.MOST_PIXELS", 40 * 64 * 64)  # 40 forward passes of a method
    Image.new("RGB", (64, 48), "teal").save("photo.jpg")
    assert [words[1] for words in COMMANDS] == ["demo", "explain", "list", "benchmark", "report"]
    fewer = {"demo": ["--limit", "1", "--model", "shapes-cbam", "--data", "shapes"], "benchmark": ["--limit", "2"]}
    for words in COMMANDS:
        result = CliRunner().invoke(app, [*words[1:], *fewer.get(words[1], [])])
        assert result.exit_code == 0, f"{shlex.join(words)}: {result.output}"


def test_the_plugin_of_the_plugins_page_works() -> None:
    module = types.ModuleType("plugin")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", PLUGINS_PAGE, re.DOTALL) if "hookimpl" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    exec(code, vars(module))
    maps = xai.Engine(made("cnn"), plugins=module).explain(three_images(), "mean-activation")
    assert maps["mean-activation"].values.shape == (3, 32, 32)
