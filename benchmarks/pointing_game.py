"""Pointing game on shapes: prints the fraction of images whose most salient pixel is inside the ground-truth mask.

The ground truth of `shapes` is the object that determines the class. The ground truth of `shapes-shortcut` is the mark
that its models rely on. The images are from the test split, and the maps explain the label. The chance level is the
mean fraction of an image inside the mask. A constant map is a miss. For a segmentation model, the maps explain the
label in the mask. For a detector, they explain the detection that matches the box and the label of the object best.
For a model that compares images with texts, they explain the text. Images may be volumes.
"""

import argparse
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

import xai_core as xai
from xai_core.configurable import MADE_OF
from xai_core.errors import ConstantMapWarning, UnsuitableError
from xai_core.plugin import Dataset

BATCH = 50


@dataclass
class MethodScores:
    """Scores of a method's maps, [N] each: hits of the pointing game, and fractions inside the mask and distractors."""

    hits: Tensor
    inside: Tensor
    distracted: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["shapes-vit", "shapes-cbam"])
    parser.add_argument("--data", default="shapes", help="`shapes` or `shapes-shortcut`, and their options")
    parser.add_argument("--count", type=int, default=500, help="number of images")
    parser.add_argument("--forward-passes", type=int, default=50, help="largest number of a method per image")
    parser.add_argument("--without", nargs="*", default=[], help="methods to exclude")
    parser.add_argument("--also", nargs="*", default=[], help="specs of further methods, such as d-rise:masks=500")
    parser.add_argument("--distractors", action="store_true", help="add the fraction of the map on distractors")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConstantMapWarning)
    separator = "," if ":" in options.data else ":"
    data = xai.load_dataset(f"{options.data}{separator}split=test,count={options.count}")
    for spec in options.models:
        print(table(spec, data, options), flush=True)


def table(spec: str, data: Dataset, options: argparse.Namespace) -> str:
    """Return a table in Markdown, with the best method first."""
    loaded = xai.load_model(spec)
    samples = [data[i] for i in range(len(data))]
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    affordable = methods(xai.Engine(loaded), loaded, samples[0], options.forward_passes)
    names = [name for name in affordable if name not in options.without]
    scores = play(loaded, samples, masks, [*names, *options.also])
    chance = masks.float().mean().item()
    heads = ["method", "hits", "95 % interval", "fraction of the map inside the mask", "on distractors"]
    heads = heads if options.distractors else heads[:-1]
    lines = [f"`{spec}`, {len(samples)} images, chance level {chance:.1%}:", "", row(heads)]
    lines.append(row(["---", *["---:"] * (len(heads) - 1)]))
    for name, score in sorted(scores.items(), key=lambda item: -item[1].hits.sum()):
        share = score.hits.mean().item()
        low, high = wilson(share, len(samples))
        cells = [f"`{name}`", f"{share:.1%}", f"{low:.1%} to {high:.1%}", f"{score.inside.mean():.1%}"]
        lines.append(row([*cells, f"{score.distracted.mean():.1%}"][: len(heads)]))
    return "\n".join([*lines, ""])


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def methods(engine: xai.Engine, loaded: xai.LoadedModel, sample: xai.Sample, most_passes: int) -> list[str]:
    """Return the methods that are compatible with the model and need at most that many forward passes."""
    adapter = engine.adapter(loaded.preprocess(sample.image)[None])
    return [name for name in xai.list_explainers() if is_affordable(name, adapter, most_passes)]


def is_affordable(name: str, adapter: xai.ModelAdapter, most_passes: int) -> bool:
    """Return whether a method is compatible, not composite, and needs at most that many forward passes per image."""
    explainer = xai.create_explainer(name)
    if MADE_OF & {*vars(explainer)}:
        return False
    try:
        explainer.needs(adapter)
    except UnsuitableError:
        return False
    return explainer.forward_passes(adapter) <= most_passes


def play(
    loaded: xai.LoadedModel, samples: list[xai.Sample], masks: Tensor, names: list[str]
) -> Mapping[str, MethodScores]:
    """Explain all samples by all methods, and score the maps."""
    engine = xai.Engine(loaded)
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(samples), BATCH):
        part = slice(start, start + BATCH)
        images = torch.stack([loaded.preprocess(sample.image) for sample in samples[part]])
        targets = target_of(engine, images, samples[part])
        for name, saliency in explained(engine, images, targets, names):
            parts.setdefault(name, []).append(saliency)
    distractors = torch.stack([distractor_mask(sample) for sample in samples])
    scores = {}
    for name, maps in parts.items():
        values = torch.cat(maps).flatten(1)
        top = values.argmax(1, keepdim=True)
        on = masks.flatten(1).gather(1, top)[:, 0] & (values.amax(1) > 0)
        inside, distracted = (fraction(values, each.flatten(1)) for each in (masks, distractors))
        scores[name] = MethodScores(on.float(), inside, distracted)
    return scores


def fraction(values: Tensor, masks: Tensor) -> Tensor:
    """Return the fraction of each map [N,pixels] inside its mask."""
    return (values * masks).sum(1) / values.sum(1).clamp_min(1e-12)


def distractor_mask(sample: xai.Sample) -> Tensor:
    """Return a mask of all distractors."""
    assert sample.mask is not None
    return torch.zeros_like(sample.mask) if sample.distractors is None else sample.distractors.any(0)


def target_of(
    engine: xai.Engine, images: Tensor, samples: list[xai.Sample]
) -> Tensor | xai.Region | xai.Box | xai.Text:
    """Return the labels. For segmentation, detection or texts, return the regions, boxes or texts of the samples."""
    if engine.loaded is not None and engine.loaded.tokenizer is not None:
        return xai.Text([sample.text or "" for sample in samples])
    labels = torch.tensor([sample.target for sample in samples])
    if engine.adapter(images).probe.detections is not None:
        return xai.Box(torch.cat([sample.boxes for sample in samples if sample.boxes is not None]), labels, overlap=0)
    with torch.inference_mode():
        scores = engine.model(images[:1])
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    return xai.Region(labels, masks) if scores.ndim == 4 else labels


def explained(
    engine: xai.Engine, images: Tensor, targets: Tensor | xai.Region | xai.Box | xai.Text, names: list[str]
) -> Iterator[tuple[str, Tensor]]:
    for name in names:
        try:
            yield name, engine.explain(images, name, targets)[name].values
        except UnsuitableError:  # known only after the forward pass
            continue


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % score interval of a fraction (Wilson, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


if __name__ == "__main__":
    main()
