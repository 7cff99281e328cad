"""The networks of MTCNN: outputs, the face in a photograph, and its explanation."""

from typing import Any

import pytest
import torch
from PIL import Image

import xai_core as xai
from support.packages import requires
from xai_core.errors import UnknownModelError
from xai_zoo.mtcnn import FILES

pytestmark = requires("facenet-pytorch")
NETWORKS = {"pnet": 12, "rnet": 24, "onet": 48}
FACE = (170, 62, 280, 172)
"""A square around the box (181, 62, 268, 172) that the detector of facenet-pytorch returns."""
ELSEWHERE = [(0, 0, 110, 110), (300, 350, 410, 460), (60, 330, 170, 440)]
"""The flag, the helmet and a sleeve."""


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    [sample] = xai.load_dataset("photos:astronaut")
    return sample.image


@pytest.fixture(scope="module", params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def loaded(name: str) -> xai.LoadedModel:
    return xai.load_model(f"mtcnn:{name}")


def crops(loaded: xai.LoadedModel, photo: Image.Image) -> torch.Tensor:
    return torch.stack([loaded.preprocess(photo.crop(box)) for box in (FACE, *ELSEWHERE)])


def test_it_equals_facenet_pytorch(name: str, loaded: xai.LoadedModel, photo: Image.Image) -> None:
    networks: Any = pytest.importorskip("facenet_pytorch.models.mtcnn")
    reference = {"pnet": networks.PNet, "rnet": networks.RNet, "onet": networks.ONet}[name](pretrained=False)
    reference.load_state_dict(torch.load(FILES[name].find(), weights_only=True))
    images = crops(loaded, photo)
    with torch.no_grad():
        *expected, probabilities = reference.eval()(images)
        output = loaded.model(images)
    torch.testing.assert_close(output["logits"].softmax(1), probabilities)
    for key, value in zip(("boxes", "landmarks"), expected, strict=False):
        torch.testing.assert_close(output[key], value)


def test_the_face_of_the_astronaut_is_a_face(name: str, loaded: xai.LoadedModel, photo: Image.Image) -> None:
    images = crops(loaded, photo)
    assert images.shape == (4, 3, NETWORKS[name], NETWORKS[name])
    assert loaded.class_names == ("background", "face")
    with torch.no_grad():
        probabilities = loaded.model(images)["logits"].flatten(1).softmax(1)[:, 1]
    assert probabilities[0] > 0.99
    assert (probabilities[1:] < 0.5).all()


CLASSIFIERS = pytest.mark.parametrize("name", ["rnet", "onet"], scope="module")


@CLASSIFIERS
def test_the_class_face_depends_on_the_pixels_of_the_map(loaded: xai.LoadedModel, photo: Image.Image) -> None:
    """The most salient 30 % of the pixels are needed, and the least salient 30 % are not."""
    images = crops(loaded, photo)[:1]
    saliency = xai.Engine(loaded).explain(images, "occlusion:size=8,stride=2", target="face")[
        "occlusion:size=8,stride=2"
    ]
    order = saliency.values.flatten().argsort(descending=True)
    count = 3 * len(order) // 10
    probabilities = []
    for pixels in (order[:count], order[-count:]):
        removed = images.flatten(2).index_fill(2, pixels, 0).view_as(images)
        with torch.no_grad():
            probabilities.append(loaded.model(removed)["logits"].softmax(1)[0, 1].item())
    assert probabilities[0] < 0.5 < 0.99 < probabilities[1]


@CLASSIFIERS
def test_grad_cam_of_the_class_face_equals_plain_autograd(loaded: xai.LoadedModel, photo: Image.Image) -> None:
    images = crops(loaded, photo)
    [saliency] = xai.Engine(loaded).explain(images, "grad-cam:layer=conv2", target="face").values()
    seen: list[torch.Tensor] = []
    handle = loaded.model.conv2.register_forward_hook(lambda *call: seen.append(call[-1]))
    scores = loaded.model(images)["logits"][:, 1]
    handle.remove()
    [gradient] = torch.autograd.grad(scores.sum(), seen)
    expected = (gradient.mean((2, 3), keepdim=True) * seen[0]).sum(1).relu()
    torch.testing.assert_close(saliency.raw, expected.detach())


def test_pnet_explains_windows_of_larger_images(photo: Image.Image) -> None:
    loaded = xai.load_model("mtcnn:pnet")
    images = loaded.preprocess(photo.crop(FACE)).repeat(1, 2, 3)[None]
    with torch.no_grad():
        assert loaded.model(images)["logits"].shape == (1, 2, 7, 13)
    saliency = xai.Engine(loaded).explain(images, "grad-cam", target=xai.Region("face"))["grad-cam"]
    assert saliency.values.shape == (1, 24, 36)
    assert not saliency.constant.any()


def test_other_names_are_rejected() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'onet'"):
        xai.load_model("mtcnn:onnet")
    with pytest.raises(UnknownModelError, match="no network"):
        xai.load_model("mtcnn")
