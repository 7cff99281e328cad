"""Explain every torchvision classifier and a small model of every timm family, and write docs/coverage.md.

The weights are random, and the images are as small as each model allows. The result of each model is appended to a
file, so that an interrupted run can resume. `--again` also measures models that have a result.
"""

import argparse
import fnmatch
import gc
import json
import math
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

import xai_core as xai
from xai_core.errors import ConstantMapWarning, NoAttentionError, UnsuitableError

PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"
METHODS = ["grad-cam", "layer-cam", "eigen-cam"]
SIDES = (128, 140, 160, 192, 224, 256, 288, 320, 384)
CLASSES = 1000


@dataclass(frozen=True)
class Model:
    """A model to test.

    `make(**options)` builds it. `sized(side)` returns options that may set the side of the images, in order of
    preference.
    """

    library: str
    family: str
    name: str
    make: Callable[..., nn.Module]
    sized: Callable[[int], list[dict[str, Any]]]
    default_side: int


@dataclass
class Row:
    """A line of the table. `error` is the reason why a model could not be explained."""

    library: str
    family: str
    name: str
    side: int = 0
    kind: str = ""
    layer: str = ""
    grid: tuple[int, ...] = ()
    prefix: int = 0
    rollout: str = ""
    cost: float = math.nan
    note: str = ""
    error: str = ""


def torchvision_models() -> Iterator[Model]:
    for name in torchvision.models.list_models(module=torchvision.models):
        family = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        yield Model(
            "torchvision",
            family,
            name,
            lambda name=name, fixed=options, **options: torchvision.models.get_model(name, **fixed, **options),
            lambda side: [{"image_size": side}, {"input_size": (side, side)}, {}],
            224,
        )


def timm_models(folder: Path) -> Iterator[Model]:
    """Yield the variant with the fewest parameters of each family of timm, without test models."""
    path = folder / "families.json"
    smallest = json.loads(path.read_text()) if path.exists() else {}
    for family in timm.list_modules():
        if family not in smallest:
            variants = [name for name in timm.list_models(module=family) if not name.startswith("test_")]
            smallest[family] = min(variants, key=parameters, default=None)
            path.write_text(json.dumps(smallest))
        name = smallest[family]
        if name is not None:
            yield Model(
                "timm",
                family,
                name,
                lambda name=name, **options: timm.create_model(name, pretrained=False, num_classes=CLASSES, **options),
                lambda side: [{"img_size": side}, {}],
                max(timm.get_pretrained_cfg(name).input_size[1:]),
            )


def parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters())


def smallest(model: Model) -> tuple[nn.Module, int]:
    """Return the model for the smallest images that it supports, and the side of these images."""
    plain: nn.Module | None = None
    failure: Exception | None = None
    for side in sorted({*(side for side in SIDES if side < model.default_side), model.default_side}):
        for options in model.sized(side):
            try:
                if options:
                    built = model.make(**options).eval()
                else:
                    built = plain = plain or model.make().eval()
                with torch.no_grad():
                    built(torch.zeros(1, 3, side, side))
                return built, side
            except Exception as error:  # models raise various errors for sizes that they do not support
                failure = error
    assert failure is not None
    raise failure


def measure(model: Model) -> Row:
    row = Row(model.library, model.family, model.name)
    try:
        built, row.side = smallest(model)
        images = torch.randn(2, 3, row.side, row.side)
        settle(built, images)
        row.note = filled_head(built, images)
        explain(built, images, row)
    except Exception as error:
        row.error = f"{type(error).__name__}: {error}"
    return row


def explain(model: nn.Module, images: Tensor, row: Row) -> None:
    engine = xai.Engine(model)
    adapter = engine.adapter(images)
    layer = row.layer = adapter.default_layer
    row.kind, row.grid, row.prefix = adapter.kind, adapter.grid, adapter.features(layer).prefix
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        maps = engine.explain(images, METHODS)
        constant = [name for name in METHODS if maps[name].constant.all()]
        if "layer-cam" in constant:  # the other maps can be negative everywhere by chance, with random weights
            row.error = f"constant maps: {', '.join(constant)}"
        try:
            engine.explain(images, "rollout")
            row.rollout = "yes"
        except (UnsuitableError, NoAttentionError):
            row.rollout = "not defined"
        image = images[:1]
        with torch.no_grad():
            forward = fastest(lambda: model(image))
        row.cost = fastest(lambda: engine.explain(image, METHODS)) / forward


