"""The three networks of the face detector MTCNN, with weights from a Python package."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import ModelSource, UnknownModelError, suggest
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop
from xai_zoo.wheels import WheelFile

_MEAN, _STD = (127.5 / 255,) * 3, (128 / 255,) * 3
_PACKAGE = "facenet-pytorch", "2.6.0"
FILES = {
    "pnet": WheelFile(
        *_PACKAGE,
        "facenet_pytorch/data/pnet.pt",
        28_570,
        "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    ),
    "rnet": WheelFile(
        *_PACKAGE,
        "facenet_pytorch/data/rnet.pt",
        403_147,
        "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    ),
    "onet": WheelFile(
        *_PACKAGE,
        "facenet_pytorch/data/onet.pt",
        1_559_269,
        "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
    ),
}


class MTCNN(ModelSource):
    """The networks of the face detector MTCNN (Zhang et al., 2016): `mtcnn:onet`, `mtcnn:rnet`, `mtcnn:pnet`.

    Each network classifies a crop as background or face. The output is a dict of class scores `logits` [B,2], box
    offsets `boxes` [B,4] and, for `onet`, `landmarks` [B,10]. Images have 48x48 pixels for `onet`, 24x24 for `rnet` and
    12x12 for `pnet`. `pnet` is a fully convolutional network. It classifies each window of 12x12 pixels of a larger
    image, so its outputs are [B,2,h,w] and [B,4,h,w].

    The weights (MIT license) require `pip install --no-deps facenet-pytorch==2.6.0`.
    """

    name = "mtcnn"
    test_spec = "mtcnn:onet"

    def names(self) -> Sequence[str]:
        return tuple(_NETWORKS)

    def load(self, name: str | None) -> xai.LoadedModel:  # type: ignore[override] # the registry rejects options
        if name not in _NETWORKS:
            raise UnknownModelError(f"mtcnn has no network {name!r}; {suggest(name or '', _NETWORKS)}")
        network, size = _NETWORKS[name]
        file, model = FILES[name].find(), network()
        fit(model, read_state_dict(file), file)
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(resize_and_crop(size, size, _MEAN, _STD)),
            class_names=("background", "face"),
            restore=Restore(_MEAN, _STD),
            spec=f"{self.name}:{name}",
        )


class PNet(nn.Module):
    """The proposal network, which classifies every window of 12x12 pixels at a stride of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Mapping[str, Tensor]:
        features = self.pool1(self.prelu1(self.conv1(images)))
        features = self.prelu2(self.conv2(features))
        features = self.prelu3(self.conv3(features))
        return {"logits": self.conv4_1(features), "boxes": self.conv4_2(features)}


class RNet(nn.Module):
    """The refinement network, which classifies crops of 24x24 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, images: Float[Tensor, "B 3 24 24"]) -> Mapping[str, Tensor]:
        features = self.pool1(self.prelu1(self.conv1(images)))
        features = self.pool2(self.prelu2(self.conv2(features)))
        features = self.prelu3(self.conv3(features))
        features = self.prelu4(self.dense4(_by_column(features)))
        return {"logits": self.dense5_1(features), "boxes": self.dense5_2(features)}


class ONet(nn.Module):
    """The output network, which classifies crops of 48x48 pixels and locates five landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, images: Float[Tensor, "B 3 48 48"]) -> Mapping[str, Tensor]:
        features = self.pool1(self.prelu1(self.conv1(images)))
        features = self.pool2(self.prelu2(self.conv2(features)))
        features = self.pool3(self.prelu3(self.conv3(features)))
        features = self.prelu4(self.conv4(features))
        features = self.prelu5(self.dense5(_by_column(features)))
        return {
            "logits": self.dense6_1(features),
            "boxes": self.dense6_2(features),
            "landmarks": self.dense6_3(features),
        }


def _by_column(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B w*h*C"]:
    """Flatten feature maps in the order of the original weights: columns, rows, channels."""
    return torch.flatten(features.permute(0, 3, 2, 1), 1)


_NETWORKS: dict[str, tuple[type[nn.Module], int]] = {"pnet": (PNet, 12), "rnet": (RNet, 24), "onet": (ONet, 48)}
