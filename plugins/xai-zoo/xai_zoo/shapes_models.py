"""Small classifiers with weights that were trained on `shapes` or on `shapes-shortcut`."""

from abc import abstractmethod
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

from torch import nn

import xai_core as xai
from xai_core.plugin import ModelSource, OptionError, Spec, Value, check_choice
from xai_zoo import outlines
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.cifar_vit import CifarViT
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop
from xai_zoo.reference import check_no_name

SIZE = 64
TRAINED_ON = ("shapes", "shapes-shortcut")
POOLS = ("max", "class")
_MEAN, _STD = (0.5,) * 3, (0.25,) * 3


def fit_shipped(model: nn.Module, name: str) -> None:
    """Load the weights of a name from this package."""
    with as_file(files("xai_zoo") / "weights" / f"{name}.safetensors") as file:
        fit(model, read_state_dict(file), file)


class ShapesModel(ModelSource):
    """Base class of small models for shapes of 64x64 pixels."""

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, trained_on: str = "shapes", weights: Value | Path = "shipped"
    ) -> xai.LoadedModel:
        return self._loaded(name, self.network(), {}, trained_on, weights)

    def _loaded(
        self,
        name: str | None,
        model: nn.Module,
        variant: Mapping[str, Value],
        trained_on: str,
        weights: Value | Path,
        size: int = SIZE,
    ) -> xai.LoadedModel:
        """Return the network with the weights of a variant, for images of a size.

        The weights file is named after the variant's options.
        """
        check_no_name(self.name, name)
        check_choice("trained_on", trained_on, TRAINED_ON)
        if weights == "shipped":
            fit_shipped(model, "-".join([self.name, *map(str, variant.values()), trained_on]))
        elif trained_on != TRAINED_ON[0]:
            raise OptionError(
                f"{self.name}: trained_on= selects weights of the package; pass trained_on= or weights=, not both"
            )
        elif weights is not None:
            fit(model, read_state_dict(weights), weights)
        options: dict[str, Value] = {**variant, "trained_on": trained_on}
        if weights != "shipped":
            options = {**variant, "weights": None if weights is None else str(weights)}
        elif trained_on == TRAINED_ON[0]:
            options = {**variant}
        if size != SIZE:
            options = {"size": size, **options}
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(resize_and_crop(size, size, _MEAN, _STD)),
            class_names=tuple(outlines.CLASSES),
            restore=Restore(_MEAN, _STD),
            spec=str(Spec(self.name, None, options)),
        )

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the module, with random weights."""


class ShapesViT(ShapesModel):
    """A vision transformer for `shapes`, with its weights: `shapes-vit`, `shapes-vit:pool=class`.

    The model is `cifar-vit` with 64 overlapping patches of 8x8 pixels.

    Options: `pool` selects the input of the classification head: the `max` of each feature over the patches (default),
    or a `class` token. `trained_on` is `shapes` (default) or `shapes-shortcut`. `weights` is a file, or `none` for
    random weights.
    """

    name = "shapes-vit"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, pool: str = "max", trained_on: str = "shapes", weights: Value | Path = "shipped"
    ) -> xai.LoadedModel:
        check_choice("pool", pool, POOLS)
        variant = {} if pool == POOLS[0] else {"pool": pool}
        return self._loaded(name, self.network(pool), variant, trained_on, weights)

    def network(self, pool: str = "max") -> nn.Module:
        return CifarViT(
            size=SIZE,
            patch=8,
            dim=128,
            heads=4,
            depth=4,
            mlp=256,
            dropout=0.0,
            num_classes=len(outlines.CLASSES),
            stem="convolutions",
            pool=pool,
        )


class ShapesCBAM(ShapesModel):
    """A small ResNet with CBAM for `shapes`, with its weights: `shapes-cbam`, `shapes-cbam:trained_on=shapes-shortcut`.

    The last feature map has 8x8 cells.

    Options: `trained_on` and `weights`, as for `shapes-vit`.
    """

    name = "shapes-cbam"

    def network(self) -> nn.Module:
        from xai_zoo.small_resnet import SmallResNet

        return SmallResNet(width=24, blocks=(1, 1, 2), reduction=8, kernel=7, num_classes=len(outlines.CLASSES))
