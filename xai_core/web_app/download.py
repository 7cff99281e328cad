"""The results of a photo as a ZIP file."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from xai_core.files import distinct
from xai_core.saliency import Saliency
from xai_core.segments import Segment
from xai_core.visualization.encoding import png
from xai_core.web_app.curves import Curves
from xai_core.web_app.found_in_photo import Found
from xai_core.web_app.photo_maps import PhotoMaps


def results_zip(explained: PhotoMaps, curves: Curves, opacity: float) -> bytes:
    """Return a ZIP file of the overlays (.png), the maps (.npy), and results.json with predictions and curves.

    Parameters
    ----------
    explained
        The photo with its maps.
    curves
        The curves of each metric.
    opacity
        Opacity of the overlays in [0,1].
    """
    buffer = io.BytesIO()
    names = distinct(explained.maps)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, saliency in zip(names, explained.maps.values(), strict=True):
            file.writestr(f"{name}.png", png(saliency.overlay(explained.shown, alpha=opacity)))
            file.writestr(f"{name}.npy", _npy(saliency))
        file.writestr("results.json", json.dumps(_record(explained, curves, names), indent=2))
    return buffer.getvalue()


def _npy(saliency: Saliency) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, saliency.values[0].cpu().numpy())
    return buffer.getvalue()


def _found(explained: PhotoMaps, each: Found) -> Mapping[str, Any]:
    if isinstance(each, Segment):
        return {"id": each.label, "name": each.name, "share": each.share}
    return {"id": each.label, "name": each.name, "probability": each.score, "box": explained.box(each)}


def _record(explained: PhotoMaps, curves: Curves, names: list[str]) -> Mapping[str, Any]:
    predictions: list[Mapping[str, Any]] = []
    if explained.predictions is not None:
        [ids], [labels], [values] = (
            explained.predictions.ids.tolist(),
            explained.predictions.names,
            explained.predictions.probabilities.tolist(),
        )
        predictions = [
            {"id": number, "name": label, "probability": value}
            for number, label, value in zip(ids, labels, values, strict=True)
        ]
    return {
        "predictions": predictions + [_found(explained, each) for each in explained.found],
        "logit": explained.logit,
        "maps": {method: f"{name}.npy" for method, name in zip(explained.maps, names, strict=True)},
        "failures": explained.failures,
        "curves": {metric: [line._asdict() for line in lines] for metric, lines in curves.items()},
    }
