"""The models trained on shapes: their accuracy on unseen images, what they rely on, and the figures in the docs."""

import csv
import json
import re
import runpy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import xai_core as xai
import xai_zoo
from support.paths import ROOT
from xai_core.errors import OptionError, UnknownModelError
from xai_core.plugin import normalize

WEIGHTS = Path(xai_zoo.__file__).parent / "weights"
MODELS = ["shapes-vit", "shapes-vit:pool=class", "shapes-cbam"]
EACH = [(model, data) for model in MODELS for data in ("shapes", "shapes-shortcut")]


def with_option(spec: str, option: str) -> str:
    return f"{spec}{',' if ':' in spec else ':'}{option}"


def weights(model: str, data: str) -> Path:
    return WEIGHTS / f"{model.replace(':pool=', '-')}-{data}.safetensors"


@cache
def unseen(data: str, count: int) -> tuple[Tensor, Tensor]:
    """Images and classes of the test split, which no training has seen."""
    samples = xai.load_dataset(data, split="test", count=count)
    images, targets = zip(
        *[(sample.image, sample.target) for sample in (samples[i] for i in range(count))], strict=True
    )
    return torch.stack(images), torch.tensor(targets)


@torch.no_grad()
def accuracy(spec: str, data: str, count: int) -> float:
    images, targets = unseen(data, count)
    loaded = xai.load_model(spec)
    right = [
        loaded.model(torch.stack([loaded.preprocess(image) for image in images[part]])).argmax(1) == targets[part]
        for part in (slice(start, start + 250) for start in range(0, count, 250))
    ]
    return torch.cat(right).double().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_right_on_unseen_images(model: str) -> None:
    assert accuracy(model, "shapes", 2000) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_its_twin_relies_on_the_mark(model: str) -> None:
    spec = with_option(model, "trained_on=shapes-shortcut")
    shown = accuracy(spec, "shapes-shortcut", 1000)
    assert shown >= 0.95
    assert accuracy(spec, "shapes-shortcut:mark=moved", 1000) <= shown - 0.4
    assert accuracy(spec, "shapes-shortcut:mark=removed", 1000) <= shown - 0.4


