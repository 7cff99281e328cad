"""The benchmark: every number is that of the engine, computed once, and what fails costs its own rows."""

import inspect
import json
import pickle
import sys
import threading
import time
import types
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

import xai_core as xai
from support import subprocesses as fresh
from support.benchmark_runs import (
    TWO,
    Breaking,
    Brightness,
    Counted,
    Crowded,
    Inside,
    Picky,
    Refusing,
    Speckles,
    StopError,
    Tuned,
    by_key,
    loaded,
    prepared,
    run,
    same,
)
from support.paths import ROOT
from xai_core.benchmarking import on_ray
from xai_core.benchmarking import resolve as preparation
from xai_core.benchmarking.fingerprint import code_hash
from xai_core.benchmarking.manifest import Manifest, weights_hash
from xai_core.benchmarking.protocols import PROTOCOLS
from xai_core.benchmarking.store import Part
from xai_core.benchmarking.summary import summarize
from xai_core.cli import app
from xai_core.errors import (
    CheckpointError,
    DatasetError,
    DeviceError,
    FileError,
    InputTypeError,
    OptionError,
    OutOfMemoryWarning,
    UnknownMetricError,
)
from xai_core.perturb import BLUR_SIGMA, BLUR_SIZE
from xai_core.plugin import Evaluation
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry
from xai_faithfulness.road import NOISE


def test_rows_are_what_the_engine_gives(tmp_path: Path) -> None:
    found = run(tmp_path / "run")
    rows = by_key(found.rows())
    assert len(rows) == 10 * 2 * 2
    engine, data = xai.Engine(Counted()), Speckles()
    for batch in ((0, 1, 2, 3), (4, 5), (6, 7, 8, 9)):  # shards of 6, batches of 4
        images = torch.stack([data[i].image for i in batch])
        maps = engine.explain(images, ["grad-cam", "eigen-cam"])
        for method, scores in engine.evaluate(images, maps, TWO).items():
            for metric, score in scores.items():
                for place, index in enumerate(batch):
                    row = rows[f"speckle-{index}", method, metric]
                    assert row["score"] == score.values[place].item()
                    assert row["target"] == maps[method].target.ids[place].item()
                    assert (row["index"], row["label"], row["model"]) == (index, index % 5, "counted")
                    assert (row["error"], row["flat"], row["forward_passes"]) == (None, False, 1)
                    assert row["seconds"] > 0
    [one, *_] = [
        row for path in sorted((found.path / "curves").iterdir()) for row in pa.parquet.read_table(path).to_pylist()
    ]
    assert (one["image"], one["method"], one["metric"], len(one["scores"])) == ("speckle-0", "grad-cam", TWO[0], 5)
    assert np.trapezoid(one["scores"], one["fractions"]) == pytest.approx(
        rows["speckle-0", "grad-cam", TWO[0]]["score"]
    )


def test_one_capture_serves_all_methods_of_a_batch(tmp_path: Path) -> None:
    model = Counted()
    run(
        tmp_path / "run", model=model, methods=["grad-cam", "hires-cam", "eigen-cam", "layer-cam"], metrics=Brightness()
    )
    passes = [count for count in model.forward_passes if count > 1]
    assert passes == [4, 2, 4]
    assert sum(count == 1 for count in model.forward_passes) <= 2  # probes: of what suits, and of the work


def test_floors_are_there_unless_told(tmp_path: Path) -> None:
    found = run(tmp_path / "run", metrics=Brightness(), controls=True)
    assert found.manifest.subjects[0].methods == ("grad-cam", "eigen-cam", "random", "center", "edges")
    fewer = run(tmp_path / "fewer", metrics=Brightness(), controls=True, without=["edges"])
    assert fewer.manifest.subjects[0].methods == ("grad-cam", "eigen-cam", "random", "center")


def test_all_is_what_suits_and_the_rest_is_left_out_with_its_reason(tmp_path: Path) -> None:
    found = run(
        tmp_path / "run", Speckles(2), methods="all", without=["ss-cam", "is-cam", "rise"], metrics=Brightness()
    )
    [subject] = found.manifest.subjects
    assert {"grad-cam", "score-cam"} <= {*subject.methods}
    assert not {"rollout", "ss-cam", "smoothed", "random"} & {*subject.methods}
    assert "smoothed(" in subject.left_out["smoothed"]
    assert {"rollout", "head-attention"} <= {*subject.left_out}
    assert not any(row["error"] for row in found.rows().to_pylist())


