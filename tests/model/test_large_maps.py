"""Large feature maps are located in blocks of cells, for example in detectors, which enlarge images to 800 pixels."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

import xai_core as xai
from support.oracles import places_of
from xai_core.errors import LayerError


class Reordered(nn.Module):
    """A model with a grid of 80x80 cells, whose order an operation may change."""

    def __init__(self, reorder: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reorder, self.patches = reorder, nn.Conv2d(3, 8, 4, 4)
        self.last, self.head = nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.last(self.reorder(self.patches(images))).relu().mean((2, 3)))


def detector() -> FasterRCNN:
    """Return a Faster R-CNN at its default size of 800 pixels, with a map of stride 8."""
    backbone = nn.Sequential(nn.Conv2d(3, 8, 7, 4, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    backbone.out_channels = 8  # type: ignore[assignment]
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(((64,),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        box_head=TwoMLPHead(8 * 7 * 7, 16),
        box_predictor=FastRCNNPredictor(16, 4),
        rpn_post_nms_top_n_test=20,
        box_score_thresh=0.0,
    )


def windows(maps: Tensor) -> Tensor:
    """Return windows of 8x8 cells one after another, in the shape of the map."""
    parted = maps.unflatten(2, (-1, 8)).unflatten(4, (-1, 8))  # [B,C,rows,8,columns,8]
    return parted.transpose(3, 4).reshape(maps.shape)


@pytest.mark.parametrize("size", [(96, 128), (256, 256), (480, 640)])
def test_detectors_that_enlarge_images_have_a_default_layer(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    adapter = xai.Engine(detector().eval()).adapter(torch.rand(1, 3, *size))
    assert adapter.default_layer == "backbone"
    assert adapter.grid == ((100, 100) if size[0] == size[1] else (100, 134)), "without the padding to 136 columns"


@pytest.mark.parametrize("size", [(120, 160), (180, 140)])
def test_cells_lie_where_the_detector_looks(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = detector().eval()
    seen: list[Tensor] = []
    model.backbone.register_forward_hook(lambda *args: seen.append(args[-1]))

    def features(images: Tensor) -> Tensor:
        model(list(images))
        return seen.pop().flatten(2)[..., layout.elements].unflatten(2, layout.grid)

    layout = xai.Engine(model).adapter(torch.rand(1, 3, *size)).features("backbone")
    assert places_of(features, size, lattice=4, textures=2).right


def test_locations_are_measured_once() -> None:
    torch.manual_seed(0)
    model, images = detector().eval(), list[int]()
    model.register_forward_pre_hook(lambda _, args: images.append(len(args[0])))
    xai.Engine(model).adapter(torch.rand(1, 3, 96, 128))
    assert sum(images) <= 28, "2 for the probe, and at most 26 to measure"


@pytest.mark.parametrize("in_order", [lambda maps: maps, lambda maps: maps.flip(2).flip(2)])
def test_a_large_map_in_image_order_is_read(in_order: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    adapter = xai.Engine(Reordered(in_order).eval()).adapter(torch.randn(1, 3, 320, 320))
    assert (adapter.default_layer, adapter.grid) == ("last", (80, 80))


@pytest.mark.parametrize(
    "reorder", [lambda maps: maps.flip(2), lambda maps: maps.flip(3), lambda maps: maps.mT, windows]
)
def test_a_large_map_in_another_order_is_rejected(reorder: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    adapter = xai.Engine(Reordered(reorder).eval()).adapter(torch.randn(1, 3, 320, 320))
    assert adapter.default_layer == "patches"
    with pytest.raises(LayerError, match="can be located"):
        adapter.features("last")


def test_thousands_of_tokens_are_located() -> None:
    torch.manual_seed(0)
    options = {"embed_dim": 16, "depth": 2, "num_heads": 1, "num_classes": 5, "patch_size": 4}
    model = timm.create_model("vit_tiny_patch16_224", img_size=(256, 272), **options).eval()
    adapter = xai.Engine(model).adapter(torch.randn(1, 3, 256, 272))
    assert adapter.grid == (64, 68)
    assert adapter.features(adapter.default_layer).elements == tuple(range(1, 1 + 64 * 68))