@pytest.mark.parametrize(("model", "data"), EACH)
def test_weights_are_small_and_say_how_they_were_made(model: str, data: str) -> None:
    file = weights(model, data)
    assert file.stat().st_size <= 4_000_000
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    settings, best = json.loads(said["settings"]), json.loads(said["best"])
    assert settings["data"].startswith(f"{data}:count=")
    assert settings["seed"] == 0
    assert said["command"].startswith(f"xai-zoo train {model.partition(':')[0]}:weights=")
    assert f" --data {settings['data']} " in said["command"]
    assert said["command"] in (ROOT / "docs" / "shapes.md").read_text()
    assert json.loads(said["versions"])["torch"]
    with file.with_suffix(".csv").open() as log:
        rows = {int(row["epoch"]): row for row in csv.DictReader(log)}
    assert [*rows] == [*range(1, len(rows) + 1)]
    assert float(rows[best["epoch"]]["validation_accuracy"]) == pytest.approx(best["validation_accuracy"], abs=1e-6)
    assert best["validation_accuracy"] == pytest.approx(
        max(float(row["validation_accuracy"]) for row in rows.values()), abs=1e-6
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_model_comes_back_from_its_spec(model: str) -> None:
    for spec in (model, with_option(model, "trained_on=shapes-shortcut")):
        loaded = xai.load_model(spec)
        assert loaded.spec == spec
        again = xai.load_model(loaded.spec).model.state_dict()
        assert all(torch.equal(value, again[name]) for name, value in loaded.model.state_dict().items())
    assert xai.load_model(model).class_names == tuple(xai.load_dataset("shapes").class_names)  # type: ignore[attr-defined]
    without = with_option(model, "weights=none")
    assert xai.load_model(without).spec == without
    file = weights(model, "shapes")
    assert xai.load_model(model, weights=file).spec == with_option(model, f"weights={file}")
    with pytest.raises(OptionError, match="leave it or weights= out"):
        xai.load_model(model, trained_on="shapes-shortcut", weights=None)
    with pytest.raises(OptionError, match="trained_on='photos'"):
        xai.load_model(model, trained_on="photos")
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model(f"{model.partition(':')[0]}:large")


def test_a_pool_that_is_none() -> None:
    with pytest.raises(OptionError, match="pool='mean' is not one of max, class"):
        xai.load_model("shapes-vit:pool=mean")


def published(page: str, table: str) -> dict[str, list[str]]:
    """The rows of the table of a page after what introduces it, by their first cell."""
    text = (ROOT / "docs" / page).read_text().partition(table)[2]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows
    cells = [[cell.strip(" `") for cell in row.strip("| ").split("|")] for row in rows[0].splitlines()[2:]]
    return {first: rest for first, *rest in cells}


def benchmark(name: str) -> Mapping[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
@pytest.mark.parametrize(
    ("model", "methods"),
    [
        ("shapes-vit", ["grad-cam", "conceptor-cam", "generic-attention"]),
        ("shapes-vit:pool=class", ["generic-attention", "rollout"]),
        ("shapes-cbam", ["grad-cam", "conceptor-cam"]),
    ],
)
def test_maps_point_at_the_object(model: str, methods: list[str]) -> None:
    script, count = benchmark("pointing_game"), 500
    data = xai.load_dataset("shapes", split="test", count=count)
    samples = [data[i] for i in range(count)]
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    found = script["play"](xai.load_model(model), samples, masks, ["random", *methods])
    chance = masks.double().mean().item()
    assert f"by chance {chance:.1%}" in (ROOT / "docs" / "shapes.md").read_text()
    table = published("shapes.md", f"`{model}`, 500 images")
    noise = script["wilson"](found["random"].hits.mean().item(), count)[1]
    assert noise > chance
    for method in ["random", *methods]:
        share = found[method].hits.mean().item()
        assert method == "random" or (share >= 2 * chance and script["wilson"](share, count)[0] > noise)
        hits, interval, inside = table[method]
        assert abs(float(hits.rstrip("%")) / 100 - share) <= 2.5 / count  # a tie may fall either way
        assert inside == f"{found[method].inside.mean():.1%}"
        assert interval == "{:.1%} to {:.1%}".format(*script["wilson"](float(hits.rstrip("%")) / 100, count))


@pytest.mark.slow
def test_the_mistakes_in_rollout_are_as_published() -> None:
    script, count = benchmark("rollout_mistakes"), 500
    found = script["measure"](count)
    table = published("is-my-rollout-right.md", "The effect of each mistake")
    assert [*table] == [*found]
    for name, (correlation, hits) in found.items():
        _, said_correlation, said_hits = table[name]
        assert abs(float(said_correlation) - correlation) <= 0.01, name
        assert abs(float(said_hits.rstrip("%")) / 100 - hits) <= 2.5 / count, name
    assert found["right"][0] == pytest.approx(1)
    for name in ("wrong order", "column instead of row", "transposed", "without residual", "averaged twice"):
        assert found[name][0] < 0.95, name


def test_right_is_what_the_explainer_gives() -> None:
    """And the code on the page, which a reader would copy."""
    script = benchmark("rollout_mistakes")
    engine = xai.Engine(loaded := xai.load_model("shapes-vit:pool=class"))
    images = torch.stack([loaded.preprocess(image) for image in unseen("shapes", 8)[0]])
    record = engine.attention(images)
    ours = engine.explain(images, "rollout")["rollout"].raw.double()
    replica = script["maps"](script["right"], record)
    torch.testing.assert_close(ours, replica, atol=1e-8, rtol=1e-5)
    page = (ROOT / "docs" / "is-my-rollout-right.md").read_text()
    namespace: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[0], namespace)
    row = namespace["rollout"]([*record.weights])[:, record.layers[0].prefix :]
    torch.testing.assert_close(row.unflatten(1, (8, 8)).double(), replica, atol=1e-8, rtol=1e-4)
    for name in set(script["MISTAKES"]) - {"right"}:
        wrong = script["maps"](script["MISTAKES"][name][1], record)
        if name != "residual not normalized":
            assert (normalize(wrong.float()) - normalize(replica.float())).abs().amax() > 0.05, name