def test_what_is_finished_is_not_computed_again(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "undisturbed")
    calls: list[int] = []

    def stop(going: xai.Run, part: Part | None) -> None:
        calls.append(len(going.missing))
        if part is not None:
            raise StopError

    with pytest.raises(StopError):
        run(tmp_path / "run", progress=stop)
    model = Counted()
    resumed = run(tmp_path / "run", model=model, progress=lambda going, part: calls.append(len(going.missing)))
    assert calls == [2, 1, 1, 0]
    assert same(resumed, undisturbed)
    # Four images are left: the probe, the pass, the ends of the curves (image, zero; blurred), which methods share, and
    # three points between for each method and metric.
    assert sorted(model.forward_passes) == [1, 4, *(3 * [4]), *(2 * 2 * [3 * 4])]
    model.forward_passes = []
    run(tmp_path / "run", model=model)
    assert model.forward_passes == []


def test_a_reader_sees_an_unfinished_run(tmp_path: Path) -> None:
    def stop(going: xai.Run, part: Part | None) -> None:
        if part is not None:
            raise StopError

    with pytest.raises(StopError):
        run(tmp_path / "run", progress=stop)
    summary = summarize(xai.Run.read(tmp_path / "run"))
    assert (summary.finished, summary.images) == (6, 10)
    assert {comparison.images for comparison in summary.comparisons} == {6}


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
    with pytest.raises(FileError, match=r"another manifest: code\.brightness: "):
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
    with pytest.raises(FileError, match=f"another manifest: .*{said}"):
        run(tmp_path / "run", **{"data": Speckles(10), **changed})


def test_other_weights_are_another_manifest(tmp_path: Path) -> None:
    run(tmp_path / "run")
    model = Counted()
    with torch.no_grad():
        model.cnn.head.bias[0] += 1e-3
    with pytest.raises(FileError, match=r"subjects\[0\]\.weights"):
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


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match=r"thesis\.tex"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    def second(going: xai.Run, part: Part | None) -> None:
        said.append(
            fresh.printed(
                f"""
                from pathlib import Path
                from support.benchmark_runs import run
                try:
                    run(Path({str(tmp_path / "run")!r}))
                except Exception as error:
                    print(f"{{type(error).__name__}}: {{error}}")
                """.replace("\n                ", "\n"),
                *sys.path,
            )
        )

    said: list[str] = []
    run(tmp_path / "run", Speckles(2), shard=2, progress=second)
    assert len(said) == 2
    assert all(one.startswith("FileError: another process is at work on") for one in said)


