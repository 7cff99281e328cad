"""Makes the images of the how-to pages about detectors, texts and several inputs, with models that need no download.

python docs/how_to_pictures.py
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from transformers import SiglipConfig, SiglipModel
from visualization_pictures import save_figure

import xai_core as xai
from xai_core.visualization.figures import Cell, grid_figure
from xai_core.visualization.photos import model_view

IMAGES = Path(__file__).parent / "images" / "how-to"
COLORS = {"red": (1, -1, -1), "green": (-1, 1, -1), "blue": (-1, -1, 1), "yellow": (1, 1, -1)}
TEXTS = [f"a {color} square" for color in COLORS]
WORDS = {word: number for number, word in enumerate(["a", "square", *COLORS])}
SIDE, PATCH = 48, 8


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
    """Explain an image of two squares for the text of each square."""
    torch.manual_seed(0)
    model = trained()
    images, present = squares(2)
    engine, rows = xai.Engine(model, tokenizer=tokens), []
    for image, colors in zip(images[:, None], present, strict=True):
        row = [Cell(model_view(image[0], None))]
        for number in colors.nonzero()[:, 0].tolist():
            for method in ("grad-eclip", "occlusion:size=8,stride=4,score=logit"):
                maps = engine.explain(image, method, target=xai.Text(TEXTS[number]))[method]
                row.append(Cell(maps.overlay(), method.partition(":")[0], TEXTS[number]))
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


def tokens(texts: list[str]) -> Tensor:
    """Return the numbers of the words."""
    return torch.tensor([[WORDS[word] for word in text.split()] for text in texts])


def squares(count: int) -> tuple[Tensor, Tensor]:
    """Return images of two squares of different colors, and which colors are in each image."""
    images, present = 0.3 * torch.randn(count, 3, SIDE, SIDE), torch.zeros(count, len(COLORS))
    values = torch.tensor([*COLORS.values()], dtype=torch.float)
    for image, colors in zip(images, present, strict=True):
        places = torch.randperm(9)[:2] * PATCH * 2
        for place, color in zip(places.tolist(), torch.randperm(len(COLORS))[:2].tolist(), strict=True):
            row, column = place // SIDE * PATCH * 2, place % SIDE
            image[:, row : row + 14, column : column + 14] = values[color, :, None, None]
            colors[color] = 1
    return images, present


def trained() -> SiglipModel:
    """Return a small SigLIP that is trained on texts about squares."""
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    text = {**sizes, "vocab_size": len(WORDS), "max_position_embeddings": 3, "projection_size": 48}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    model = SiglipModel(
        SiglipConfig(text_config=text, vision_config={**sizes, "image_size": SIDE, "patch_size": PATCH})
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(1500):
        images, present = squares(32)
        logits = model(input_ids=tokens(TEXTS), pixel_values=images).logits_per_image
        loss = nn.functional.binary_cross_entropy_with_logits(logits, present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 300 == 299:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    return model.eval()


if __name__ == "__main__":
    main()
