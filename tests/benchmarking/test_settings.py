"""Settings: rejected values, protocols, seeds, and the names of methods and metrics."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.benchmark_runs import (
    TWO,
    Breaking,
    Brightness,
    Counted,
    Speckles,
    Tuned,
    loaded,
    prepared,
    run,
)
from support.paths import ROOT
from xai_core.benchmarking.protocols import PROTOCOLS
from xai_core.errors import (
    DatasetError,
    InputTypeError,
    OptionError,
    UnknownMetricError,
    UnknownOptionError,
)
from xai_core.perturb import BLUR_SIGMA, BLUR_SIZE
from xai_faithfulness.road import NOISE


def test_seeds_reach_what_takes_one(tmp_path: Path) -> None:
    found = run(tmp_path / "run", methods=["ss-cam:n=2", "grad-cam"], metrics=["deletion:steps=2,seed=3", *TWO], seed=7)
    assert found.manifest.models[0].methods == ("ss-cam:n=2,seed=7", "grad-cam")
    assert [*found.manifest.metrics] == [
        "deletion:steps=2,seed=3",
        "deletion:steps=4,seed=7",
        "insertion:steps=4,seed=7",
    ]


def test_a_protocol_gives_metrics_and_target(tmp_path: Path) -> None:
    found = run(tmp_path / "run", Speckles(2, size=16), protocol="rise", metrics=Brightness())
    assert [*found.manifest.metrics] == ["deletion", "insertion", "brightness"]
    assert found.manifest.protocol == "rise"
    with pytest.raises(OptionError, match="explains the predicted class, not the label"):
        run(tmp_path / "other", protocol="rise", target="label")
    with pytest.raises(OptionError, match="there is no protocol 'rice'; did you mean 'rise'"):
        run(tmp_path / "other", protocol="rice")


def choices(metric: Any, score: xai.MetricResult) -> tuple[str, ...]:
    """What the table of protocols says of a metric: its options, and what its curve shows of it."""
    masked = "image times map, normalized"
    if hasattr(metric, "mute"):
        muted = f"{100 * metric.mute:g} % of the pixels are masked" if metric.mute else "no pixels are masked"
        normalizer = "score of the image" if metric.name == "average-drop" else "none"
        return "probability", masked, "-", muted, "-", normalizer, "stable" if metric.mute else "-"
    if score.curve is None or score.fractions is None:
        assert not inspect.signature(type(metric)).parameters, f"the table says nothing of the options of {metric.name}"
        return {
            "coherency": ("none", masked, "-", "-", "-", "(1 + r) / 2", "-"),
            "complexity": ("none", "-", "-", "-", "-", "-", "-"),
            "adcc": ("probability", masked, "-", "-", "-", "harmonic mean", "-"),
        }[metric.name]
    means = {"points": score.curve.mean(1), "steps": torch.trapezoid(score.curve) / (score.curve.shape[1] - 1)}
    apart = {normalizer: (score.values - mean).abs().max() for normalizer, mean in means.items()}
    normalizer = min(apart, key=lambda name: apart[name])
    assert apart[normalizer] < 1e-6
    ends = "both" if (score.fractions[0].item(), score.fractions[-1].item()) == (0, 1) else "none"
    if hasattr(metric, "percentages"):
        baseline, blur = f"neighbors, noise {NOISE}", "-"
        step = f"{'+'.join(map(str, metric.percentages))} %, {metric.order}"
    else:
        baseline = metric.baseline or metric.protocol_baseline
        blur = f"{BLUR_SIZE}x{BLUR_SIZE}, sigma {BLUR_SIGMA:g}" if baseline == "blur" else "-"
        step = "W pixels" if metric.steps is None else f"1/{metric.steps} of the pixels"
        assert score.curve.shape[1] - 1 == (metric.steps or 32)
    return metric.score, f"{baseline}, normalized", blur, step, ends, normalizer, metric.ties


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_name_what_is_installed(name: str) -> None:
    page = (ROOT / "docs" / "benchmark.md").read_text()
    protocol = PROTOCOLS[name]
    engine, images = xai.Engine(Counted()), Speckles()[0].image[None]
    assert isinstance(images, Tensor)
    metrics = {spec: xai.create_metric(spec) for spec in protocol.metrics}
    [scores] = engine.evaluate(images, engine.explain(images, ["grad-cam"]), [*metrics.values()]).values()
    said = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    for line, (spec, metric), score in zip(said, metrics.items(), scores.values(), strict=True):
        cells = (f"`{name}`", f"`{spec}`", protocol.target, *choices(metric, score), protocol.source)
        assert line == f"| {' | '.join(cells)} |"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"metrics": ()}, OptionError, "no metrics to benchmark"),
        ({"methods": ()}, OptionError, "no methods"),
        ({"metrics": ["deletoin"]}, UnknownMetricError, "did you mean 'deletion'"),
        ({"precision": "fp8"}, OptionError, "precision='fp8' is not one of fp32, bf16, fp16"),
        ({"target": "truth"}, OptionError, "target='truth'"),
        ({"batch": 0}, OptionError, "batch=0 is out of range"),
        ({"limit": 0}, OptionError, "limit=0 is out of range"),
        ({"limit": True}, OptionError, "limit=True is out of range"),
        ({"workers": True}, OptionError, "workers=True is out of range"),
        ({"address": "head:6379"}, OptionError, "is the address of a Ray cluster; pass backend='ray' too"),
        ({"controls": "no"}, OptionError, "controls='no' is not a boolean; expected true or false"),
        ({"workers": 0}, OptionError, "workers=0"),
        ({"backend": "spark"}, OptionError, "backend='spark' is not one of local, ray"),
        ({"bach": 3}, UnknownOptionError, "no setting 'bach'; did you mean 'batch'"),
        ({"workers": "two"}, OptionError, "workers='two'"),
        ({"methods": [1]}, OptionError, "methods: expected a spec or Explainer, got int 1"),
        ({"methods": 1}, OptionError, "methods: expected a spec or Explainer, got int 1"),
        ({"models": Counted()}, OptionError, r"models: expected .*, got Counted .*LoadedModel\(model, preprocess"),
        ({"models": nn.Sequential(nn.Flatten())}, OptionError, "models: expected .*, got Sequential"),
        ({"models": [loaded(), loaded()]}, OptionError, "two models have the spec 'counted'"),
        ({"methods": [Breaking(), Breaking()]}, OptionError, "two methods or metrics have the spec 'breaking'"),
        ({"metrics": [Brightness(), Brightness()]}, OptionError, "two methods or metrics have the spec 'brightness'"),
        ({"methods": [Tuned(object())]}, OptionError, "contains a memory address"),
        ({"without": ["gradcam"]}, OptionError, "without='gradcam' is neither.*did you mean 'grad-cam'"),
        ({"metrics": "all", "without": xai.list_metrics()}, OptionError, "no metric remains"),
        ({"methods": "all", "without": xai.list_explainers(), "controls": True}, OptionError, "no method remains"),
        ({"device": "gpu"}, OptionError, "device='gpu' cannot be used .*; expected a PyTorch device"),
        ({"device": "meta"}, OptionError, "device='meta' cannot be used .*; expected a PyTorch device"),
        ({"device": []}, OptionError, r"device=\[\] has the type list; expected a string"),
        ({"protocol": 3}, OptionError, "protocol=3 has the type int; expected a string"),
        ({"protocol": ["rise"]}, OptionError, r"protocol=\['rise'\] has the type list; expected a string"),
        ({"limit": "3"}, OptionError, "limit='3' is out of range; expected an integer of at least 1"),
        ({"data": []}, DatasetError, "contains no images"),
        ({"data": np.zeros((3, 2))}, InputTypeError, "ndarray of float64 .* is not a dataset"),
        ({"out": ""}, OptionError, "out='' is not a path"),
        ({"device": "cuda:99"}, OptionError, "device='cuda:99' cannot be used"),
        ({"data": Speckles(0)}, DatasetError, "contains no images"),
        ({"data": Speckles(2, broken=(0, 1))}, DatasetError, r"speckle-0\.png is truncated"),
    ],
)
def test_bad_settings_are_one_error_before_anything_is_written(
    tmp_path: Path, given: Mapping[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        run(**{"out": tmp_path / "run", **given})
    assert not (tmp_path / "run").exists()


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    given = {"limit": np.int64(2), "batch": np.int32(4), "seed": np.uint8(1)}
    assert prepared(Speckles(3), **given) == prepared(Speckles(3), limit=2, batch=4, seed=1)


@pytest.mark.parametrize(("order", "higher"), [("combined", True), ("lerf", True), ("morf", False)])
def test_an_option_may_decide_the_direction(order: str, higher: bool) -> None:
    spec = f"road:order={order},percentages=50"
    assert [*prepared(metrics=(spec,)).metrics.values()] == [higher]


def test_names_that_are_given_twice_are_one() -> None:
    model = loaded()
    manifest = prepared(models=(model, model), methods=("grad-cam", "grad-cam"), metrics=("deletion", "deletion"))
    [subject] = manifest.models
    assert subject.methods == ("grad-cam", "random", "center", "edges")
    assert [*manifest.metrics] == ["deletion"]


def test_seeds_reach_what_a_method_is_made_of() -> None:
    [subject] = prepared(methods=("smoothed(ss-cam:n=2):flip=false",), controls=False, seed=7).models
    assert subject.methods == ("smoothed(ss-cam:n=2,seed=7):flip=false",)