def test_a_method_that_fails_costs_its_own_rows(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    mixed = run(tmp_path / "mixed", methods=["grad-cam", Breaking(), "eigen-cam"])
    rows = by_key(mixed.rows())
    for key, row in whole.items():
        assert rows[key]["score"] == row["score"]
    data = Speckles()
    bright = {f"speckle-{i}" for i in range(10) if data[i].image[0, 0, 0] > 0.8}  # type: ignore[index]
    assert 0 < len(bright) < 10
    for (image, method, _), row in rows.items():
        failed = method == "breaking" and image in bright
        assert row["error"] == (
            "RuntimeError: too bright to explain (raised by explainer 'breaking')" if failed else None
        )
        assert (row["score"] is None) == failed
    assert summarize(mixed).errors == {
        "RuntimeError: too bright to explain (raised by explainer 'breaking')": 2 * len(bright)
    }
    [deletion, _] = summarize(mixed).comparisons
    assert deletion.images == 10 - len(bright)
    assert {one.method: one.failed for one in deletion.standings}["breaking"] == len(bright)


def test_a_metric_that_fails_costs_its_own_rows(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", metrics=[Picky(), Brightness()]).rows())
    assert all(row["error"] is None for row in rows.values())
    for (image, method, _), row in rows.items():
        assert row["score"] == pytest.approx(rows[image, method, "brightness"]["score"], abs=1e-6)


def test_images_that_cannot_be_read_or_explained_cost_their_own_rows(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    rows = by_key(run(tmp_path / "run", Speckles(broken=(0, 7), nan=(2,))).rows())
    assert len(rows) == len(whole)
    for (image, method, metric), row in rows.items():
        if image in ("0", "7"):
            number = row["index"]
            assert row["error"] == f"ImageFileError: speckle-{number}.png is truncated"
        elif image == "speckle-2":
            assert row["error"].startswith("NonFiniteInputError: the image holds NaN or infinity")
        else:
            assert row["score"] == pytest.approx(whole[image, method, metric]["score"], abs=1e-6)


def test_a_method_that_does_not_suit_is_rows_with_the_reason(tmp_path: Path) -> None:
    found = run(tmp_path / "run", methods=["grad-cam", "rollout"])
    rows = by_key(found.rows())
    assert {row["error"] is None for key, row in rows.items() if key[1] == "grad-cam"} == {True}
    assert all("Error: " in row["error"] for key, row in rows.items() if key[1] == "rollout")
    [deletion, _] = summarize(found).comparisons
    assert {*deletion.absent} == {"rollout"}
    assert deletion.images == 10


def test_images_of_several_sizes(tmp_path: Path) -> None:
    data = Speckles(sizes=((1, 48), (8, 40)))
    rows = by_key(run(tmp_path / "run", data).rows())
    assert all(row["error"] is None for row in rows.values())
    engine = xai.Engine(Counted())
    image = data[1].image[None]  # type: ignore[index]
    alone = engine.evaluate(image, engine.explain(image, "grad-cam"), TWO[0])["grad-cam"][TWO[0]]
    assert rows["speckle-1", "grad-cam", TWO[0]]["score"] == pytest.approx(alone.values.item(), abs=1e-6)


def test_the_label_is_explained_where_asked(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", Speckles(unlabeled=(3,)), target="label").rows())
    for (image, *_), row in rows.items():
        if image == "speckle-3":
            assert row["error"] == "TargetError: the image has no label, which target=label explains"
        else:
            assert row["target"] == row["label"] == row["index"] % 5


def test_the_truth_is_asked_for_where_it_is_known(tmp_path: Path) -> None:
    data = Speckles(masked=(0, 1, 5))
    rows = by_key(run(tmp_path / "run", data, metrics=[Inside(), Brightness()]).rows())
    for (image, _, metric), row in rows.items():
        known = metric == "brightness" or image in ("speckle-0", "speckle-1", "speckle-5")
        assert (row["error"] is None) == known
        assert known or row["error"].startswith(f"NoGroundTruthError: {image} has neither a mask nor boxes")


def test_out_of_memory_halves_the_batch_goes_on_and_says_so(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    model = Crowded()
    found = run(tmp_path / "run", model=model)
    rows = by_key(found.rows())
    assert all(row["score"] == pytest.approx(whole[key]["score"], abs=1e-6) for key, row in rows.items())
    perturbed = [
        f"out of memory: perturbed images are scored {some}" for some in ("3 at once, not 6", "1 at once, not 3")
    ]
    assert found.notes() == ["out of memory: counted goes on with 2 images at once, not 4", *perturbed]
    assert summarize(found).notes == found.notes()


def test_maps_are_written_where_asked(tmp_path: Path) -> None:
    found = run(tmp_path / "run", maps=True, metrics=Brightness())
    files = sorted((found.path / "maps").iterdir())
    maps = {key: value for file in files for key, value in np.load(file).items()}
    assert len(maps) == 20
    rows = by_key(found.rows())
    for key, values in maps.items():
        index, _, method = key.partition(":")
        assert values.shape == (32, 32)
        assert values.astype(float).mean() == pytest.approx(
            rows[f"speckle-{index}", method, "brightness"]["score"], abs=1e-3
        )


def test_maps_that_nothing_can_score_are_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savez(file: Any, **arrays: Any) -> None:
        """As of NumPy before 2.2, for which every keyword is an array."""
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
        np.savez(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", savez)
    found = run(tmp_path / "run", Speckles(3, broken=(1,)), maps=True, metrics=Refusing(), methods="grad-cam")
    [file] = (found.path / "maps").iterdir()
    assert [*np.load(file)] == ["0:grad-cam", "2:grad-cam"]
    assert found.rows()["error"].null_count == 0


def test_seeds_reach_what_takes_one(tmp_path: Path) -> None:
    found = run(tmp_path / "run", methods=["ss-cam:n=2", "grad-cam"], metrics=["deletion:steps=2,seed=3", *TWO], seed=7)
    assert found.manifest.subjects[0].methods == ("ss-cam:n=2,seed=7", "grad-cam")
    assert [*found.manifest.metrics] == [
        "deletion:steps=2,seed=3",
        "deletion:steps=4,seed=7",
        "insertion:steps=4,seed=7",
    ]


def test_half_precision_is_of_the_model_alone(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    half = by_key(run(tmp_path / "half", precision="bf16").rows())
    differences = [abs(row["score"] - whole[key]["score"]) for key, row in half.items()]
    assert all(row["error"] is None for row in half.values())
    assert 0 < max(differences) < 0.1


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
        muted = f"{metric.mute:g} of the pixels muted" if metric.mute else "none muted"
        normalizer = "the image's" if metric.name == "average-drop" else "none"
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


def test_the_manifest_says_what_the_numbers_depend_on(tmp_path: Path) -> None:
    found = run(tmp_path / "run")
    said = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert said["subjects"][0]["weights"] == weights_hash(Counted())
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


def test_a_manifest_of_before_there_was_a_time_limit_is_read(tmp_path: Path) -> None:
    written = run(tmp_path / "run").manifest
    said = {name: value for name, value in json.loads(written.json()).items() if name != "time_limit"}
    assert Manifest.of_json(json.dumps(said)) == written


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"metrics": ()}, OptionError, "no metrics to score with"),
        ({"methods": ()}, OptionError, "no methods"),
        ({"metrics": ["deletoin"]}, UnknownMetricError, "did you mean 'deletion'"),
        ({"precision": "fp8"}, OptionError, "precision='fp8' is not one of fp32, bf16, fp16"),
        ({"target": "truth"}, OptionError, "target='truth'"),
        ({"batch": 0}, OptionError, "batch=0 is out of range"),
        ({"limit": 0}, OptionError, "limit=0 is out of range"),
        ({"limit": True}, OptionError, "limit=True is out of range"),
        ({"workers": True}, OptionError, "workers=True is out of range"),
        ({"address": "head:6379"}, OptionError, "is of a Ray cluster; give engine='ray' too"),
        ({"controls": "no"}, OptionError, "controls='no' is neither true nor false"),
        ({"workers": 0}, OptionError, "workers=0"),
        ({"engine": "spark"}, OptionError, "engine='spark' is not one of local, ray"),
        ({"bach": 3}, OptionError, "bach"),
        ({"workers": "two"}, OptionError, "workers='two'"),
        ({"methods": [1]}, OptionError, "methods: expected a spec or Explainer, got int 1"),
        ({"methods": 1}, OptionError, "methods: expected a spec or Explainer, got int 1"),
        ({"models": Counted()}, OptionError, r"models: expected .*, got Counted .*LoadedModel\(model, preprocess"),
        ({"models": nn.Sequential(nn.Flatten())}, OptionError, "models: expected .*, got Sequential"),
        ({"models": [loaded(), loaded()]}, OptionError, "two models are called 'counted'"),
        ({"methods": [Breaking(), Breaking()]}, OptionError, "are called 'breaking'"),
        ({"metrics": [Brightness(), Brightness()]}, OptionError, "are called 'brightness'"),
        ({"methods": [Tuned(object())]}, OptionError, "its place in memory"),
        ({"without": ["gradcam"]}, OptionError, "without='gradcam' is neither.*did you mean 'grad-cam'"),
        ({"metrics": "all", "without": xai.list_metrics()}, OptionError, "no metric is left"),
        ({"methods": "all", "without": xai.list_explainers(), "controls": True}, OptionError, "no method is left"),
        ({"device": "gpu"}, OptionError, "device='gpu' cannot be used .*; expected such as cpu or cuda"),
        ({"device": "meta"}, OptionError, "device='meta' cannot be used .*; expected such as cpu or cuda"),
        ({"device": []}, OptionError, r"device=\[\] is no text; expected such as 'cuda'"),
        ({"protocol": 3}, OptionError, "protocol=3 is no text; expected such as 'rise'"),
        ({"protocol": ["rise"]}, OptionError, r"protocol=\['rise'\] is no text"),
        ({"limit": "3"}, OptionError, "limit='3' is out of range; expected a whole number"),
        ({"data": []}, DatasetError, "no image"),
        ({"data": np.zeros((3, 2))}, InputTypeError, "ndarray of float64 .* is not a dataset"),
        ({"out": ""}, OptionError, "out='' is no path"),
        ({"device": "cuda:99"}, OptionError, "device='cuda:99' cannot be used"),
        ({"data": Speckles(0)}, DatasetError, "no image"),
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


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no run"):
        xai.Run.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(FileError, match="is not a manifest"):
        xai.Run.read(tmp_path)


@pytest.mark.parametrize(("order", "higher"), [("combined", True), ("lerf", True), ("morf", False)])
def test_an_option_may_decide_the_direction(order: str, higher: bool) -> None:
    spec = f"road:order={order},percentages=50"
    assert [*prepared(metrics=(spec,)).metrics.values()] == [higher]


def test_names_that_are_given_twice_are_one() -> None:
    model = loaded()
    manifest = prepared(models=(model, model), methods=("grad-cam", "grad-cam"), metrics=("deletion", "deletion"))
    [subject] = manifest.subjects
    assert subject.methods == ("grad-cam", "random", "center", "edges")
    assert [*manifest.metrics] == ["deletion"]


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


@dataclass(frozen=True)
class Odd:
    """Samples that break what a sample promises, each in its own way, between two that do not."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int, /) -> xai.Sample:
        image, mask = Speckles()[index].image, torch.ones(32, 32, dtype=torch.bool)
        odd: dict[int, dict[str, Any]] = {
            1: {"mask": mask.numpy()},
            2: {"boxes": [[0, 0, 9, 9]]},
            3: {"target": "cat", "mask": mask},
            4: {"image": torch.zeros(0), "mask": mask},
        }
        return xai.Sample(**{"image": image, "id": index, **odd.get(index, {"mask": mask})})


def test_samples_that_break_their_promise_cost_their_own_rows(tmp_path: Path) -> None:
    def preprocess(image: Any) -> Any:
        return image if image.numel() else None

    model = xai.LoadedModel(Counted(), preprocess, restore=lambda image: image, spec="counted")
    rows = by_key(
        run(tmp_path / "run", Odd(), models=model, methods="grad-cam", metrics=[Brightness(), Inside()]).rows()
    )
    errors = {(image, metric): row["error"] for (image, _, metric), row in rows.items()}
    assert all(errors[image, metric] is None for image in "05" for metric in ("brightness", "inside"))
    assert all(errors[image, "brightness"] is None and "Error: " in errors[image, "inside"] for image in "12")
    assert errors["3", "brightness"].startswith("TypeError: 'str' object cannot be interpreted as an integer")
    assert errors["4", "inside"] == "PluginContractError: preprocess gave a NoneType; expected a tensor [C,h,w]"


class Crooked(Brightness):
    """Gives a curve of the wrong shape."""

    name = "crooked"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(saliency.values.mean((1, 2)), torch.zeros(1, 4), torch.zeros(5))


def test_a_curve_of_the_wrong_shape_costs_its_own_rows(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", Speckles(2), metrics=[Crooked(), Brightness()]).rows())
    for (_, _, metric), row in rows.items():
        assert (row["error"] is None) == (metric == "brightness")
        assert metric == "brightness" or "must return a curve [B,S] with fractions [S]" in row["error"]


class Fussy(Breaking):
    """Cannot be made without being told."""

    name = "fussy"

    def __init__(self, how: str) -> None:
        self.how = how


class Faulty(Breaking):
    """Looks for what no model has."""

    name = "faulty"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        raise KeyError("layer9")


class Unmade(Brightness):
    """Cannot be made without being told."""

    name = "unmade"

    def __init__(self, how: str) -> None:
        self.how = how


def test_all_leaves_out_what_cannot_be_made_or_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    [plugin, *_] = registry().plugins
    for kind, made_by in (("explainers", Fussy), ("explainers", Faulty), ("metrics", Unmade)):
        monkeypatch.setitem(registry().entries[kind], made_by.name, Entry(made_by.name, made_by, plugin))
    manifest = prepared(Speckles(3, nan=(0,)), methods=("all",), metrics=("all",))
    [subject] = manifest.subjects
    assert {"grad-cam", "score-cam"} <= {*subject.methods}
    assert "missing a required argument: 'how'" in subject.left_out["fussy"]
    assert subject.left_out["faulty"] == f"KeyError: 'layer9' (raised by explainer 'faulty' of {plugin.release})"
    assert "missing a required argument: 'how'" in manifest.left_out["unmade"]
    assert "unmade" not in prepared(metrics=("all",), methods=("grad-cam",), without=("unmade",)).left_out
    with pytest.raises(DatasetError, match="none of the first 2 images goes through counted: NonFiniteInputError"):
        prepared(Speckles(2, nan=(0, 1)), methods=("all",))


def test_what_a_kill_leaves_of_the_manifest_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.123").write_text("{")
    (tmp_path / ".lock").touch()
    run(tmp_path, Speckles(2), methods="grad-cam", metrics=Brightness())
    (tmp_path / "rows" / ".000-000000000.parquet.77").write_text("PAR")
    (tmp_path / ".notes").write_text("mine")
    (tmp_path / "rows" / ".000-000000000.parquet.mine").write_text("mine")
    run(tmp_path, Speckles(2), methods="grad-cam", metrics=Brightness())
    left = sorted(path.name for path in tmp_path.rglob(".*"))
    assert left == [".000-000000000.parquet.mine", ".lock", ".notes"]


def test_out_of_memory_is_of_its_shard_and_holds_to_what_it_says(tmp_path: Path) -> None:
    model = Crowded(most=3)
    found = run(tmp_path / "run", model=model, methods="grad-cam", metrics=Brightness(), batch=5, shard=5)
    assert found.notes() == ["out of memory: counted goes on with 2 images at once, not 5"]
    assert [count for count in model.forward_passes if count > 1] == 2 * [2, 2]  # and one more; the same for each shard


class Greedy(Brightness):
    """Runs out of memory of the CPU above two images."""

    name = "greedy"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        if len(saliency.values) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return super().evaluate(evaluation, saliency)


def test_out_of_memory_while_scoring_halves_too(tmp_path: Path) -> None:
    found = run(tmp_path / "run", Speckles(4), metrics=Greedy())
    assert found.notes() == ["out of memory: counted goes on with 2 images at once, not 4"]
    assert not summarize(found).errors


def test_perturbed_images_are_fewer_where_the_cpu_has_no_memory() -> None:
    model = Crowded(most=6, error=RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    engine, images = xai.Engine(model), torch.stack([Speckles()[index].image for index in range(4)])
    maps = engine.explain(images, "grad-cam")
    with pytest.warns(OutOfMemoryWarning, match=r"perturbed images are scored \d+ at once, not \d+"):
        scores = engine.evaluate(images, maps, TWO)["grad-cam"]
    assert scores[TWO[0]].curve is not None
    assert max(model.forward_passes) <= 6


def test_fewer_perturbed_images_are_said_of_each_shard_that_had_them(tmp_path: Path) -> None:
    model = Crowded(most=5)
    found = run(tmp_path / "run", model=model, batch=2, shard=2)
    assert not summarize(found).errors
    assert found.notes() == ["out of memory: perturbed images are scored 3 at once, not 6"]
    model.most = 1000
    assert run(tmp_path / "roomy", model=model, batch=2, shard=2).notes() == []


class Holding(Brightness):
    """Runs out of memory above one image, and sees what earlier attempts hold."""

    name = "holding"
    held: ClassVar[list[weakref.ref[Any]]] = []
    alive: ClassVar[list[int]] = []

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        large = np.zeros(10)  # in this frame, as a block of perturbed images is
        self.alive.append(sum(one() is not None for one in self.held))
        self.held.append(weakref.ref(large))
        if len(saliency.values) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory") from ValueError("of many")
        return super().evaluate(evaluation, saliency)


class Clutching(Breaking):
    """The same of an explainer."""

    name = "clutching"

    def explain(self, captured: xai.Captured) -> Tensor:
        large = np.zeros(10)
        Holding.alive.append(sum(one() is not None for one in Holding.held))
        Holding.held.append(weakref.ref(large))
        if len(captured.images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return captured.activation().mean(1)


@pytest.mark.parametrize("given", [{"metrics": Holding()}, {"metrics": Brightness(), "methods": Clutching()}])
def test_another_try_has_the_memory_of_the_one_before(tmp_path: Path, given: Mapping[str, Any]) -> None:
    Holding.held.clear()
    Holding.alive.clear()
    found = run(tmp_path / "run", Speckles(4), batch=4, **given)
    assert not summarize(found).errors
    assert len(Holding.alive) > 4
    assert {*Holding.alive} == {0}


def test_a_method_that_does_not_suit_leaves_the_pass_to_the_others(tmp_path: Path) -> None:
    model = Counted()
    methods = ["rollout", "grad-cam", "hires-cam", "eigen-cam", "layer-cam"]
    found = run(tmp_path / "run", model=model, methods=methods, metrics=Brightness())
    assert [count for count in model.forward_passes if count > 1] == [4, 2, 4]
    assert {row["method"] for row in found.rows().to_pylist() if row["error"]} == {"rollout"}


class Doomed(Brightness):
    """Its device fails."""

    name = "doomed"
    error: ClassVar[Exception | None] = RuntimeError("CUDA error: unspecified launch failure")

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        if self.error:
            raise self.error
        return super().evaluate(evaluation, saliency)


def test_a_device_that_fails_ends_the_run_with_the_shard_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        run(tmp_path / "run", metrics=Doomed())
    assert xai.Run.read(tmp_path / "run").finished == []
    monkeypatch.setattr(Doomed, "error", None)
    assert not summarize(run(tmp_path / "run", metrics=Doomed())).errors


def test_parts_with_errors_are_done_again_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def some(self: Breaking, captured: xai.Captured) -> Tensor:
        if not free.is_set() and (captured.images == Speckles()[7].image).all((1, 2, 3)).any():
            raise RuntimeError("not now")
        return captured.activation().mean(1)

    monkeypatch.setattr(Breaking, "explain", some)
    failed = run(tmp_path / "run", methods=Breaking(), metrics=Brightness())
    assert summarize(failed).errors == {"RuntimeError: not now (raised by explainer 'breaking')": 1}
    free.set()
    model, missing = Counted(), []
    assert summarize(run(tmp_path / "run", methods=Breaking(), metrics=Brightness())).errors
    again = run(
        tmp_path / "run",
        model=model,
        methods=Breaking(),
        metrics=Brightness(),
        retry_errors=True,
        progress=lambda going, part: missing.append(len(going.missing)),
    )
    assert not summarize(again).errors
    assert missing == [1, 0]
    assert [count for count in model.forward_passes if count > 1] == [4]


def test_weights_that_are_random_at_each_load_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(spec: str) -> xai.LoadedModel:
        model = Counted()
        torch.seed()
        nn.init.uniform_(model.cnn.head.weight)
        return loaded(model)

    monkeypatch.setattr(preparation, "load_model", load)
    with pytest.raises(CheckpointError, match=r"zoo:net was loaded again with other weights.*random at each load"):
        run(tmp_path / "run", models="zoo:net")


def test_one_model_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[nn.Module]] = []

    def load(spec: str) -> xai.LoadedModel:
        assert not [model for model in held if model()]
        model = Counted()
        held.append(weakref.ref(model))
        return loaded(model)

    monkeypatch.setattr(preparation, "load_model", load)
    run(tmp_path / "run", Speckles(2), models=["zoo:one", "zoo:two"], methods="grad-cam", metrics=Brightness())
    assert len(held) == 4  # prepared, and worked with


def test_seeds_reach_what_a_method_is_made_of() -> None:
    [subject] = prepared(methods=("smoothed(ss-cam:n=2):flip=false",), controls=False, seed=7).subjects
    assert subject.methods == ("smoothed(ss-cam:n=2,seed=7):flip=false",)


def test_what_interrupts_a_run_stops_its_readers(tmp_path: Path) -> None:
    def stop(going: xai.Run, part: Part | None) -> None:
        if part is not None:
            raise StopError

    with pytest.raises(StopError) as raised:
        run(tmp_path / "run", progress=stop)
    assert raised.tb  # which would keep the parts, and so the threads, alive
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@dataclass(frozen=True)
class Noted(Speckles):
    """Notes which images are read."""

    read: Any = None

    def __getitem__(self, index: int, /) -> xai.Sample:
        self.read.append(index)
        return super().__getitem__(index)


def test_images_of_the_next_shard_are_read_while_this_one_is_explained(tmp_path: Path) -> None:
    """Seen where the first shard is finished and the second not begun; the first image was read to prepare the run."""
    read: list[int] = []
    seen: list[set[int]] = []

    def look(going: xai.Run, part: Part | None) -> None:
        end = time.monotonic() + 10
        while part is not None and len(seen) == 1 and 3 not in read and time.monotonic() < end:
            time.sleep(0.01)  # a thread reads it
        seen.append({*read})

    run(tmp_path / "run", Noted(6, read=read), metrics=Brightness(), shard=2, progress=look)
    assert seen == [{0}, {0, 1, 2, 3}, {*range(6)}, {*range(6)}]
    assert sorted(read) == [0, *range(6)]


@dataclass(frozen=True)
class Alone(Speckles):
    """Bears one reader at a time."""

    busy: Any = None

    def __getitem__(self, index: int, /) -> xai.Sample:
        assert self.busy.acquire(blocking=False), "two threads at once"
        time.sleep(0.005)
        try:
            return super().__getitem__(index)
        finally:
            self.busy.release()


def test_data_given_as_an_object_is_read_by_one_thread_at_a_time(tmp_path: Path) -> None:
    data = Alone(busy=threading.Lock())
    assert not summarize(run(tmp_path / "run", data, methods="grad-cam", metrics=Brightness(), workers=4)).errors


class FakeRay(types.ModuleType):
    """Ray as far as it is seen before there is work, with no cluster behind it."""

    def __init__(self, gpus: int = 0) -> None:
        super().__init__("ray")
        self.gpus, self.connected = gpus, 0
        self.data = types.SimpleNamespace(DataContext=types.SimpleNamespace(get_current=types.SimpleNamespace))

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        if options["address"] == "nowhere":
            raise ConnectionError("refused")
        self.connected += 1

    def shutdown(self) -> None:
        self.connected -= 1

    def cluster_resources(self) -> Mapping[str, float]:
        return {"CPU": 2.0, "GPU": float(self.gpus)}

    def put(self, given: Any) -> bytes:
        return pickle.dumps(given)


@pytest.mark.parametrize(
    ("ray", "given", "said"),
    [
        (None, {}, r"pip install xai-core\[ray\]"),
        (FakeRay(), {"address": "nowhere"}, "no Ray cluster at nowhere .*refused"),
        (FakeRay(), {}, "cannot send models, data, methods or metrics .*lambda.*can be pickled"),
        (FakeRay(), {"device": "cuda"}, "device='cuda' cannot be used with engine=ray; expected cpu, as the cluster"),
        (FakeRay(1), {"device": "cuda:1"}, "device='cuda:1' cannot be used with engine=ray; expected cpu or cuda"),
    ],
)
def test_ray_that_cannot_work_is_one_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: FakeRay | None, given: Mapping[str, Any], said: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(OptionError, match=said):
        run(tmp_path / "run", engine="ray", **given)
    assert not (tmp_path / "run").exists()
    assert ray is None or not ray.connected


def test_the_cluster_says_whether_there_are_gpus() -> None:
    assert [on_ray.Cluster(FakeRay(gpus)).device(None).type for gpus in (0, 4)] == ["cpu", "cuda"]


def resident() -> Iterator[int]:
    """The memory of this process in KiB, each time."""
    while True:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
        yield int(line.split()[1])


@pytest.mark.slow
def test_ten_thousand_images_take_memory_of_a_few_and_time_in_proportion(tmp_path: Path) -> None:
    memory, held, taken = resident(), [], []

    def watch(going: xai.Run, part: Part | None) -> None:
        held.append(next(memory))
        taken.append(time.perf_counter())

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    data = Speckles(10_000, size=48)
    run(tmp_path / "run", data, model, methods="grad-cam", metrics=Brightness(), batch=100, shard=500, progress=watch)
    assert len(held) == 21
    assert max(held[6:]) - held[5] < 30_000  # KiB; the images of these 15 shards would be 202,500 KiB
    first, second = taken[11] - taken[1], taken[20] - taken[10]
    assert second < 2 * first


def tables(path: Path) -> list[str]:
    """All that `xai report` writes of a run."""
    kinds = (["--format", "csv"], ["--format", "markdown", "--pairs"], ["--format", "latex"], [])
    made = [CliRunner().invoke(app, ["report", str(path), *options]) for options in kinds]
    assert all(one.exit_code == 0 for one in made)
    return [one.stdout for one in made]


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    """Twenty times: no file is ever half-written, and the tables are those of an undisturbed run, byte for byte."""
    out = fresh.printed(f"from support.benchmark_killed_at_random import main; main({str(tmp_path / 'run')!r}, 20)")
    assert int(out.split()[-1]) == 20, "it was through too soon to be killed"
    resumed, undisturbed = xai.Run.read(tmp_path / "run"), xai.Run.read(tmp_path / "undisturbed")
    assert not resumed.missing
    assert same(resumed, undisturbed)
    assert tables(resumed.path) == tables(undisturbed.path)
    assert not [file for file in resumed.path.rglob(".*") if file.name != ".lock"]
