"""Helpers that explain images: specs that are compatible with a model, maps made by hand, what a pass captures."""

import contextlib
import warnings
from typing import Any

import pytest
from torch import Tensor, nn

import xai_core as xai
from xai_core.errors import ConstantMapWarning, UnsuitableError

Maps = dict[str, xai.Saliency]


FEWER = {
    "blur-ig": "blur-ig:max_sigma=4,n_steps=4",
    "captum-occlusion": "captum-occlusion:sliding_window_shapes=8,strides=8",
    "feature-ablation": "feature-ablation:patch=8",
    "gradient-shap": "gradient-shap:n_samples=4",
    "integrated-gradients": "integrated-gradients:n_steps=4",
    "is-cam": "is-cam:n=2",
    "kernel-shap": "kernel-shap:n_samples=24,patch=16",
    "layer-conductance": "layer-conductance:n_steps=4",
    "layer-integrated-gradients": "layer-integrated-gradients:n_steps=4",
    "noise-smoothed": "noise-smoothed:n=2",
    "lime": "lime:n_samples=24,segments=8",
    "d-rise": "d-rise:masks=64,cells=7",
    "extremal-perturbation": "extremal-perturbation:areas=0.1,steps=2,cell=4,sigma=4",
    "group-cam": "group-cam:groups=4",
    "hsic": "hsic:masks=32,cells=4",
    "guided-ig": "guided-ig:n_steps=4",
    "idgi": "idgi:n_steps=4,channels=abs",  # all values of a step have one sign, which the default would rectify
    "opti-cam": "opti-cam:steps=3",
    "recipro-cam": "recipro-cam:gaussian=false",  # a smooth map of a random model varies by a few thousand roundings
    "rise": "rise:masks=64",
    "shapley-value-sampling": "shapley-value-sampling:n_samples=1,patch=8",
    "tis": "tis:masks=32,iterations=3",
    "smooth-grad": "smooth-grad:nt_samples=4",
    "sobol": "sobol:designs=16,cells=3",
    "ss-cam": "ss-cam:n=2",
    "xrai": "xrai(integrated-gradients:n_steps=4,channels=sum):size=32,dilation=1,min_pixels=8",
}
"""Explainers that take thousands of forwards unless told, each as a spec that takes fewer and does the same."""


def suitable(engine: xai.Engine, images: Tensor) -> list[str]:
    """The specs of all installed explainers that suit the model."""
    adapter = engine.adapter(images)
    specs = []
    for name in xai.list_explainers():
        spec = FEWER.get(name, name)
        try:
            xai.create_explainer(spec).needs(adapter)
        except UnsuitableError:
            continue
        specs.append(spec)
    return specs


def one_pass(engine: xai.Engine, images: Tensor) -> list[str]:
    """Those of them that need one forward and one backward, and nothing more."""

    class AskedForMoreError(Exception):
        pass

    def ask(*_: object, **__: object) -> None:
        raise AskedForMoreError

    names = []
    with pytest.MonkeyPatch.context() as patch:
        for more in ("partial_forward", "subset_forward", "explain_images", "shared_model"):
            patch.setattr(xai.Captured, more, ask)
        patch.setattr(xai.Captured, "model_score", property(ask))
        for name in suitable(engine, images):
            needs = xai.create_explainer(name).needs(engine.adapter(images))
            with contextlib.suppress(AskedForMoreError):
                engine.explain(images[:1], name)
                if not any(need.curvature or need.block_scores for need in needs.all):
                    names.append(name)
    return names


def maps_for(target: object, engine: xai.Engine, images: Tensor, **maps: Tensor) -> Maps:
    """Maps [B,h,w] as an engine would give them for a target; it does not know how to make them again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        bound = engine.explain(images, "eigen-cam", target)["eigen-cam"].target
    size = (images.shape[-2], images.shape[-1])
    return {name: xai.Saliency.of(given, len(images), size, bound, name) for name, given in maps.items()}


def assert_same(ours: Maps, theirs: Maps, atol: float = 1e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name, saliency in ours.items():
        difference = (saliency.values - theirs[name].values).abs().amax().item()
        assert difference <= atol, f"{name} differs by {difference}"


class Once(xai.Explainer):
    """Gives what a function makes of the captured."""

    name = "once"

    def __init__(self, needs: xai.Needs, function: Any) -> None:
        self._needs, self._function = needs, function

    @property
    def spec(self) -> str:
        return self.name

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return self._needs

    def explain(self, captured: xai.Captured) -> Tensor:
        return self._function(captured)


def captured_by(model: nn.Module, images: Tensor, needs: xai.Needs, **options: Any) -> xai.Captured:
    kept = []

    def keep(captured: xai.Captured) -> Tensor:
        kept.append(captured)
        return captured.images[:, 0]

    xai.Engine(model).explain(images, Once(needs, keep), **options)
    return kept[0]
