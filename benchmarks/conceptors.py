"""Conceptor formulas on several bases, compared with the bases and with controls: prints a table in Markdown.

    python benchmarks/conceptors.py --sweep --data shapes:split=validation,seed=1,count=150
    python benchmarks/conceptors.py --model efficientnet-lite0 --data photographs --steps 8

The first row of a base contains its means. All other rows contain mean differences from the base, with 95 % intervals
for pairs. A row `..., from a=10, b=3` contains the differences from that method instead. An asterisk marks a difference
whose interval excludes zero. `area` is the mean of the map. `matched` metrics
score a map that has the values of the base in the order of the method's pixels, so that only the order differs. The
controls are the square root of the base map, its 3x3 mean, and `finer-cam` with the same base. Maps explain the label,
or the predicted class if there is no label.
"""

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import torch
from PIL import Image
from scipy.stats import t as student
from torch import Tensor
from torch.nn.functional import avg_pool2d

import xai_core as xai
from xai_core.errors import ConstantMapWarning
from xai_core.plugin import Dataset, normalize, resize

DEFAULT = "a=10, b=3"
APERTURES, NEGATIVE_APERTURES = (1.0, 3.0, 10.0, 30.0), (0.0, 1.0, 3.0, 10.0)
PHOTOGRAPHS = {"sklearn": "datasets/images/{}.jpg", "matplotlib": "mpl-data/sample_data/{}.jpg"}
BATCH = 25
Scores = dict[str, dict[str, list[float]]]
"""For each method and each column, one number per image."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shapes-cbam")
    parser.add_argument("--data", default="shapes:split=test,seed=1,count=300", help="dataset, or `photographs`")
    parser.add_argument("--bases", nargs="+", default=["score-cam"])
    parser.add_argument("--apertures", nargs="+", default=["3,10"], help="pairs a,b in addition to the default")
    parser.add_argument("--sweep", action="store_true", help="all pairs of apertures, without the controls")
    parser.add_argument("--steps", type=int, default=16, help="steps of SRG")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConstantMapWarning)
    loaded, samples = xai.load_model(options.model), samples_of(options.data)
    engine = xai.Engine(loaded.model.to(memory_format=torch.channels_last))  # faster on CPUs
    pairs = [tuple(map(float, pair.split(","))) for pair in options.apertures]
    pairs = list(product(APERTURES, NEGATIVE_APERTURES)) if options.sweep else pairs
    for base in options.bases:
        scores: Scores = {}
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            for method, column, values in measured(engine, loaded, batch, base, pairs, options):
                scores.setdefault(method, {}).setdefault(column, []).extend(values.tolist())
        print(
            f"`{base}` on `{options.model}`, {len(samples)} images of `{options.data}`:\n\n{table(scores)}\n",
            flush=True,
        )


def samples_of(data: str) -> list[xai.Sample]:
    """Return the samples of a dataset, or photographs of installed packages."""
    source: Dataset = xai.load_dataset("photos" if data == "photographs" else data)
    samples = [source[i] for i in range(len(source))]
    if data == "photographs":
        for package, names in (("sklearn", ("china", "flower")), ("matplotlib", ("grace_hopper",))):
            folder = Path(str(import_module(package).__file__)).parent
            images = [Image.open(folder / PHOTOGRAPHS[package].format(name)).convert("RGB") for name in names]
            samples += [xai.Sample(image, name) for image, name in zip(images, names, strict=True)]
    return samples


def measured(
    engine: xai.Engine,
    loaded: xai.LoadedModel,
    samples: list[xai.Sample],
    base_name: str,
    pairs: list[tuple[float, ...]],
    options: argparse.Namespace,
) -> Iterator[tuple[str, str, Tensor]]:
    """Return the name of the method, the name of the column, and one value for each image."""
    images = torch.stack([loaded.preprocess(sample.image) for sample in samples])
    labels = [sample.target for sample in samples if sample.target is not None]
    masks = [sample.mask for sample in samples if sample.mask is not None]
    base, *maps = maps_of(engine, images, torch.tensor(labels) if labels else None, base_name, pairs, options)
    metrics = ["average-drop", "average-increase", f"srg:steps={options.steps}"]
    for name, saliency in (base, *maps):
        results = engine.evaluate(images, saliency, metrics)
        yield name, "area", saliency.values.mean((1, 2))
        for column, metric in zip(("AD", "AI", "SRG"), metrics, strict=True):
            yield name, column, results[metric].values
        matched = engine.evaluate(images, match(saliency, base[1]), metrics[:2])
        yield name, "matched AD", matched["average-drop"].values
        yield name, "matched AI", matched["average-increase"].values
        if masks:
            mass = engine.evaluate(images, saliency, "relevance-mass", torch.stack(masks))["relevance-mass"]
            yield name, "mass", mass.values
        yield name, "constant", saliency.constant.float()


def maps_of(
    engine: xai.Engine,
    images: Tensor,
    target: Tensor | None,
    base_name: str,
    pairs: list[tuple[float, ...]],
    options: argparse.Namespace,
) -> list[tuple[str, xai.Saliency]]:
    """Return the maps of the base, the formulas and the controls. The base runs once, as all share one object."""
    base = xai.create_explainer(base_name)
    explainers = {base_name: base}
    for a, b in pairs if options.sweep else [(10.0, 3.0), *pairs]:
        explainers[f"a={a:g}, b={b:g}"] = xai.create_explainer(
            "conceptor-cam", base=base, aperture=a, negative_aperture=b
        )
    if not options.sweep:
        explainers["`relation=places`"] = xai.create_explainer("conceptor-cam", base=base, relation="places")
        explainers["finer-cam"] = xai.create_explainer("finer-cam", base=base)
    maps = engine.explain(images, list(explainers.values()), target)
    named = dict(zip(explainers, maps.values(), strict=True))
    if not options.sweep:
        own = named[base_name]
        size = tuple(own.values.shape[1:])
        blurred = avg_pool2d(own.raw[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
        for name, raw in (("square root", own.raw.sqrt()), ("blur", blurred)):
            named[name] = replace(own, raw=raw, values=normalize(resize(raw, size)))
    return list(named.items())


def match(saliency: xai.Saliency, base: xai.Saliency) -> xai.Saliency:
    """Return the values of the base in the order of the map. Tied pixels get the mean of their values."""
    matched = torch.zeros_like(base.values).flatten(1)
    for i, (values, own) in enumerate(zip(saliency.values.flatten(1), base.values.flatten(1), strict=True)):
        if not saliency.constant[i]:
            _, ranks, counts = values.unique(return_inverse=True, return_counts=True)
            ends = counts.cumsum(0)
            sums = torch.cat([own.new_zeros(1).double(), own.sort().values.double().cumsum(0)])
            matched[i] = ((sums[ends] - sums[ends - counts]) / counts)[ranks].to(own)
    return replace(saliency, values=matched.view_as(base.values))


def table(scores: Scores) -> str:
    """Return the means of the base, and the differences of the other methods from it."""
    (base, own), *others = scores.items()
    if "finer-cam" in scores:  # not in a sweep
        pairs = [(name, theirs) for name, theirs in others if name.startswith("a=") and name != DEFAULT]
        others += [(f"{name}, from {DEFAULT}", theirs) for name, theirs in pairs]
    columns = [column for column in own if column != "constant"]
    rows = [["", *columns, "constant maps"], ["---", *["---:"] * (len(columns) + 1)]]
    rows.append([f"`{base}`", *(f"{mean(own[column]):.3f}" for column in columns), f"{sum(own['constant']):.0f}"])
    for name, theirs in others:
        reference = scores[DEFAULT] if name.endswith(f"from {DEFAULT}") else own
        cells = [difference(theirs[column], reference[column]) for column in columns]
        rows.append([name, *cells, f"{sum(theirs['constant']):.0f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def difference(theirs: list[float], own: list[float]) -> str:
    """Return the mean difference and half of its 95 % interval, by Student's t distribution."""
    differences = [a - b for a, b in zip(theirs, own, strict=True)]
    half = float(student.ppf(0.975, len(own) - 1)) * stdev(differences) / len(own) ** 0.5
    return f"{mean(differences):+.3f} ± {half:.3f}{'*' if abs(mean(differences)) > half else ''}"


if __name__ == "__main__":
    main()
