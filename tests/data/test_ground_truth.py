"""The truth as a model sees it: masks and boxes go the way that the image goes."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import xai_core as xai
from xai_core.data.ground_truth import box_mask
from xai_core.errors import CroppedGroundTruthError, InputShapeError, NoGroundTruthError, UnsuitableError
from xai_core.plugin import Evaluation

TORCHVISION, TIMM = "torchvision:resnet18,weights=none", "timm:test_byobnet,pretrained=false"
LITE0 = "efficientnet-lite0"


@pytest.fixture(scope="module", params=[TORCHVISION, TIMM, LITE0, f"{TIMM},in_chans=1"])
def loaded(request: pytest.FixtureRequest) -> xai.LoadedModel:
    return xai.load_model(request.param)


@pytest.fixture(scope="module")
def resnet() -> xai.LoadedModel:
    return xai.load_model(TORCHVISION)


def disc(height: int, width: int) -> Tensor:
    """An ellipse beside the middle."""
    rows, columns = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    return (rows - 0.4).square() + (columns - 0.55).square() < 0.09


def sample(mask: Tensor | None, boxes: list[list[float]] | None = None, size: tuple[int, int] = (64, 48)) -> xai.Sample:
    image = Image.new("RGB", size if mask is None else (mask.shape[1], mask.shape[0]))
    return xai.Sample(image, "a", mask=mask, boxes=None if boxes is None else torch.tensor(boxes))


def by_pillow(mask: Tensor, resize: int, crop: int) -> np.ndarray:
    """Torchvision's documented preset, written with Pillow and NumPy: shorter side to `resize`, the central crop."""
    height, width = mask.shape
    size = (int(resize * width / height), resize) if height < width else (resize, int(resize * height / width))
    resized = Image.fromarray(mask.numpy().astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    return np.asarray(resized)[top : top + crop, left : left + crop]


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (224, 224), (90, 61)])
def test_a_mask_is_resized_and_cropped_as_torchvision_does(resnet: xai.LoadedModel, size: tuple[int, int]) -> None:
    expected = by_pillow(disc(*size), 256, 224)
    ours = xai.model_mask(resnet, sample(disc(*size)))
    assert (ours.shape, ours.dtype) == ((224, 224), torch.bool)
    decided = abs(expected - 0.5) > 1e-3  # on the very border rounding may decide
    assert decided.mean() > 0.99
    assert np.array_equal(ours.numpy()[decided], (expected > 0.5)[decided])


@pytest.mark.parametrize("size", [(300, 500), (500, 300)])
def test_a_mask_is_where_the_model_sees_the_object(loaded: xai.LoadedModel, size: tuple[int, int]) -> None:
    mask = disc(*size)
    painted = Image.fromarray(np.uint8(mask.numpy()[..., None] * np.array([255, 255, 255])))
    assert loaded.restore is not None
    seen = loaded.restore(loaded.preprocess(painted)).mean(0)
    ours = xai.model_mask(loaded, sample(mask))
    assert ours.shape == seen.shape
    decided = (seen - 0.5).abs() > 0.02  # pictures are resized in 8 bits
    assert decided.float().mean() > 0.95
    assert torch.equal(ours[decided], (seen > 0.5)[decided])


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.T, 2),
    8: np.rot90,
}
"""The upright pixels for each orientation of the EXIF standard, from the stored pixels."""


@pytest.mark.parametrize("orientation", [0, *UPRIGHT, 9])
def test_a_mask_is_where_the_model_sees_the_object_of_a_turned_image(orientation: int, resnet: xai.LoadedModel) -> None:
    stored = disc(300, 500).numpy()
    upright = UPRIGHT.get(orientation, UPRIGHT[1])(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.uint8(stored) * 255).save(file := io.BytesIO(), "PNG", exif=exif)
    turned = xai.Sample(Image.open(file), "a", mask=torch.tensor(upright.copy()))
    pair = xai.as_dataset([(Image.open(file), 0)])[0]
    for each in (turned, pair):
        assert np.array_equal(np.asarray(each.image), upright * 255)
    assert resnet.restore is not None
    seen = resnet.restore(resnet.preprocess(turned.image)).mean(0)
    decided = (seen - 0.5).abs() > 0.02  # images are resized in 8 bits
    assert torch.equal(xai.model_mask(resnet, turned)[decided], (seen > 0.5)[decided])


