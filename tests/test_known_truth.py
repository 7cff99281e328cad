"""Scores where the truth is known: the true mask beats every method, and noise loses to Grad-CAM."""

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.explaining import FEWER
from xai_core.benchmarking.bootstrap import resampled_means
from xai_core.benchmarking.statistics import Estimate, estimate
from xai_core.configurable import MADE_OF
from xai_core.plugins.registry import registry
from xai_core.spec import parse

COUNT = 40
# Insertion from RISE's blur does not tell the truth from a good map here: a blurred shape is still seen.
METRICS = ["insertion:steps=16,baseline=mean", "relevance-mass"]
# Hiding parts and looking at the score is what insertion does, and an order of single pixels is more than a mask has:
# such methods come close to the truth in insertion, or before it (guided-grad-cam 0.845, the truth 0.838).
ASK_WHAT_IT_ASKS = {"xai-captum", "xai-perturbation"}
DEAR = {"ss-cam", "is-cam"}


def intervals() -> dict[str, dict[str, Estimate]]:
    """Of each method that suits `shapes-cbam`, and of the masks themselves, by metric."""
    torch.set_num_threads(1)
    loaded, data = xai.load_model("shapes-cbam"), xai.load_dataset("shapes", split="test", count=COUNT)
    engine, samples = xai.Engine(loaded), [data[i] for i in range(COUNT)]
    images = torch.stack([loaded.preprocess(sample.image) for sample in samples])
    masks = torch.stack([xai.model_mask(loaded, sample) for sample in samples])
    adapter = engine.adapter(images)
    specs = [FEWER.get(name, name) for name in xai.list_explainers() if name not in DEAR]
    methods = [spec for spec in specs if suits(spec, adapter)]
    found: dict[str, dict[str, list[Tensor]]] = {metric: {} for metric in METRICS}
    for start in range(0, COUNT, 20):
        part = slice(start, start + 20)
        maps = {**engine.explain(images[part], methods), "oracle": masks[part].float()}
        for method, scores in engine.evaluate(images[part], maps, METRICS, masks[part]).items():
            for metric, score in scores.items():
                found[metric].setdefault(method, []).append(score.values)
    return {
        metric: {method: interval(torch.cat(parts)) for method, parts in of.items()} for metric, of in found.items()
    }


def interval(scores: Tensor) -> Estimate:
    [resampled] = resampled_means([scores.double()[:, None].numpy()])
    return estimate(scores.double().mean().item(), resampled[:, 0])


def suits(spec: str, adapter: xai.ModelAdapter) -> bool:
    try:
        explainer = xai.create_explainer(spec)
        explainer.needs(adapter)
    except xai.XAIError:
        return False
    return MADE_OF.isdisjoint(vars(explainer)) and explainer.forward_passes(adapter) <= 100


@pytest.mark.slow
def test_the_truth_beats_every_method_and_noise_loses_to_grad_cam() -> None:
    """With intervals that do not overlap."""
    for metric, of in intervals().items():
        oracle = of.pop("oracle")
        assert {"grad-cam", "conceptor-cam", "score-cam", "random", "center", "edges"} <= {*of}
        assert oracle.low is not None
        for method, one in of.items():
            given_by = registry().entries["explainers"][parse(method).head].plugin.distribution
            if metric == "relevance-mass" or given_by not in ASK_WHAT_IT_ASKS:
                assert one.high is not None
                assert one.high < oracle.low, (metric, method)
        assert of["random"].high is not None
        assert of["grad-cam"].low is not None
        assert of["random"].high < of["grad-cam"].low
