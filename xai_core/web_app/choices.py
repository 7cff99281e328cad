"""Choices of the page for a model, as options of the components of Gradio."""

from collections.abc import Sequence
from typing import Any

from xai_core.web_app.chosen_model import ChosenModel, Explained
from xai_core.web_app.found_in_photo import Found

PREDICTED = ("Predicted class", -1)
BEST = ("Best detection", -1)
LARGEST = ("Largest region", -1)
DEFAULT_LAYER = ("Default of each method", "")
MOST_METHODS = 8


def methods(model: ChosenModel) -> dict[str, Any]:
    """Return the options of the methods. Users can also type a spec, such as `rise:masks=500`."""
    return {
        "choices": [*model.methods],
        "value": model.selected,
        "multiselect": True,
        "max_choices": MOST_METHODS,
        "allow_custom_value": True,
    }


def classes(model: ChosenModel) -> dict[str, Any]:
    """Return the options of the explained class. The detections or the regions in a photo are not known yet."""
    if model.explained in (Explained.DETECTION, Explained.REGION):
        return {**found_in_photo(model, (), None), "visible": True}
    return {
        "choices": [PREDICTED, *model.classes],
        "value": PREDICTED[1],
        "label": "Class",
        "interactive": bool(model.classes),
        "visible": model.explained is Explained.CLASS,
    }


def found_in_photo(model: ChosenModel, found: Sequence[Found], chosen: object) -> dict[str, Any]:
    """Return the options of the detection or the region. The chosen one is selected if it is found."""
    default, label = (LARGEST, "Region") if model.explained is Explained.REGION else (BEST, "Detection")
    names = [str(each) for each in found]
    value = chosen if chosen in names else default[1]
    choices = [default, *((name, name) for name in names)]
    return {"choices": choices, "value": value, "label": label, "interactive": True}


def text(model: ChosenModel) -> dict[str, Any]:
    """Return the options of the explained text, for a model that compares images with texts."""
    return {"visible": model.explained is Explained.TEXT}


def layers(model: ChosenModel) -> dict[str, Any]:
    """Return the options of the layer, for methods that have this option."""
    return {"choices": [DEFAULT_LAYER, *((name, name) for name in model.layers)], "value": DEFAULT_LAYER[1]}


def attention_layers(model: ChosenModel) -> dict[str, Any]:
    """Return the options of the layer whose attention is shown: the last layer first."""
    names = [layer.name for layer in model.attention]
    return {"choices": names, "value": names[-1] if names else None, "visible": bool(names)}


def tokens(model: ChosenModel) -> dict[str, Any]:
    """Return the options of the query token whose attention is shown."""
    most = max((layer.tokens for layer in model.attention), default=2) - 1
    return {"minimum": 0, "maximum": most, "value": 0, "visible": bool(model.attention)}
