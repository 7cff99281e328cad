"""A model of the app, with the methods, layers and classes that a user can choose from."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.configurable import MADE_OF
from xai_core.data.class_names import class_name
from xai_core.data.sources import LoadedModel
from xai_core.engine import Engine
from xai_core.errors import InputTypeError, ModelOutputError, UnsuitableError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.layer_table import spatial_layers
from xai_core.plugins.creation import create_explainer
from xai_core.plugins.registry import list_explainers

PREFERRED = ("grad-cam", "layer-cam", "generic-attention", "rollout", "occlusion", "eigen-cam")
"""Methods that are selected by default, if they are compatible with the model."""
SELECTED = 3
_SIDE = 256


@dataclass(frozen=True)
class AttentionLayer:
    """A layer whose attention can be drawn over the image, with its number of tokens."""

    name: str
    tokens: int


@dataclass(frozen=True, eq=False)
class ChosenModel:
    """A model of the app, with the options that a user can choose.

    Attributes
    ----------
    engine
        The engine.
    loaded
        The model with its preprocessing.
    methods
        Names of the compatible methods, without composite methods.
    layers
        Names of the layers with spatial outputs.
    attention
        The layers with attention over the image.
    classes
        Label and id of each class. Labels are unique.
    is_detector
        Whether a user chooses from the detections in a photo instead of classes.
    """

    engine: Engine
    loaded: LoadedModel
    methods: Sequence[str]
    layers: Sequence[str]
    attention: Sequence[AttentionLayer]
    classes: Sequence[tuple[str, int]]
    is_detector: bool = False

    @classmethod
    def of(cls, engine: Engine) -> "ChosenModel":
        """Find the methods, layers and classes of a model with one noise image.

        Raises
        ------
        InputTypeError
            If the engine was created with a module, whose preprocessing is not known.
        UnsuitableError
            If no installed method is compatible with the model, or if the model is for segmentation or for texts.
        """
        loaded = engine.loaded
        if loaded is None:
            raise InputTypeError(
                "the app needs the preprocessing of the model: create the engine with a LoadedModel, such as "
                "Engine(LoadedModel(model, preprocess)) or Engine(load_model(...))"
            )
        noise = torch.rand(3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
        images = loaded.preprocess(noise)[None]
        adapter = engine.adapter(images)
        if adapter.score_reader.is_segmenter or loaded.tokenizer is not None:
            raise UnsuitableError(
                "the app explains classifiers and detectors; for segmentation models and models that compare images "
                "with texts, use `xai explain` or `Engine.explain`"
            )
        methods = [name for name in list_explainers() if _is_compatible(name, adapter)]
        if not methods:
            raise UnsuitableError("no installed method is compatible with this model: run `pip install xai-core[all]`")
        layers = [row.name for row in spatial_layers(adapter)]
        attention, classes = _attention(engine, images), _classes(engine, images)
        return cls(engine, loaded, methods, layers, attention, classes, adapter.score_reader.is_detector)

    @property
    def selected(self) -> list[str]:
        """The methods that are selected by default."""
        preferred = [name for name in PREFERRED if name in self.methods]
        return (preferred or [*self.methods])[:SELECTED]


def _is_compatible(name: str, adapter: ModelAdapter) -> bool:
    try:
        explainer = create_explainer(name)
        if not MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
            return False
        explainer.needs(adapter)
    except Exception:  # a plugin can raise any error, and only its own method is left out
        return False
    return True


def _attention(engine: Engine, images: Float[Tensor, "1 C H W"]) -> list[AttentionLayer]:
    try:
        record = engine.attention(images, rows=0)
    except UnsuitableError:
        return []
    return [AttentionLayer(layer.name, layer.weights.shape[-1]) for layer in record.layers if layer.grid is not None]


def _classes(engine: Engine, images: Float[Tensor, "1 C H W"]) -> list[tuple[str, int]]:
    try:
        count = engine.predict(images, top=1 << 31).ids.shape[1]
    except ModelOutputError:
        return []
    names = [class_name(number, engine.class_names) for number in range(count)]
    repeated = {name for name in names if names.count(name) > 1} if len({*names}) < count else set()
    return [(f"{name} ({number})" if name in repeated else name, number) for number, name in enumerate(names)]
