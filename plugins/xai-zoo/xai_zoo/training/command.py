"""`xai-zoo train`: a model of any source, on the pictures of any data source."""

import csv
import io
import json
import shlex
import sys
from dataclasses import asdict, astuple, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import Progress
from safetensors.torch import save
from torch import nn
from torch.utils.data import DataLoader

import xai_core as xai
from xai_core.plugin import (
    Device,
    FileError,
    OptionError,
    chosen_device,
    make_folder,
    progress,
    say,
    write,
)
from xai_zoo.training.loop import measure
from xai_zoo.training.loop import train as run
from xai_zoo.training.pictures import Pictures, augmentation, split
from xai_zoo.training.recipe import Recipe
from xai_zoo.training.state import Epoch, State

_DEFAULT = Recipe()
Workers = Annotated[int, typer.Option(metavar="N", help="Processes that load pictures.")]


def train(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Spec of a model; see `xai list models`.")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Pictures with classes; see `xai list datasets`.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The safetensors file to write; its log is beside it.")],
    validation: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Other pictures to validate on.  [default: a tenth of --data]")
    ] = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="The most passes over the pictures.")] = _DEFAULT.epochs,
    batch: Annotated[int, typer.Option(metavar="N", help="Pictures in a step.")] = _DEFAULT.batch,
    rate: Annotated[float, typer.Option(metavar="X", help="The highest learning rate.")] = _DEFAULT.rate,
    warmup: Annotated[float, typer.Option(metavar="X", help="The share of steps to reach it.")] = _DEFAULT.warmup,
    decay: Annotated[float, typer.Option(metavar="X", help="Weight decay.")] = _DEFAULT.decay,
    smoothing: Annotated[float, typer.Option(metavar="X", help="Label smoothing.")] = _DEFAULT.smoothing,
    clip: Annotated[float, typer.Option(metavar="X", help="The largest norm of a gradient.")] = _DEFAULT.clip,
    crop: Annotated[
        float, typer.Option(metavar="X", help="The least area of a random crop; 1: no crops.")
    ] = _DEFAULT.crop,
    flip: Annotated[float, typer.Option(metavar="X", help="How probably a picture is mirrored.")] = _DEFAULT.flip,
    patience: Annotated[
        int, typer.Option(metavar="N", help="Epochs without a better accuracy before it ends.")
    ] = _DEFAULT.patience,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything that is random.")] = _DEFAULT.seed,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Decode each picture once, and keep it.")] = False,
    workers: Workers = 0,
    device: Device = None,
) -> None:
    """Train a model and write its weights of the best epoch.

    After every epoch all is kept in FILE with `.state` before its suffix; the same command goes on from there.
    """
    recipe = Recipe(epochs, batch, rate, warmup, decay, smoothing, clip, crop, flip, patience, seed)
    unfinished, log = out.with_suffix(f".state{out.suffix}"), out.with_suffix(".csv")
    _refuse_existing(out, unfinished, log)

    torch.manual_seed(recipe.seed)
    loaded = xai.load_model(model)
    network = loaded.model.to(chosen_device(device))
    optimizer = _optimizer(network, recipe)
    settings = {"model": loaded.spec, "data": data, "validation": validation or "", **asdict(recipe)}
    state = State.load(unfinished, settings, network, optimizer) if unfinished.exists() else State()
    if state.epochs:
        say(f"Going on after epoch {len(state.epochs)}, kept in {unfinished}.")

    pictures, others = _pictures(loaded, data, validation, recipe, in_memory)
    steps = recipe.epochs * -(-len(pictures) // recipe.batch)
    with progress() as bar:
        task = bar.add_task("training", total=steps, completed=steps * len(state.epochs) // recipe.epochs)

        def after_epoch() -> None:
            state.save(unfinished, settings, network, optimizer)
            _show(bar, state.epochs[-1])
            write(log, _table(state))

        run(network, optimizer, pictures, others, recipe, state, workers, lambda: bar.advance(task), after_epoch)

    best = state.best_epoch
    command = shlex.join(["xai-zoo", *sys.argv[1:]])
    versions = {name: version(name) for name in ("torch", "torchvision", "xai-zoo")}
    said = {"command": command, "settings": json.dumps(settings), "versions": json.dumps(versions)}
    write(log, _table(state))
    write(out, save(state.best, {**said, "best": json.dumps(asdict(best))}))
    unfinished.unlink()
    say(f"{out}: accuracy {best.validation_accuracy:.4f} on the validation set, after epoch {best.epoch}.")


def accuracy(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Spec of a model; see `xai list models`.")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Pictures with classes; see `xai list datasets`.")],
    batch: Annotated[int, typer.Option(metavar="N", help="Pictures in a forward.")] = _DEFAULT.batch,
    workers: Workers = 0,
    device: Device = None,
) -> None:
    """Measure the share of pictures whose class has the highest score."""
    loaded, given = xai.load_model(model), xai.load_dataset(data)
    pictures = Pictures(given, range(len(given)), loaded.preprocess)
    measured = measure(loaded.model.to(chosen_device(device)), DataLoader(pictures, batch, num_workers=workers))
    say(f"{model} on {data}: accuracy {measured.accuracy:.4f} of {len(given)} pictures, loss {measured.loss:.4f}.")


def _refuse_existing(out: Path, unfinished: Path, log: Path) -> None:
    if out.suffix != ".safetensors":
        raise OptionError(f"--out {out} is not a safetensors file; expected a name that ends in .safetensors")
    there = next((file for file in (out, log) if file.exists()), None)
    if there and (there == out or not unfinished.exists()):
        raise FileError(f"{there} would be overwritten; give another --out, or move it away")
    make_folder(out.parent)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW on what is not frozen; biases and norms do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise OptionError("every parameter of this model is frozen; there is nothing to train")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate)


def _pictures(
    loaded: xai.LoadedModel, data: str, validation: str | None, recipe: Recipe, keep: bool
) -> tuple[Pictures, Pictures]:
    """The pictures to train and to validate on."""
    given = xai.load_dataset(data)
    other = given if validation is None else xai.load_dataset(validation)
    if validation is None:
        own, held_out = split(len(given), 0.1, recipe.seed)
    else:
        own, held_out = list(range(len(given))), list(range(len(other)))
    augment = augmentation(recipe.crop, recipe.flip)
    return (
        Pictures(given, own, loaded.preprocess, augment, recipe.seed, keep),
        Pictures(other, held_out, loaded.preprocess, keep=keep),
    )


def _table(state: State) -> str:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(field.name for field in fields(Epoch))
    rows.writerows([f"{value:.6g}" for value in astuple(epoch)] for epoch in state.epochs)
    return table.getvalue()


def _show(bar: Progress, epoch: Epoch) -> None:
    bar.console.print(
        f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}; validation: loss"
        f" {epoch.validation_loss:.3f}, accuracy {epoch.validation_accuracy:.4f}; {epoch.seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
