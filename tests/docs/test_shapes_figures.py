"""The figures that the pages publish of the models trained on shapes."""

import re
import runpy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import xai_core as xai
import xai_zoo
from support.paths import ROOT
from xai_core.plugin import normalize


def test_the_page_has_the_command_of_each_file_of_weights() -> None:
    page = (ROOT / "docs" / "shapes.md").read_text()
    files = sorted((Path(xai_zoo.__file__).parent / "weights").glob("shapes*.safetensors"))
    assert len(files) == 10
    for file in files:
        with safe_open(file, "pt") as opened:
            assert opened.metadata()["command"] in page


def published(page: str, table: str) -> dict[str, list[str]]:
    """The rows of the table of a page after what introduces it, by their first cell."""
    text = (ROOT / "docs" / page).read_text().partition(table)[2]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows
    cells = [[cell.strip(" `") for cell in row.strip("| ").split("|")] for row in rows[0].splitlines()[2:]]
    return {first: rest for first, *rest in cells}


def benchmark(name: str) -> Mapping[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))


@cache
def samples_of_the_test_split(count: int) -> list[xai.Sample]:
    data = xai.load_dataset("shapes", split="test", count=count)
    return [data[i] for i in range(count)]


@cache
def noise_of_the_test_split(count: int) -> Mapping[str, Any]:
    """The scores of `random`, which are the same for every model."""
    samples = samples_of_the_test_split(count)
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    return benchmark("pointing_game")["play"](xai.load_model("shapes-cbam"), samples, masks, ["random"])


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
    samples = samples_of_the_test_split(count)
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    found = {**noise_of_the_test_split(count), **script["play"](xai.load_model(model), samples, masks, methods)}
    chance = masks.double().mean().item()
    assert f"chance level {chance:.1%}" in (ROOT / "docs" / "shapes.md").read_text()
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
    assert found["correct"][0] == pytest.approx(1)
    for name in ("wrong order", "column instead of row", "transposed", "without residual", "averaged twice"):
        assert found[name][0] < 0.95, name


def test_correct_variant_equals_the_explainer() -> None:
    """And the code on the page, which a reader would copy."""
    script = benchmark("rollout_mistakes")
    engine = xai.Engine(loaded := xai.load_model("shapes-vit:pool=class"))
    images = torch.stack([loaded.preprocess(sample.image) for sample in xai.load_dataset("shapes:split=test,count=8")])
    record = engine.attention(images)
    ours = engine.explain(images, "rollout")["rollout"].raw.double()
    replica = script["maps"](script["correct"], record)
    torch.testing.assert_close(ours, replica, atol=1e-8, rtol=1e-5)
    page = (ROOT / "docs" / "is-my-rollout-right.md").read_text()
    namespace: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[0], namespace)
    row = namespace["rollout"]([*record.weights])[:, record.layers[0].elements]
    torch.testing.assert_close(row.unflatten(1, (8, 8)).double(), replica, atol=1e-8, rtol=1e-4)
    for name in set(script["MISTAKES"]) - {"correct"}:
        wrong = script["maps"](script["MISTAKES"][name][1], record)
        if name != "residual not normalized":
            assert (normalize(wrong.float()) - normalize(replica.float())).abs().amax() > 0.05, name
