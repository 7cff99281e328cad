"""Files that `xai explain` writes for each photo: overlays, arrays, a contact sheet, and a record in JSON."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL.Image import Image

from xai_core import files
from xai_core.cli.actions.photo_explanation import ExplainedPhoto, PhotoMap
from xai_core.report.csv_text import csv_text
from xai_core.report.page import preview, webp
from xai_core.report.results import Prediction, in_words
from xai_core.visualization.encoding import encode_figure, png
from xai_core.visualization.figures import Cell, grid_figure
from xai_core.visualization.overlays import part_overlays, side_by_side

Record = dict[str, Any]
"""The content of the JSON file of an explained photo."""
MEASURED = ("method", "target", "target_id", "probability", "share", "logit")
WRITTEN = ("constant", "overlay", "array")
COLUMNS = ("image", *MEASURED, "box", "predicted", *WRITTEN)
SHEET_COLUMNS = 8
_THUMBNAIL = (420, 420)
_DRAWING = Lock()  # matplotlib does not support threads


def write_photo(explained: ExplainedPhoto, out: Path, previous: Record | None, page: bool) -> Record:
    """Write the files of a photo and return its record, which is written last.

    Parameters
    ----------
    explained
        The photo with its maps.
    out
        The folder.
    previous
        The record of an earlier run with other methods, whose maps are kept in the record.
    page
        Whether to write previews for a page.
    """
    photo, maps = explained.photo, explained.maps
    targets, methods = _slugs([each.target.name for each in maps]), [*dict.fromkeys(each.method for each in maps)]
    slugs = dict(zip(methods, files.distinct(methods), strict=True))
    overlays = [each.saliency.overlay(explained.shown) for each in maps]
    rows = []
    for each, overlay in zip(maps, overlays, strict=True):
        name = ".".join(filter(None, (photo.name, targets[each.target.name], slugs[each.method])))
        rows.append(_write_map(each, overlay, out, name, page))
    files.write_file(out / f"{photo.name}.sheet.png", _sheet(explained, overlays))
    original = preview(explained.shown or maps[0].saliency.overlay(alpha=0)) if page and maps else None
    if original is not None:
        files.write_file(out / f"{photo.name}.original.webp", webp(original))
    record = {
        "image": str(photo.path),
        "sha256": photo.digest,
        "size": list(photo.image.size),
        "predictions": [_record(each) for each in explained.predictions],
        "sheet": f"{photo.name}.sheet.png",
        "preview": None if original is None else f"{photo.name}.original.webp",
        "preview_size": None if original is None else list(original.size),
        "maps": [row for row in (previous or {}).get("maps", ()) if row["method"] not in slugs] + rows,
        "skipped": dict(explained.skipped),
        "failures": list(explained.failures),
    }
    files.write_file(out / f"{photo.name}.json", json.dumps(record, indent=1))
    return record


def _record(prediction: Prediction) -> Record:
    """Return the record of a predicted class, of a detection with its box, or of a region with its share of pixels."""
    record: Record = {"id": prediction.id, "name": prediction.name, "probability": _rounded(prediction.probability)}
    if prediction.share is not None:
        record["share"] = _rounded(prediction.share)
    return record if prediction.box is None else {**record, "box": list(prediction.box)}


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)


def predicted_of(record: Record) -> Record | None:
    """Return the first prediction of a photo. A detector may have none."""
    predictions = record["predictions"]
    return predictions[0] if predictions else None


def is_other(row: Record, predicted: Record | None) -> bool:
    """Return whether a map explains something else than the first prediction."""
    return predicted is None or (row["target_id"], row["target"]) != (predicted["id"], predicted["name"])


def described(row: Record) -> str:
    """Return the name of a prediction, with its probability or its share of pixels."""
    return in_words(row["name"], row["probability"], row.get("share"))


def write_table(out: Path, records: Sequence[Record]) -> None:
    """Write the table of all maps as comma-separated values."""
    rows = [
        (
            record["image"],
            *(row[column] for column in MEASURED),
            " ".join(f"{side:g}" for side in row["box"] or ()),
            (predicted_of(record) or {"name": ""})["name"],
            *(row[column] for column in WRITTEN),
        )
        for record in records
        for row in record["maps"]
    ]
    files.write_file(out / "maps.csv", csv_text(COLUMNS, rows))


def _slugs(targets: Sequence[str]) -> Mapping[str, str]:
    """Return the part of file names for each target. It is empty if there is one target."""
    names = [*dict.fromkeys(targets)]
    return dict(zip(names, files.distinct(names) if len(names) > 1 else [""], strict=bool(names)))


def _write_map(each: PhotoMap, overlay: Image, out: Path, name: str, page: bool) -> Record:
    """Write the overlay and the array of a map, its parts if it has any, and its preview for a page."""
    files.write_file(out / f"{name}.png", png(overlay))
    files.write_file(out / f"{name}.npy", _array(each))
    if page:
        files.write_file(out / f"{name}.webp", webp(preview(overlay)))
    saliency = each.saliency
    if saliency.parts is not None and saliency.view is not None:
        parts = side_by_side(part_overlays(saliency.view.photo(0), saliency.parts[0]))
        files.write_file(out / f"{name}.parts.png", png(parts))
    return {
        "method": each.method,
        "group": each.group,
        "target": each.target.name,
        "target_id": each.target.class_id,
        "probability": _rounded(each.probability),
        "share": _rounded(each.target.share),
        "logit": _rounded(each.target.logit),
        "box": None if each.target.box is None else list(each.target.box),
        "constant": bool(saliency.constant[0]),
        "overlay": f"{name}.png",
        "array": f"{name}.npy",
        "preview": f"{name}.webp" if page else None,
    }


def _array(each: PhotoMap) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, each.saliency.values[0].cpu().numpy(), allow_pickle=False)
    return buffer.getvalue()


def _sheet(explained: ExplainedPhoto, overlays: Sequence[Image]) -> bytes:
    """Return a sheet of the photo and its overlays with captions, one row or more for each target, as PNG."""
    caption = "\n".join(map(str, explained.predictions[:3]))
    first = Cell(_thumbnail(explained.photo.image), explained.photo.path.name, caption)
    rows: dict[str, list[Cell]] = {}
    for each, overlay in zip(explained.maps, overlays, strict=True):
        text = in_words(each.target.name, each.probability, each.target.share)
        note = "\nconstant map" if bool(each.saliency.constant[0]) else ""
        rows.setdefault(each.target.name, [first]).append(Cell(_thumbnail(overlay), each.method, text + note))
    cells = [row[start : start + SHEET_COLUMNS] for row in rows.values() for start in range(0, len(row), SHEET_COLUMNS)]
    with _DRAWING:
        return encode_figure(grid_figure(cells or [[first]]), dpi=130)


def _thumbnail(image: Image) -> Image:
    small = image.convert("RGB")
    small.thumbnail(_THUMBNAIL)
    return small
