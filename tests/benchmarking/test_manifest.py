"""The manifest records what the scores depend on, and a run with another manifest is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import xai_core as xai
from support.benchmark_runs import (
    TWO,
    Brightness,
    Counted,
    Speckles,
    loaded,
    prepared,
    run,
)
from xai_core.benchmarking import resolve as resolve_module
from xai_core.benchmarking.fingerprint import code_hash
from xai_core.benchmarking.hashes import weights_hash
from xai_core.benchmarking.manifest import Manifest
from xai_core.errors import CheckpointError, FileError
from xai_core.plugin import Evaluation


def test_a_metric_whose_code_has_changed_is_another(tmp_path: Path) -> None:
    class Rewritten(Brightness):
        """Brightness in per cent."""

        def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
            return xai.MetricResult(100 * saliency.values.mean((1, 2)))

    class Moved(Brightness):
        """The same, elsewhere."""

        def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
            return xai.MetricResult(saliency.values.mean((1, 2)))

    class Again(Brightness):
        """The same once more."""

        def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
            return xai.MetricResult(saliency.values.mean((1, 2)))  # on another line

    run(tmp_path / "run", metrics=Brightness())
    with pytest.raises(FileError, match=r"another manifest \(code\.brightness: "):
        run(tmp_path / "run", metrics=Rewritten())
    assert code_hash(Moved()) == code_hash(Again())
    assert code_hash(Moved()) != code_hash(Rewritten())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch": 2}, "batch: 4, now 2"),
        ({"seed": 1}, "seed: 0, now 1"),
        ({"metrics": ["deletion:steps=5"]}, r"metrics\[0\]\.metric: deletion:steps=4, now deletion:steps=5"),
        ({"metrics": [*reversed(TWO)]}, r"metrics\[0\]\.metric: deletion:steps=4, now insertion:steps=4"),
        ({"data": Speckles(9)}, "images: 10, now 9"),
        ({"data": Speckles(10, seed=1)}, "data_content: [0-9a-f]{64}, now [0-9a-f]{64}"),
        ({"methods": ["grad-cam"]}, "methods: grad-cam, eigen-cam, now grad-cam"),
        ({"target": "label"}, "target: predicted, now label"),
    ],
)
def test_another_manifest_is_refused_with_the_difference(tmp_path: Path, changed: Mapping[str, Any], said: str) -> None:
    run(tmp_path / "run", Speckles(10))
    with pytest.raises(FileError, match=rf"another manifest \(.*{said}"):
        run(tmp_path / "run", **{"data": Speckles(10), **changed})


def test_other_weights_are_another_manifest(tmp_path: Path) -> None:
    run(tmp_path / "run")
    model = Counted()
    with torch.no_grad():
        model.cnn.head.bias[0] += 1e-3
    with pytest.raises(FileError, match=r"models\[0\]\.weights"):
        run(tmp_path / "run", model=model)


def test_weights_are_named_by_content_and_names() -> None:
    model = Counted()
    name = weights_hash(model)
    assert weights_hash(Counted()) == name
    assert weights_hash(Counted().bfloat16()) != name
    assert weights_hash(model.cnn) != name
    with torch.no_grad():
        model.cnn.stem[1].running_mean[0] += 1
    assert weights_hash(model) != name


def test_the_manifest_says_what_the_numbers_depend_on(tmp_path: Path) -> None:
    found = run(tmp_path / "run")
    said = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert said["models"][0]["weights"] == weights_hash(Counted())
    computes = {"xai-core", "torch", "torchvision", "timm", "pillow", "numpy", "scipy", "xai-cam", "xai-faithfulness"}
    assert computes | {"captum", "scikit-image"} <= {*said["versions"]}  # which plugins require
    assert not {"rich", "typer", "pytest"} & {*said["versions"]}
    assert said["metrics"] == [
        {"metric": "deletion:steps=4", "higher_is_better": False},
        {"metric": "insertion:steps=4", "higher_is_better": True},
    ]
    assert (said["device"], said["precision"], said["images"]) == ("cpu", "fp32", 10)
    assert xai.Run.read(tmp_path / "run").manifest.hash == found.manifest.hash
    assert len(found.manifest.hash) == 64


def test_a_manifest_without_a_setting_is_of_another_version(tmp_path: Path) -> None:
    written = run(tmp_path / "run").manifest
    assert Manifest.of_json(written.json()) == written
    content = {name: value for name, value in json.loads(written.json()).items() if name != "time_limit"}
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match=r"is not a manifest of this xai-core version .*time_limit"):
        xai.Run.read(tmp_path / "run")


def test_a_photo_that_joins_a_folder_is_another_manifest(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("b", "c"):
        Image.new("RGB", (8, 8)).save(photos / f"{name}.png")
    spec = f"folder:{photos}"
    before = prepared(spec, methods=("grad-cam",), limit=2)
    Image.new("RGB", (8, 8)).save(photos / "d.png")
    assert prepared(spec, methods=("grad-cam",), limit=2) == before
    Image.new("RGB", (8, 8)).save(photos / "a.png")
    [difference] = before.differences(prepared(spec, methods=("grad-cam",), limit=2))
    assert difference.startswith("data_content: ")


def test_weights_that_are_random_at_each_load_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(spec: str) -> xai.LoadedModel:
        model = Counted()
        torch.seed()
        nn.init.uniform_(model.cnn.head.weight)
        return loaded(model)

    monkeypatch.setattr(resolve_module, "load_model", load)
    with pytest.raises(CheckpointError, match=r"the weights of zoo:net differ.*each load draws random weights"):
        run(tmp_path / "run", models="zoo:net")