def test_a_model_that_takes_the_picture_whole_gets_the_mask_whole() -> None:
    cbam = xai.load_model("shapes-cbam")
    for item in list(xai.load_dataset("shapes:count=10")):
        assert item.mask is not None
        assert torch.equal(xai.model_mask(cbam, item), item.mask)


def test_boxes_are_filled_where_there_is_no_mask() -> None:
    cbam = xai.load_model("shapes-cbam:weights=none")
    ours = xai.model_mask(cbam, sample(None, [[2, 5, 10, 9], [8, 7, 20, 30]], size=(64, 64)))
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[5:9, 2:10] = expected[7:30, 8:20] = True
    assert torch.equal(ours, expected)
    both = replace(sample(disc(64, 64)), boxes=torch.tensor([[0.0, 0, 1, 1]]))
    assert torch.equal(xai.model_mask(cbam, both), disc(64, 64))


def test_a_box_fills_each_pixel_that_it_touches() -> None:
    boxes = torch.tensor([[1.5, 0.25, 2.5, 0.5], [-3, 3, 1, 99], [2, 2, 2, 2]])
    expected = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]).bool()
    assert torch.equal(box_mask(boxes, 5, 4), expected)
    assert not box_mask(torch.zeros(0, 4), 5, 4).any()


def test_the_mask_is_taken_by_evaluate() -> None:
    cbam = xai.load_model("shapes-cbam:weights=none")
    mask = xai.model_mask(cbam, sample(disc(64, 64)))
    evaluation = Evaluation(torch.zeros(1, 3, 64, 64), None, cbam.model, mask[None])  # type: ignore[arg-type]
    assert evaluation.masks.shape == (1, 64, 64)


def test_what_cannot_be_brought_to_the_model_is_refused(resnet: xai.LoadedModel) -> None:
    with pytest.raises(UnsuitableError, match=r"torchvision:resnet18,weights=none has no `restore`.*restore="):
        xai.model_mask(replace(resnet, restore=None), sample(disc(64, 64)))
    for nothing in (sample(None), replace(sample(None), boxes=torch.zeros(0, 4))):
        with pytest.raises(NoGroundTruthError, match="a has neither a mask nor boxes") as caught:
            xai.model_mask(resnet, nothing)
        assert not isinstance(caught.value, CroppedGroundTruthError)
    for image in (Image.new("RGB", (48, 64)), torch.zeros(3, 64, 48)):
        with pytest.raises(InputShapeError, match=r"mask of a is \[48, 64\], but its image is \[64, 48\]"):
            xai.model_mask(resnet, replace(sample(disc(48, 64)), image=image))


def test_what_the_crop_leaves_out_is_said(resnet: xai.LoadedModel) -> None:
    beside = torch.zeros(100, 400, dtype=torch.bool)
    beside[:, :40] = True
    speck = torch.zeros(4000, 4000, dtype=torch.bool)
    speck[2000, 2000] = True
    for mask in (beside, speck, torch.zeros(30, 30, dtype=torch.bool)):
        with pytest.raises(
            CroppedGroundTruthError, match="the ground truth of a lies entirely outside the 224x224 pixels"
        ):
            xai.model_mask(resnet, sample(mask))


def test_masks_of_volumes() -> None:
    mask = torch.zeros(4, 6, 5, dtype=torch.bool)
    mask[1:3, 2:5, 1:4] = True
    scan = xai.Sample(image=torch.rand(2, 4, 6, 5), id="scan", mask=mask)
    loaded = xai.LoadedModel(torch.nn.Identity(), lambda volume: volume[:, 1:] * 4 - 2, restore=lambda x: (x + 2) / 4)
    assert torch.equal(xai.model_mask(loaded, scan), mask[1:])
    with pytest.raises(InputShapeError, match=r"the mask of scan is \[6, 5\], but its image is \[4, 6, 5\]"):
        xai.model_mask(loaded, replace(scan, mask=mask[1]))
    with pytest.raises(CroppedGroundTruthError, match="outside the 3x6x5 pixels"):
        xai.model_mask(loaded, replace(scan, mask=torch.zeros_like(mask)))
