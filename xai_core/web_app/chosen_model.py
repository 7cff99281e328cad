"""A model of the app, with the methods, layers and classes that a user can choose from."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

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
from xai_core.targets.score_reader import ScoreReader

PREFERRED = ("grad-cam", "layer-cam", "generic-attention", "rollout", "occlusion", "eigen-cam")
"""Methods that are selected by default, if they are compatible with the model."""
SELECTED = 3
_SIDE = 256


class Explained(Enum):
    """The part of a model's output that a user chooses to explain."""

    CLASS = "class"
    DETECTION = "detection"
    REGION = "region"
    TEXT = "text"


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
        Names of the layers with spatial outputs, without the whole model, whose name is empty.
    attention
        The layers with attention over the image.
    classes
        Label and id of each class. Labels are unique.
    explained
        Whether a user chooses a class, a detection or a region in the photo, or writes a text.
    """

    engine: Engine
    loaded: LoadedModel
    methods: Sequence[str]
    layers: Sequence[str]
    attention: Sequence[AttentionLayer]
    classes: Sequence[tuple[str, int]]
    explained: Explained = Explained.CLASS

    @classmethod
    def of(cls, engine: Engine) -> "ChosenModel":
        """Find the methods, layers and classes of a model with one noise image.

        Raises
        ------
        InputTypeError
            If the engine was created with a module, whose preprocessing is not known.
        UnsuitableError
            If no installed method is compatible with the model.
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
        methods = [name for name in list_explainers() if _is_compatible(name, adapter)]
        if not methods:
            raise UnsuitableError("no installed method is compatible with this model: run `pip install xai-core[all]`")
        layers = [row.name for row in spatial_layers(adapter) if row.name]
        attention, classes = _attention(engine, images), _classes(engine, images)
        return cls(engine, loaded, methods, layers, attention, classes, _explained(loaded, adapter.score_reader))

    @property
    def selected(self) -> list[str]:
        """The methods that are selected by default."""
        preferred = [name for name in PREFERRED if name in self.methods]
        return (preferred or [*self.methods])[:SELECTED]


def _explained(loaded: LoadedModel, reader: ScoreReader) -> Explained:
    if loaded.tokenizer is not None:
        return Explained.TEXT
    if reader.is_detector:
        return Explained.DETECTION
    return Explained.REGION if reader.is_segmenter else Explained.CLASS


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
