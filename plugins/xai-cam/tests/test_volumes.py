"""The CAM family on volumes equals formulas in float64 and plain autograd."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.volume_models import SIZE, PlainCNN3d, SmallCNN3d, Tubelets, built, two_clips
from xai_core.errors import UnsuitableError

CLASS = 2
SPATIAL = (2, 3, 4)


def activation_and_gradient(model: nn.Module, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of the layer `last` and its gradient, by plain autograd in float64."""
    outputs: list[Tensor] = []
    handle = model.get_submodule("last").register_forward_hook(lambda _, args, output: outputs.append(output))
    score = model.double()(clips.double())[:, CLASS].sum()
    handle.remove()
    return outputs[0].detach(), torch.autograd.grad(score, outputs[0])[0]


def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    alpha = g**2 / (2 * g**2 + g**3 * a.sum(SPATIAL, keepdim=True))
    return ((alpha.nan_to_num() * g.relu()).sum(SPATIAL, keepdim=True) * a).sum(1).relu()


def eigen_cam(a: Tensor, g: Tensor) -> Tensor:
    maps = []
    for each in a:
        rows = each.flatten(1).T
        projected = rows @ torch.linalg.svd(rows, full_matrices=False).Vh[0]
        maps.append((projected * projected.sum().sign()).view(a.shape[2:]))
    return torch.stack(maps)


def fem(a: Tensor, g: Tensor) -> Tensor:
    mean, deviation = a.mean(SPATIAL, keepdim=True), a.std(SPATIAL, correction=0, keepdim=True)
    return (mean * (a > mean + 2 * deviation)).sum(1)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": lambda a, g: (g.mean(SPATIAL, keepdim=True) * a).sum(1).relu(),
    "grad-cam++": grad_cam_plus_plus,
    "hires-cam": lambda a, g: (g * a).sum(1).relu(),
    "element-wise-cam": lambda a, g: (g * a).relu().sum(1),
    "layer-cam": lambda a, g: (g.relu() * a).sum(1).relu(),
    "xgrad-cam": lambda a, g: (((g * a).sum(SPATIAL) / a.sum(SPATIAL))[..., None, None, None] * a).sum(1).relu(),
    "eigen-cam": eigen_cam,
    "fem": fem,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_maps_equal_the_formula(name: str) -> None:
    clips = two_clips()
    maps = xai.Engine(built(SmallCNN3d)).explain(clips, name, CLASS)[name]
    expected = FORMULAS[name](*activation_and_gradient(built(SmallCNN3d), clips))
    torch.testing.assert_close(maps.raw.double(), expected, rtol=1e-3, atol=1e-5 * expected.abs().amax().item())
    resized = F.interpolate(maps.raw[:, None], SIZE, mode="trilinear", align_corners=False)[:, 0]
    for values, of_clip in zip(maps.values, resized, strict=True):
        torch.testing.assert_close(values, (of_clip - of_clip.min()) / (of_clip.max() - of_clip.min()))


def test_cam_averages_to_the_logit() -> None:
    model, clips = built(SmallCNN3d), two_clips()
    maps = xai.Engine(model).explain(clips, "cam", CLASS)["cam"]
    torch.testing.assert_close(maps.raw.mean((1, 2, 3)), model(clips)[:, CLASS] - model.head.bias[CLASS])


def test_score_cam_and_ablation_cam_equal_a_loop_over_channels() -> None:
    model, clips = built(PlainCNN3d), two_clips()[:1]
    maps = xai.Engine(model).explain(clips, "score-cam, ablation-cam", CLASS)
    a, _ = activation_and_gradient(built(PlainCNN3d), clips)
    double = built(PlainCNN3d).double()
    score = double(clips.double())[0, CLASS]
    weights, drops = [], []
    for channel in range(a.shape[1]):
        up = F.interpolate(a[:, channel : channel + 1], SIZE, mode="trilinear", align_corners=False)
        mask = (up - up.min()) / (up.max() - up.min()) if up.max() > up.min() else None
        weights.append(0 if mask is None else double(clips * mask).softmax(1)[0, CLASS].item())
        ablated = a.clone()
        ablated[:, channel] = 0
        drops.append(((score - double.head(ablated.mean(SPATIAL))[0, CLASS]) / score.abs()).item())
    for name, alpha in (("score-cam", weights), ("ablation-cam", drops)):
        expected = (a * torch.tensor(alpha).view(1, -1, 1, 1, 1)).sum(1).relu()
        torch.testing.assert_close(maps[name].raw.double(), expected, rtol=1e-3, atol=1e-5)


def test_full_grad_is_complete() -> None:
    """The contributions sum to the score before magnitudes are taken, so all biases of the volume are included."""
    from xai_cam.full_grad import biases

    class Complete(xai.Explainer):
        name = "complete"
        volumes = True

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return xai.create_explainer("full-grad").needs(adapter)

        def explain(self, captured: xai.Captured) -> Tensor:
            total = (captured.image_gradient * captured.images).flatten(1).sum(1)
            for layer, bias in biases(captured.adapter).items():
                total = total + (captured.gradient(layer).sum(SPATIAL) * bias).sum(1)
            sums.append(total)
            return captured.images[:, 0]

    sums: list[Tensor] = []
    model, clips = built(SmallCNN3d), two_clips()
    xai.Engine(model).explain(clips, Complete(), CLASS)
    torch.testing.assert_close(sums[0] + model.head.bias[CLASS], model(clips)[:, CLASS], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        *("smoothed", "noise-smoothed:n=2", "fused", "full-grad", "is-cam:n=2"),
        *("conceptor-cam", "conceptor-cam:relation=places"),
    ],
)
def test_other_methods_return_maps_of_volumes(name: str) -> None:
    [maps] = xai.Engine(built(SmallCNN3d)).explain(two_clips(), name, CLASS).values()
    assert maps.values.shape == (2, *SIZE)
    assert not maps.constant.any()


def test_flipped_clips_are_flipped_back() -> None:
    engine, clips = xai.Engine(built(SmallCNN3d)), two_clips()
    smoothed = engine.explain(clips, "smoothed:brightness=0", CLASS)["smoothed:brightness=0"]
    plain, flipped = (engine.explain(each, "grad-cam", CLASS)["grad-cam"].raw for each in (clips, clips.flip(4)))
    torch.testing.assert_close(smoothed.raw, (plain + flipped.flip(3)) / 2)


def test_methods_of_images_alone_are_rejected() -> None:
    engine = xai.Engine(built(Tubelets))
    for name in ("rollout", "smoothed(rollout)", "fused(grad-cam,legrad)"):
        with pytest.raises(UnsuitableError, match=r"is defined for images \[B,C,H,W\] only"):
            engine.explain(two_clips(), name, CLASS)
