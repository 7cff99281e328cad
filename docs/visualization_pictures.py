"""Makes the images of the page about visualization, from photos and models that come with the project.

python docs/visualization_pictures.py

The image of DINOv2's attention requires `uv sync --group dinov2`.
"""

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

import xai_core as xai
from xai_core.visualization.encoding import encode, encode_figure
from xai_core.visualization.figures import Cell, grid_figure
from xai_core.visualization.overlays import part_overlays
from xai_core.visualization.photos import model_view

IMAGES = Path(__file__).parent / "images" / "visualization"
LIMIT = 150_000


def main() -> None:
    """Write all images."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    loaded = xai.load_model("efficientnet-lite0")
    photos = [sample.image for sample in xai.load_dataset("photos")]
    coffee, rocket, motorcycle = photos[1], photos[2], photos[4]
    engine = xai.Engine(loaded)
    first = engine.explain(xai.load_image(coffee, loaded), "grad-cam")["grad-cam"]
    save("first-map", first.overlay(coffee))
    styles = {
        "default": {},
        'cmap="viridis"': {"cmap": "viridis"},
        "alpha=0.5": {"alpha": 0.5},
        "contours=(0.25, 0.5, 0.75)": {"contours": (0.25, 0.5, 0.75)},
        "alpha=0, contours=True": {"alpha": 0, "contours": True},
    }
    save_figure("styles", grid_figure([[Cell(first.overlay(coffee, **style), name) for name, style in styles.items()]]))
    images = xai.load_image([rocket, motorcycle], loaded)
    maps = engine.explain(images, ["grad-cam", "full-grad", "occlusion", "input-x-gradient"])
    scores = engine.evaluate(images, maps, ["insertion:steps=14", "deletion:steps=14"])
    save_figure("grid", xai.draw([rocket, motorcycle], maps, scores))
    curves = Figure((5, 3.2), layout="constrained")
    ax = curves.subplots()
    for name in maps:
        scores[name]["insertion:steps=14"][0].plot(ax, name)
    save_figure("curves", curves)
    shapes = xai.load_model("shapes-vit:pool=class")
    star = xai.load_image(xai.load_dataset("shapes:split=test")[8].image, shapes)
    save_figure("attention", xai.Engine(shapes).attention(star, rows=0).plot())
    save_figure("heads", grid_figure([heads("astronaut", "336"), heads("chelsea", "224x336")]), dpi=80)
    save_figure("concepts", grid_figure([concepts("motorcycle")]), dpi=80)


def heads(photo: str, size: str) -> list[Cell]:
    """Return a photo, the attention of DINOv2's class token in the last layer, and the attention of each head."""
    loaded = xai.load_model(f"dinov2-small:size={size}")
    [sample] = xai.load_dataset(f"photos:{photo}")
    [saliency] = xai.Engine(loaded).explain(xai.load_image(sample.image, loaded), "head-attention").values()
    assert saliency.parts is not None
    parts = part_overlays(sample.image, saliency.parts[0])
    named = {photo: sample.image, "mean": saliency.overlay(sample.image)}
    named |= {f"head {number}": part for number, part in enumerate(parts)}
    return [Cell(image, name) for name, image in named.items()]


def concepts(photo: str) -> list[Cell]:
    """Return a photo, its map by `dff`, and the map of each concept with its share of the positive evidence."""
    loaded = xai.load_model("efficientnet-lite0")
    [sample] = xai.load_dataset(f"photos:{photo}")
    image = xai.load_image(sample.image, loaded)
    [saliency] = xai.Engine(loaded).explain(image, "dff").values()
    assert saliency.parts is not None
    assert saliency.weights is not None
    evidence = (saliency.weights * saliency.parts.sum((2, 3)))[0].relu()
    view = model_view(image[0], loaded.restore)
    parts = part_overlays(view, saliency.parts[0])
    named = {photo: view, "dff": saliency.overlay(view)}
    named |= {
        f"concept {number} ({share:.0%})": part
        for number, (part, share) in enumerate(zip(parts, (evidence / evidence.sum()).tolist(), strict=True))
    }
    return [Cell(image, name) for name, image in named.items()]


def save_figure(name: str, figure: Figure, dpi: int = 105, folder: Path = IMAGES) -> None:
    """Draw a figure and save it as WebP."""
    save(name, Image.open(io.BytesIO(encode_figure(figure, dpi=dpi))).convert("RGB"), folder)


def save(name: str, image: Image.Image, folder: Path = IMAGES) -> None:
    """Save an image as WebP, and print its number of bytes."""
    content = encode(image, "WEBP")
    if len(content) > LIMIT:
        raise SystemExit(f"{name} would take {len(content)} bytes; the limit is {LIMIT}")
    (folder / f"{name}.webp").write_bytes(content)
    print(f"{name}: {image.width}x{image.height}, {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
