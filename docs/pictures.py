"""Makes the pictures of the methods' pages, the gallery of them all, and the README's.

    python docs/pictures.py                      every installed method, then the gallery and the README's
    python docs/pictures.py grad-cam layer-cam   these methods only
    python docs/pictures.py gallery              the gallery only, from the pictures that are there
    python docs/pictures.py readme               the README's only

Each picture is an overlay for the predicted class, of the first of `SUBJECTS` that the method suits: a photograph, or a
shape where methods read what the model for photographs does not have: attention, gates and detections.
"""

import io
import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import xai_core as xai
from xai_core.errors import LayerError, UnsuitableError
from xai_core.plugin import normalize, resize
from xai_core.visualization import overlays
from xai_core.visualization.photos import model_view

SUBJECTS = (
    ("efficientnet-lite0", "photos:motorcycle", 0),
    ("shapes-vit:pool=class", "shapes:split=test", 8),
    ("shapes-cbam", "shapes:split=test", 8),
    ("shapes-detector", "shapes:split=test", 8),
)
SEGMENTED = ("shapes-unet", "shapes:split=test", 8, 8)
"""A model for segmentation, an image, and the class whose region methods with the prefix `seg-` explain."""
FEWER = {
    "rise": "rise:masks=1000",
    "d-rise": "d-rise:masks=1000",
    "extremal-perturbation": "extremal-perturbation:areas=0.1,steps=200",
}
"""Methods that would take minutes, as specs that take fewer forwards; their pages say so."""
FOR_TRANSFORMERS = ("attn-lrp", "cp-lrp")
"""Methods whose rules are for transformers, and which are shown on the first of these."""
IMAGES = Path(__file__).parent / "images"
METHODS, GALLERY, README = IMAGES / "methods", IMAGES / "gallery.webp", IMAGES / "readme.webp"
SHOWN = (
    ("efficientnet-lite0", "photos:coffee", 0, ("grad-cam", "conceptor-cam", "score-cam", "full-grad")),
    ("efficientnet-lite0", "photos:rocket", 0, ("grad-cam", "conceptor-cam", "score-cam", "full-grad")),
    ("shapes-vit", "shapes:split=test", 8, ("rollout", "generic-attention", "legrad", "hires-cam")),
    ("shapes-cbam", "shapes:split=test", 8, ("spatial-attention", "channel-attention", "grad-cam", "ablation-cam")),
)
COLUMNS, TILE, LABEL, GAP = 5, 164, 22, 8
SIDE = 224


def main(names: list[str]) -> int:
    """Make what is named, or everything; give how many pictures failed."""
    unknown = set(names) - {*xai.list_explainers(), "gallery", "readme"}
    if unknown:
        raise SystemExit(f"no such method: {', '.join(sorted(unknown))}; installed: {', '.join(xai.list_explainers())}")
    subjects = [Subject(*subject) for subject in SUBJECTS] if names != ["readme"] else []
    failed = 0
    METHODS.mkdir(parents=True, exist_ok=True)
    methods = [name for name in names if name not in ("gallery", "readme")] if names else xai.list_explainers()
    for name in methods:
        start = time.perf_counter()
        possible = [Subject(*SEGMENTED)] if name.startswith("seg-") else subjects[name in FOR_TRANSFORMERS :]
        picture = next((made for subject in possible if (made := subject.explained(FEWER.get(name, name)))), None)
        if picture is None:
            print(f"{name}: no picture")
            failed += 1
            continue
        size = save(picture, METHODS / f"{name}.webp", 60_000)
        print(f"{name}: {size / 1000:.0f} kB in {time.perf_counter() - start:.1f} s")
    if not names or "gallery" in names:
        made = {path.stem: Image.open(path).convert("RGB") for path in sorted(METHODS.glob("*.webp"))}
        tiles = [("photograph", subjects[0].photo), ("shape", subjects[1].photo), *made.items()]
        print(f"gallery of {len(made)}: {save(grid(tiles), GALLERY, 600_000) / 1000:.0f} kB")
    if not names or "readme" in names:
        print(f"readme: {save(grid(shown()), README, 600_000) / 1000:.0f} kB")
    return failed


class Subject:
    """A model, and one image of a data set as it sees it."""

    def __init__(self, model: str, data: str, item: int, region: int | None = None) -> None:
        loaded = xai.load_model(model)
        self.target = None if region is None else xai.Region(region)
        self.engine = xai.Engine(loaded)
        self.image = loaded.preprocess(xai.load_dataset(data)[item].image)[None]
        self.photo = model_view(self.image[0], loaded.restore).resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    def explained(self, name: str) -> Image.Image | None:
        """The overlay of a method's map, or None where there is none, or it is constant."""
        try:
            [saliency] = self.engine.explain(self.image, name, self.target).values()
        except (UnsuitableError, LayerError) as error:
            print(f"{name}: not here: {error}")
            return None
        if bool(saliency.constant[0]):
            print(f"{name}: not here: the map is constant")
            return None
        return overlays.overlay(self.photo, normalize(resize(saliency.raw, (SIDE, SIDE)))[0])


def shown() -> list[tuple[str, Image.Image]]:
    """An image of each of `SHOWN`, before its overlays."""
    tiles = []
    for model, data, item, methods in SHOWN:
        subject = Subject(model, data, item)
        tiles.append((model, subject.photo))
        for name in methods:
            picture = subject.explained(name)
            assert picture is not None, name
            tiles.append((name, picture))
    return tiles


def grid(tiles: list[tuple[str, Image.Image]]) -> Image.Image:
    """Lay tiles out in a grid with the name under each."""
    rows = -(-len(tiles) // COLUMNS)
    wide, high = TILE + GAP, TILE + LABEL + GAP
    sheet = Image.new("RGB", (COLUMNS * wide + GAP, rows * high + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (name, tile) in enumerate(tiles):
        left, top = GAP + number % COLUMNS * wide, GAP + number // COLUMNS * high
        sheet.paste(tile.resize((TILE, TILE), Image.Resampling.LANCZOS), (left, top))
        draw.text((left + TILE / 2, top + TILE + LABEL / 2), name, "#222226", font, "mm")
    return sheet


def save(image: Image.Image, path: Path, limit: int) -> int:
    """Save an image as WebP. Return the number of bytes, which must not exceed the limit."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    content = buffer.getvalue()
    if len(content) > limit:
        raise SystemExit(f"{path} would take {len(content)} bytes; the limit is {limit}")
    path.write_bytes(content)
    return len(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
