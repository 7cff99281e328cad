"""Deep feature factorization against scikit-learn's factorization in float64, and against pytorch-grad-cam."""

import warnings

import pytest
import torch
from pytorch_grad_cam.feature_factorization.deep_feature_factorization import dff
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative
from support.volume_models import SmallCNN3d, built, two_clips
from xai_cam.nonnegative_factors import STEPS, factorize
from xai_core.errors import OptionError

CASES = {"cnn": (SmallCNN, "last", 2), "vit": (fused_vit, "blocks.1", 6)}
"""Models, layers, and numbers of concepts for which the randomized SVD of scikit-learn is exact."""


def by_scikit_learn(a: Tensor, concepts: int) -> tuple[Tensor, Tensor]:
    """Directions [K,concepts] of length 1 and maps [concepts,N] of one image [K,N]."""
    model = NMF(concepts, init="nndsvda", solver="mu", tol=0, max_iter=STEPS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        w = torch.from_numpy(model.fit_transform((a / a.amax()).numpy()))
    norms = w.square().sum(0).sqrt()
    return w / norms, norms[:, None] * torch.from_numpy(model.components_) * a.amax()


@pytest.mark.parametrize("case", CASES)
def test_equals_scikit_learn(images: Tensor, case: str) -> None:
    make, layer, concepts = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images)
    gradients = reference.gradient(reference.target)
    explainer = xai.create_explainer("dff", layer=layer, concepts=concepts)
    [ours] = xai.Engine(model).explain(images, explainer).values()
    for i, (activation, gradient) in enumerate(zip(reference.activation, gradients, strict=True)):
        directions, maps = by_scikit_learn(activation.relu().flatten(1), concepts)
        weights = gradient.mean((1, 2)) @ directions
        maps = maps.unflatten(1, activation.shape[1:])
        assert relative(ours.parts[i], maps) < 1e-4
        assert relative(ours.weights[i], weights) < 1e-4
        expected = (weights[:, None, None] * maps).sum(0).relu()
        assert (ours.raw[i] - expected).abs().amax() < 1e-4 * maps.amax() * weights.abs().amax()


def test_weights_are_scores_of_the_concepts(images: Tensor) -> None:
    """With pooling and a linear head, pytorch-grad-cam scores a concept by the head, without its bias."""
    model = settled(SmallCNN())
    [ours] = xai.Engine(model).explain(images, "dff", 1).values()
    explainer = xai.create_explainer("dff")
    activation = Reference(model, "last", images).activation
    directions, _ = factorize(activation.relu().flatten(2), explainer.concepts)
    directions = directions / torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    expected = torch.einsum("k,bkj->bj", model.head.weight[1].double(), directions) / activation[0, 0].numel()
    assert relative(ours.weights, expected) < 1e-4


def test_planted_concepts_are_found_as_by_pytorch_grad_cam() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.block_diag(*torch.rand(3, 4, 1, generator=generator))  # [12,3]
    maps = torch.rand(3, 5, 6, generator=generator) + torch.tensor([4.0, 2.0, 1.0])[:, None, None]
    maps[:, 0, :] = 0  # all channels have the minimum zero, which pytorch-grad-cam subtracts
    maps[0, :, 3:], maps[1, 3:], maps[2, :, :3] = 0, 0, 0
    activation = torch.einsum("kj,jhw->khw", directions, maps)
    _, ours = factorize(activation.flatten(1)[None].double(), 3)
    _, theirs = dff(activation[None].numpy(), 3)
    for found in (ours[0], torch.from_numpy(theirs[0]).flatten(1).double()):
        pairs = torch.corrcoef(torch.cat([maps.flatten(1).double(), found]))[:3, 3:]
        assert (pairs.amax(1) > 0.999).all()
        assert len(set(pairs.argmax(1).tolist())) == 3


def test_each_step_lowers_the_error() -> None:
    a = torch.rand(2, 20, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = []
    with pytest.MonkeyPatch.context() as patch:
        for steps in (0, 1, 2, 5, 20, 200):
            patch.setattr("xai_cam.nonnegative_factors.STEPS", steps)
            w, h = factorize(a, 4)
            assert (w >= 0).all()
            assert (h >= 0).all()
            errors.append((a - w @ h).square().sum())
    assert errors == sorted(errors, reverse=True)


def test_more_concepts_than_the_rank() -> None:
    a = torch.outer(torch.arange(1.0, 4), torch.arange(5.0)).double()[None]
    w, h = factorize(a, 4)
    assert relative(w @ h, a) < 0.01


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_does_not_matter(scale: float) -> None:
    a = torch.rand(1, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for factor, expected, unit in zip(factorize(scale * a, 2), factorize(a, 2), (1, scale), strict=True):
        torch.testing.assert_close(factor / unit, expected)


def test_zero_activations_have_zero_factors() -> None:
    w, h = factorize(torch.zeros(1, 3, 4), 2)
    assert not w.any()
    assert not h.any()


def test_volumes() -> None:
    [ours] = xai.Engine(built(SmallCNN3d)).explain(two_clips(), "dff:concepts=3").values()
    assert ours.parts.shape == (2, 3, *ours.raw.shape[1:])


def test_maps_of_several_layers_have_no_parts(images: Tensor) -> None:
    [ours] = xai.Engine(settled(SmallCNN())).explain(images, "dff:layer=stem+last").values()
    assert ours.parts is None
    assert ours.weights is None


def test_all_targets_share_the_concepts(images: Tensor) -> None:
    [ours] = xai.Engine(settled(SmallCNN())).explain(images, "dff", [[0, 1]] * len(images)).values()
    first, second = ours.each
    assert torch.equal(first.parts, second.parts)
    assert not torch.equal(first.weights, second.weights)


def test_bad_options() -> None:
    with pytest.raises(OptionError, match="concepts"):
        xai.create_explainer("dff:concepts=0")
