"""Models from torchvision."""

import re
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import xai_core as xai
from xai_core.plugin import CheckpointError, ModelSource, Spec, UnknownModelError, Value, suggest
from xai_zoo.checkpoint import fit, read_state_dict
from xai_zoo.image_options import ImageOptions
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.prefixes import StateDict
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop
from xai_zoo.unknown_option import option_error

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchvision.models._api import WeightsEnum

_BEST = "DEFAULT"
# Published weights of these two require the input transform. Their initialization is slow and deprecated.
_INCEPTION = {"transform_input": True, "init_weights": False}


class TorchvisionModels(ModelSource):
    """torchvision's classifiers: `torchvision:resnet50`, `torchvision:resnet50,weights=FILE,num_classes=10`.

    Options: `weights` is a file, `none` for random weights, or a name of torchvision such as `IMAGENET1K_V1`. The
    default is torchvision's best weights, which are downloaded once. `num_classes` is the size of the classification
    head. `size`, `mean` and `std` replace the preprocessing of the model. Other options are passed to torchvision.
    """

    name = "torchvision"
    test_spec = "torchvision:resnet18,weights=none"

    def names(self) -> Sequence[str]:
        return _torchvision().list_models(module=_torchvision())

    def load(
        self,
        name: str | None,
        weights: Value | Path = _BEST,
        num_classes: int | None = None,
        size: Value = None,
        mean: Value = None,
        std: Value = None,
        **options: Any,
    ) -> xai.LoadedModel:
        images = ImageOptions.read(size, mean, std)
        if name is None or name not in self.names():
            raise UnknownModelError(f"torchvision has no classifier {name!r}; {suggest(name or '', self.names())}")
        published = _published(name)
        pretrained = published.get(weights.upper()) if isinstance(weights, str) else None
        if weights == _BEST and pretrained is None:
            raise CheckpointError(f"torchvision publishes no weights for {name}; pass weights=FILE or weights=none")
        build_options = options if num_classes is None else {"num_classes": num_classes, **options}
        state = read_state_dict(weights) if weights is not None and pretrained is None else None
        model = _build(name, pretrained, {**_of_size(name, images), **build_options})
        if state is not None:
            fit(model, _current_names(state), weights)
        shown = str(weights) if isinstance(weights, Path) else weights
        described = pretrained or published.get(_BEST)
        transform, restore = _transform(described, model, images)
        written = {**images.as_written(), **build_options}
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=Preprocess(transform),
            class_names=described.meta["categories"] if described and num_classes is None else None,
            restore=restore,
            spec=str(Spec(self.name, name, written if weights == _BEST else {"weights": shown, **written})),
        )


def _torchvision() -> ModuleType:
    from torchvision import models

    return models


def _published(name: str) -> Mapping[str, "WeightsEnum"]:
    try:
        return _torchvision().get_model_weights(name).__members__
    except ValueError:
        return {}


def _build(name: str, pretrained: "WeightsEnum | None", options: dict[str, Any]) -> "nn.Module":
    if pretrained is None and name in ("googlenet", "inception_v3"):
        options = {**_INCEPTION, **options}
    try:
        return _torchvision().get_model(name, weights=pretrained, progress=False, **options)
    except (TypeError, ValueError) as error:
        weights = {} if pretrained is None else {"weights": str(pretrained)}
        raise option_error(f"torchvision:{name}", {**weights, **options}, error) from error
    except (OSError, HTTPException, RuntimeError) as error:
        if pretrained is None:
            raise
        raise CheckpointError(
            f"{pretrained} could not be loaded from {pretrained.url} ({error}); pass weights=FILE with a local copy,"
            " or weights=none for random weights"
        ) from error


def _of_size(name: str, images: ImageOptions) -> dict[str, Any]:
    """Return the option of vision transformers, which are built for one image size."""
    return {"image_size": images.size[0]} if name.startswith("vit_") and images.size else {}


def _transform(
    weights: "WeightsEnum | None", model: "nn.Module", images: ImageOptions
) -> "tuple[Callable[..., Tensor], Restore]":
    """Return the transform of the published weights, for the image size of the model or user, and its inverse."""
    published = None if weights is None else weights.transforms()
    crop, resize = (224, 256) if published is None else (published.crop_size[0], published.resize_size[0])
    mean, std = images.normalization(*((MEAN, STD) if published is None else (published.mean, published.std)))
    size = images.size or (getattr(model, "image_size", crop),) * 2
    height, width = (round(side * resize / crop) for side in size)
    if weights is None or size[0] != size[1]:
        return resize_and_crop((height, width), size, mean, std), Restore(mean, std)
    return weights.transforms(crop_size=size[0], resize_size=height, mean=mean, std=std), Restore(mean, std)


def _current_names(state: StateDict) -> StateDict:
    """Rename old names such as `norm.1` in published DenseNet files, as torchvision does after a download."""
    old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
    return {old.sub(r"\1", key): value for key, value in state.items()} if any(map(old.search, state)) else state