def settle(model: nn.Module, images: Tensor) -> None:
    """Set the statistics of batch norm to those of the images, as in training. Otherwise, random signals vanish."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(images)
    for norm in norms:
        norm.eval()


def filled_head(model: nn.Module, images: Tensor) -> str:
    """Fill a head that is initialized with zeros with small random weights, and return a note."""
    with torch.no_grad():
        scores = model(images)
        scores = scores[0] if isinstance(scores, tuple | list) else scores
        if (scores == scores[:, :1]).all():
            for module in model.modules():
                weight = getattr(module, "weight", None)
                if isinstance(module, nn.Linear | nn.Conv2d) and not weight.any():
                    nn.init.normal_(weight, std=0.02)
            return "filled head"
    return ""


def fastest(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(4):  # the first call is a warm-up
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def page(rows: Iterable[Row], counts: dict[str, int]) -> str:
    """Return the results as Markdown."""
    libraries_used = {"torch": torch, "torchvision": torchvision, "timm": timm}
    versions = [f"{name} {module.__version__.partition('+')[0]}" for name, module in libraries_used.items()]
    versions.append(f"Python {platform.python_version()}")
    lines = [
        "# Coverage",
        "",
        "These tables list the models in which xai-core finds a default layer without any configuration. They cover",
        "every classification model of torchvision. From every family (module) of timm, they cover the variant with",
        "the fewest parameters.",
        "",
        f"Written by `python benchmarks/coverage.py` with {', '.join(versions)}.",
        "",
        "The weights are random, and the statistics of batch norm come from random images. Each model is tested with",
        "the smallest image that it accepts, or with its own size. The tested sizes are",
        f"{', '.join(map(str, SIDES))} pixels.",
        "",
        "- *image*: height and width of the image in pixels.",
        "- *layer*: the default layer.",
        "- *grid*: height x width of the default layer. A number after a plus sign is the number of prefix tokens",
        "  (class and register tokens).",
        "- *rollout*: whether attention rollout is defined. Every token must attend to every token in all layers, and",
        "  the head must use tokens.",
        f"- *cost*: the time of {', '.join(METHODS[:-1])} and {METHODS[-1]} in one call, divided by the time of one",
        "  plain forward pass. Both times are the fastest of three runs with batch size 1 and one thread. Small images",
        "  overstate the cost, because hooks and checks take equally long at any size.",
        "- *filled head*: the head is initialized with zeros, and was filled with random values.",
    ]
    libraries: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.library, row.family, row.name)):
        libraries.setdefault(row.library, []).append(row)
    for library, members in sorted(libraries.items(), reverse=True):
        done = sum(not row.error for row in members)
        what = "models" if library == "torchvision" else "families"
        lines += [
            "",
            f"## {library}",
            "",
            f"**{done} of {counts[library]} {what} ({done / counts[library]:.1%}).**",
            "",
            "| model | family | image | kind | layer | grid | rollout | cost |",
            "| --- | --- | ---: | --- | --- | ---: | --- | ---: |",
        ]
        lines += [line(row) for row in members]
    return "\n".join(lines) + "\n"


def line(row: Row) -> str:
    if row.error:
        message = " ".join(row.error.split()).replace("|", "\\|")
        return f"| `{row.name}` | `{row.family}` | {row.side or ''} | not explained | {message} | | | |"
    grid = " x ".join(map(str, row.grid)) + (f" + {row.prefix}" if row.prefix else "")
    name = f"`{row.name}` ({row.note})" if row.note else f"`{row.name}`"
    cells = [name, f"`{row.family}`", str(row.side), row.kind, f"`{row.layer}`", grid, row.rollout, f"{row.cost:.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="Shell pattern of library:family:model.")
    parser.add_argument("--limit", type=int, help="Maximum number of models to measure.")
    parser.add_argument("--again", action="store_true", help="Measure models that have a result, too.")
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "xai-coverage", help="Folder of the results."
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the models
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.jsonl"
    rows: dict[str, Row] = {}
    if path.exists():
        rows = {row.name + row.library: row for row in (Row(**json.loads(text)) for text in path.open())}
    models = [*torchvision_models(), *timm_models(options.out)]
    chosen = [
        model
        for model in models
        if fnmatch.fnmatch(f"{model.library}:{model.family}:{model.name}", options.only)
        and (options.again or model.name + model.library not in rows)
    ]
    for model in chosen[: options.limit]:
        torch.manual_seed(0)
        row = rows[model.name + model.library] = measure(model)
        with path.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        print(line(row), flush=True)
        gc.collect()
    counts = {library: sum(model.library == library for model in models) for library in ("torchvision", "timm")}
    PAGE.write_text(page(rows.values(), counts))


if __name__ == "__main__":
    main()
