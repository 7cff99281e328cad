"""KPCA-CAM against scikit-learn's kernel PCA in float64, and against pytorch-grad-cam."""

from collections.abc import Callable

import pytest
import pytorch_grad_cam
import torch
from sklearn.decomposition import KernelPCA
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, by_peer, relative
from support.volume_models import SmallCNN3d, built, two_clips
from xai_cam.principal_component import leading_eigenvector
from xai_core.errors import OptionError, UnsuitableError

CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cnn": (SmallCNN, "last"),
    "vit": (fused_vit, "blocks.2.norm1"),
}


def replica(activation: Tensor, **options: object) -> Tensor:
    """The first component of one image [K,*grid] by scikit-learn, rectified."""
    rows = activation.flatten(1).T
    component = KernelPCA(1, **options).fit_transform(rows - rows.mean(0))
    return torch.from_numpy(component).view(activation.shape[1:]).relu()


@pytest.mark.parametrize(
    "options",
    [{"kernel": "sigmoid"}, {"kernel": "rbf", "gamma": 0.1}, {"kernel": "poly", "gamma": 0.02}, {"kernel": "linear"}],
    ids=lambda options: options["kernel"],
)
@pytest.mark.parametrize("case", CASES)
def test_equals_scikit_learn(images: Tensor, case: str, options: dict[str, object]) -> None:
    make, layer = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images)
    expected = torch.stack([replica(each, **options) for each in reference.activation])
    [ours] = xai.Engine(model).explain(images, xai.create_explainer("kpca-cam", layer=layer, **options)).values()
    assert relative(ours.raw, expected) < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_equals_pytorch_grad_cam(images: Tensor, case: str) -> None:
    make, layer = CASES[case]
    model = settled(make())
    theirs = by_peer(pytorch_grad_cam.KPCA_CAM, model, layer, images)
    [ours] = xai.Engine(model).explain(images, f"kpca-cam:layer={layer}").values()
    torch.testing.assert_close(ours.values, theirs, atol=1e-4, rtol=0)


def test_volumes() -> None:
    model, clips = built(SmallCNN3d), two_clips()
    [ours] = xai.Engine(model).explain(clips, "kpca-cam").values()
    layer = xai.Engine(model).adapter(clips).default_layer
    activations = []
    handle = model.get_submodule(str(layer)).register_forward_hook(lambda *call: activations.append(call[2]))
    with torch.no_grad():
        model(clips)
    handle.remove()
    expected = torch.stack([replica(each.double(), kernel="sigmoid") for each in activations[0]])
    assert relative(ours.raw, expected) < 1e-4


def test_a_linear_kernel_is_the_first_principal_component(images: Tensor) -> None:
    """The linear kernel PCA is PCA, as pytorch-grad-cam's EigenCAM computes it, up to the sign."""
    model = settled(SmallCNN())
    activation = Reference(model, "last", images).activation
    [ours] = xai.Engine(model).explain(images, "kpca-cam:kernel=linear").values()
    for map_, each in zip(ours.raw, activation, strict=True):
        rows = each.flatten(1).T - each.flatten(1).mean(1)
        component = rows @ torch.linalg.svd(rows, full_matrices=False).Vh[0]
        component *= component[component.abs().argmax()].sign()
        assert relative(map_.flatten(), component.relu()) < 1e-4


def test_the_map_does_not_depend_on_the_target(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    one, other = (engine.explain(images, "kpca-cam", target)["kpca-cam"].raw for target in (0, 1))
    assert torch.equal(one, other)


@pytest.mark.parametrize("values", [[3.0, 2.999, -5.0], [1.0, -1.0, 0.5], [2e-30, 1e-30, 0.0]])
def test_the_leading_eigenvector_is_that_of_the_largest_eigenvalue(values: list[float]) -> None:
    """Also if a negative eigenvalue has a larger magnitude."""
    basis = torch.linalg.qr(torch.randn(2, 3, 3, dtype=torch.float64))[0]
    matrix = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.mT
    vector, expected = leading_eigenvector(matrix), basis[:, :, 0]
    torch.testing.assert_close(vector, expected * expected.gather(1, expected.abs().argmax(1)[:, None]).sign())


def test_the_leading_eigenvector_of_zero_is_zero() -> None:
    assert not leading_eigenvector(torch.zeros(1, 4, 4)).any()


def test_layers_with_many_locations_are_rejected() -> None:
    engine, images = xai.Engine(settled(SmallCNN())), torch.randn(1, 3, 136, 136)
    with pytest.raises(UnsuitableError, match="at most 4096 locations, but 'stem' has 4624"):
        engine.explain(images, "kpca-cam:layer=stem")


@pytest.mark.parametrize(("option", "message"), [("kernel=cubic", "kernel"), ("gamma=0", "gamma")])
def test_bad_options(option: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer(f"kpca-cam:{option}")
