"""The pointing game on shapes: how often the highest place of a method's map is on the object that tells the class.

The truth of `shapes` is the object, that of `shapes-shortcut` the mark that its models rely on. Images are unseen, and
the class explained is the true one. Chance is the mean share of an image that the truth covers: the hits of a map
whose highest place is anywhere. A flat map is a miss. Methods of more than `--forwards` forwards an image are left out.
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
class Found:
    """What a method's maps came to: [N] each."""

    hits: Tensor
    inside: Tensor


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--models", nargs="+", default=["shapes-vit", "shapes-cbam"])
    given.add_argument("--data", default="shapes", help="`shapes` or `shapes-shortcut`, and their options")
    given.add_argument("--count", type=int, default=500, help="how many images")
    given.add_argument("--forwards", type=int, default=50, help="the most forwards of a method for an image")
    given.add_argument("--without", nargs="*", default=[], help="methods to leave out")
    options = given.parse_args()
    warnings.simplefilter("ignore", ConstantMapWarning)
    separator = "," if ":" in options.data else ":"
    data = xai.load_dataset(f"{options.data}{separator}split=test,count={options.count}")
    for spec in options.models:
        print(table(spec, data, options.forward_passes, options.without), flush=True)


def table(spec: str, data: Dataset, forwards: int, without: list[str]) -> str:
    """A table in Markdown, the best method first."""
    loaded = xai.load_model(spec)
    samples = [data[i] for i in range(len(data))]
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    names = [name for name in methods(xai.Engine(loaded), loaded, samples[0], forwards) if name not in without]
    found = play(loaded, samples, masks, names)
    chance = masks.float().mean().item()
    lines = [
        f"`{spec}`, {len(samples)} images; by chance {chance:.1%}.",
        "",
        "| method | hits | 95 % interval | of the map inside |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, one in sorted(found.items(), key=lambda item: -item[1].hits.sum()):
        share = one.hits.mean().item()
        low, high = wilson(share, len(samples))
        lines.append(f"| `{name}` | {share:.1%} | {low:.1%} to {high:.1%} | {one.inside.mean():.1%} |")
    return "\n".join([*lines, ""])


def methods(engine: xai.Engine, loaded: xai.LoadedModel, sample: xai.Sample, forwards: int) -> list[str]:
    """The methods that are defined for the model, and not too dear."""
    adapter = engine.adapter(loaded.preprocess(sample.image)[None])
    return [name for name in xai.list_explainers() if suits(name, adapter, forwards)]


def suits(name: str, adapter: xai.ModelAdapter, forwards: int) -> bool:
    explainer = xai.create_explainer(name)
    if MADE_OF & {*vars(explainer)}:
        return False
    try:
        explainer.needs(adapter)
    except UnsuitableError:
        return False
    return explainer.forward_passes(adapter) <= forwards


def play(loaded: xai.LoadedModel, samples: list[xai.Sample], masks: Tensor, names: list[str]) -> Mapping[str, Found]:
    """Explain all samples by all methods."""
    engine = xai.Engine(loaded)
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(samples), BATCH):
        part = slice(start, start + BATCH)
        images = torch.stack([loaded.preprocess(sample.image) for sample in samples[part]])
        targets = torch.tensor([sample.target for sample in samples[part]])
        for name, saliency in explained(engine, images, targets, names):
            parts.setdefault(name, []).append(saliency)
    found = {}
    for name, maps in parts.items():
        values = torch.cat(maps)
        highest = values.flatten(1).argmax(1)
        on = masks.flatten(1).gather(1, highest[:, None])[:, 0] & (values.amax((1, 2)) > 0)
        inside = (values * masks).sum((1, 2)) / values.sum((1, 2)).clamp_min(1e-12)
        found[name] = Found(on.float(), inside)
    return found


def explained(engine: xai.Engine, images: Tensor, targets: Tensor, names: list[str]) -> Iterator[tuple[str, Tensor]]:
    for name in names:
        try:
            yield name, engine.explain(images, name, targets)[name].values
        except UnsuitableError:  # known only once the pass has run
            continue


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a share (Wilson, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


if __name__ == "__main__":
    main()
