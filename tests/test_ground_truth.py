"""Scores where the truth is known: the true mask beats every method, and noise loses to Grad-CAM."""

from functools import cache

import pytest
import torch
from torch import Tensor

import xai_core as xai
from xai_core.benchmark.statistics import Estimate, estimate

COUNT = 60
# Insertion from RISE's blur does not tell the truth from a good map here: a blurred shape is still seen.
METRICS = ["insertion:steps=8,baseline=mean", "relevance-mass"]
DEAR = {"ss-cam", "is-cam", "ablation-cam"}


@cache
def intervals() -> dict[str, dict[str, Estimate]]:
    """Of each method that suits `shapes-cbam`, and of the masks themselves, by metric."""
    torch.set_num_threads(1)
    loaded, data = xai.load_model("shapes-cbam"), xai.load_dataset("shapes", split="test", count=COUNT)
    engine, samples = xai.Engine(loaded), [data[i] for i in range(COUNT)]
    images = torch.stack([loaded.preprocess(sample.image) for sample in samples])
    masks = torch.stack([xai.model_mask(loaded, sample) for sample in samples])
    adapter = engine.adapter(images)
    methods = [name for name in xai.list_explainers() if name not in DEAR and suits(name, adapter)]
    found: dict[str, dict[str, list[Tensor]]] = {metric: {} for metric in METRICS}
    for start in range(0, COUNT, 20):
        part = slice(start, start + 20)
        maps = {**engine.explain(images[part], methods), "oracle": masks[part].float()}
        for method, scores in engine.evaluate(images[part], maps, METRICS, masks[part]).items():
            for metric, score in scores.items():
                found[metric].setdefault(method, []).append(score.values)
    return {
        metric: {method: estimate(torch.cat(parts).double().numpy()) for method, parts in of.items()}
        for metric, of in found.items()
    }


def suits(name: str, adapter: xai.ModelAdapter) -> bool:
    try:
        explainer = xai.create_explainer(name)
        explainer.needs(adapter)
    except xai.XAIError:
        return False
    return explainer.forwards(adapter) <= 200


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_the_truth_beats_every_method(metric: str) -> None:
    of = dict(intervals()[metric])
    oracle = of.pop("oracle")
    assert {"grad-cam", "conceptor-cam", "score-cam", "random", "center", "edges"} <= {*of}
    assert all(estimate.high < oracle.low for estimate in of.values())


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_noise_loses_to_grad_cam(metric: str) -> None:
    of = intervals()[metric]
    assert of["random"].high < of["grad-cam"].low
