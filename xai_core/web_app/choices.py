"""Choices of the page for a model, as options of the components of Gradio."""

from collections.abc import Sequence
from typing import Any

from xai_core.detection.listing import Detection
from xai_core.web_app.chosen_model import ChosenModel

PREDICTED = ("Predicted class", -1)
BEST = ("Best detection", -1)
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
    """Return the options of the explained class. For a detector, the list contains no detections yet."""
    if model.is_detector:
        return detections((), None)
    return {"choices": [PREDICTED, *model.classes], "value": PREDICTED[1], "interactive": bool(model.classes)}


def detections(found: Sequence[Detection], chosen: object) -> dict[str, Any]:
    """Return the options of the explained detection. The best one is selected if the chosen one is not found."""
    names = [str(detection) for detection in found]
    value = chosen if chosen in names else BEST[1]
    return {"choices": [BEST, *((name, name) for name in names)], "value": value, "interactive": True}


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
