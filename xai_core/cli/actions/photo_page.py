"""Page of `xai explain`: all photos of the folder with their maps."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xai_core import files
from xai_core.cli.actions.photo_files import Record, described, is_other, predicted_of
from xai_core.data.image_names import short_names
from xai_core.report.page import LEAD, render
from xai_core.report.page_content import PageImage, PageMap, PagePhoto, PageSection

PAGE = "index.html"
SIGNED = "In maps with negative values, red supports the class and blue opposes it."


def write_page(
    out: Path, model: str, records: Sequence[Record], skipped: Mapping[str, str], about: Mapping[str, str]
) -> None:
    """Write the page of all photos, with a row for each photo and target."""
    names = short_names([record["image"] for record in records])
    photos = [photo for record, name in zip(records, names, strict=True) for photo in _photos(record, name)]
    section = PageSection(model, photos, skipped=skipped)
    files.write_file(out / PAGE, render("Saliency maps", f"{LEAD} {SIGNED}", [section], about))


def _photos(record: Record, name: str) -> Iterator[PagePhoto]:
    """Iterate over the targets of a photo, with the maps that have a preview."""
    by_target: dict[str, list[Record]] = {}
    for row in record["maps"]:
        if row.get("preview"):
            by_target.setdefault(row["target"], []).append(row)
    predicted = predicted_of(record)
    for target, rows in by_target.items():
        classes = {"predicted": described(predicted)} if predicted else {}
        if is_other(rows[0], predicted):
            classes = {"explained": described({**rows[0], "name": target}), **classes}
        yield PagePhoto(
            title=name if len(by_target) == 1 else f"{name}: {target}",
            image=_image(record, record["preview"], record["preview"]),
            classes=classes,
            maps=[
                PageMap(
                    row["method"],
                    row["group"],
                    _image(record, row["preview"], row["overlay"]),
                    ["constant map"] * row["constant"],
                )
                for row in rows
            ],
            files={"contact sheet": record["sheet"]},
        )


def _image(record: Record, preview: str, file: str) -> PageImage:
    width, height = record["preview_size"]
    return PageImage(preview, file, width, height)
