"""Makes the images of the how-to pages about detectors, texts and several inputs, with models that need no download.

python docs/how_to_pictures.py
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from visualization_pictures import save_figure

import xai_core as xai
from xai_core.visualization.figures import Cell, grid_figure
from xai_core.visualization.photos import model_view

IMAGES = Path(__file__).parent / "images" / "how-to"
TEXTS = {3: ["a red square", "a blue star"], 9: ["a green heart", "a red triangle"]}
"""The texts of both objects in images of `shapes-text`."""


def main() -> None:
    """Write all images."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    save_figure("detector", detector(), dpi=80, folder=IMAGES)
    save_figure("clip", texts(), dpi=80, folder=IMAGES)
    save_figure("two-inputs", two_inputs(), folder=IMAGES)


def detector() -> Figure:
    """Explain detections in an image of four objects."""
    shapes = xai.load_model("shapes-detector:size=128")
    samples = xai.load_dataset("shapes:split=test")
    four = [samples[i].image for i in (8, 3, 25, 10)]
    scene = torch.cat([torch.cat(four[:2], 2), torch.cat(four[2:], 2)], 1)
    engine, image = xai.Engine(shapes), xai.load_image(scene, shapes)
    [objects] = engine.detect(image, threshold=0.7)
    rows = []
    for detected in objects:
        maps = engine.explain(image, ["odam", "d-rise:masks=2000"], xai.Box(detected.box, detected.label))
        rows.append([Cell(model_view(image[0], shapes.restore), f"{detected.name} {detected.score:.2f}")])
        rows[-1] += [Cell(saliency.overlay(), key.partition(":")[0]) for key, saliency in maps.items()]
    return grid_figure(rows)


def texts() -> Figure:
    """Explain two images of two objects for the text of each object."""
    shapes, samples = xai.load_model("shapes-clip"), xai.load_dataset("shapes-text:split=test")
    engine, rows = xai.Engine(shapes), []
    for item, described in TEXTS.items():
        image = xai.load_image(samples[item].image, shapes)
        row = [Cell(model_view(image[0], shapes.restore))]
        for text in described:
            for method in ("grad-eclip", "occlusion:size=12,stride=4,score=logit"):
                maps = engine.explain(image, method, target=xai.Text(text))[method]
                row.append(Cell(maps.overlay(), method.partition(":")[0], text))
        rows.append(row)
    return grid_figure(rows)


def two_inputs() -> Figure:
    """Explain why two images are similar."""
    shapes = xai.load_model("shapes-vit:pool=class")
    samples = [sample for sample in list(xai.load_dataset("shapes:split=test"))[:100] if sample.target == 8]
    left, right = (xai.load_image(sample.image, shapes) for sample in samples[:2])
    engine = xai.Engine(Similarity(shapes.model))
    each = engine.explain((left, right), "generic-attention", target=0)
    pairs = zip((left, right), each, ("left", "right"), strict=True)
    return grid_figure(
        [
            [cell for image, maps, side in pairs for cell in (
                Cell(model_view(image[0], shapes.restore), side), Cell(maps["generic-attention"].overlay(), side)
            )]
        ]
    )  # fmt: skip


class Similarity(nn.Module):
    """The cosine similarity of two images [B,1]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.cosine_similarity(self.encoder(left), self.encoder(right))[:, None]


if __name__ == "__main__":
    main()
