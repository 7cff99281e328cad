"""The commands `xai-zoo train` and `xai-zoo accuracy`, for models and images of any source."""

import csv
import io
import shlex
import sys
from dataclasses import asdict, astuple, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import Progress
from torch import nn

import xai_core as xai
from xai_core.plugin import (
    DatasetError,
    DeviceOption,
    FileError,
    OptionError,
    check_integer,
    make_folder,
    print_line,
    progress_bar,
    select_device,
    write_file,
)
from xai_zoo.one_stage_detector import OneStageDetector
from xai_zoo.small_clip import SmallCLIP
from xai_zoo.small_unet import SmallUNet
from xai_zoo.training.contrastive_objective import Contrastive
from xai_zoo.training.detection_objective import OneObject
from xai_zoo.training.encoding import encoded
from xai_zoo.training.images import TrainingImages, augmentation, batches_of, split, steps_per_epoch
from xai_zoo.training.loop import measure
from xai_zoo.training.loop import train as run
from xai_zoo.training.objectives import Classification, Objective
from xai_zoo.training.recipe import Recipe
from xai_zoo.training.segmentation_objective import OneRegion
from xai_zoo.training.state import Epoch, State

_DEFAULT = Recipe()
Workers = Annotated[int, typer.Option(metavar="N", help="Number of processes that load images.")]


def train(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Model (see `xai list models`).")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Dataset with labels (see `xai list datasets`).")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Output file (safetensors). The log is written beside it.")],
    validation: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Validation images.  [default: a tenth of --data]")
    ] = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Maximum number of epochs.")] = _DEFAULT.epochs,
    stop: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Last epoch, if training ends before the learning rate is zero.  [default: all]"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Batch size.")] = _DEFAULT.batch,
    rate: Annotated[float, typer.Option(metavar="X", help="Maximum learning rate.")] = _DEFAULT.rate,
    warmup: Annotated[float, typer.Option(metavar="X", help="Warm-up, as a fraction of all steps.")] = _DEFAULT.warmup,
    decay: Annotated[float, typer.Option(metavar="X", help="Weight decay.")] = _DEFAULT.decay,
    smoothing: Annotated[float, typer.Option(metavar="X", help="Label smoothing.")] = _DEFAULT.smoothing,
    clip: Annotated[float, typer.Option(metavar="X", help="Maximum norm of the gradient.")] = _DEFAULT.clip,
    crop: Annotated[
        float,
        typer.Option(metavar="X", help="Minimum area of a random crop, as a fraction of the image. 1 disables crops."),
    ] = _DEFAULT.crop,
    flip: Annotated[float, typer.Option(metavar="X", help="Probability of a horizontal flip.")] = _DEFAULT.flip,
    patience: Annotated[
        int, typer.Option(metavar="N", help="Stop after N epochs without a better validation accuracy.")
    ] = _DEFAULT.patience,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = _DEFAULT.seed,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Keep decoded images in memory.")] = False,
    workers: Workers = 0,
    device: DeviceOption = None,
) -> None:
    """Train a model and write the weights of its best epoch.

    After every epoch, the training state is saved beside FILE, with the suffix .state.safetensors. To resume an
    interrupted training run, repeat the same command.
    """
    recipe = Recipe(epochs, batch, rate, warmup, decay, smoothing, clip, crop, flip, patience, seed)
    check_integer("workers", workers, 0)
    last = recipe.epochs if stop is None else min(recipe.epochs, check_integer("stop", stop, 1))
    unfinished, log = out.with_suffix(f".state{out.suffix}"), out.with_suffix(".csv")
    _require_new_files(out, unfinished, log)

    torch.manual_seed(recipe.seed)
    loaded = xai.load_model(model)
    network, objective = loaded.model.to(select_device(device)), _objective(loaded)
    objective.check(recipe)
    optimizer = _optimizer(network, recipe)
    settings = {"model": loaded.spec, "data": data, "validation": validation or "", **asdict(recipe)}
    state = State.load(unfinished, settings, network, optimizer) if unfinished.exists() else State()
    if state.epochs:
        print_line(f"Resuming after epoch {len(state.epochs)} from {unfinished}.")

    training, held_out = _image_sets(loaded, objective, data, validation, recipe, in_memory)
    steps = recipe.epochs * steps_per_epoch(len(training), recipe.batch)
    with progress_bar() as bar:
        task = bar.add_task("training", total=steps, completed=steps * len(state.epochs) // recipe.epochs)

        def after_epoch() -> None:
            state.save(unfinished, settings, network, optimizer)
            _show(bar, state.epochs[-1])
            write_file(log, _table(state))

        def after_step() -> None:
            bar.advance(task)

        run(network, objective, optimizer, training, held_out, recipe, last, state, workers, after_step, after_epoch)

    best = state.best_epoch
    command = shlex.join(["xai-zoo", *sys.argv[1:]])
    versions = {name: version(name) for name in ("torch", "torchvision", "xai-zoo")}
    measured = {name: value for name, value in asdict(best).items() if name != "seconds"}
    metadata = {"command": command, "settings": settings, "versions": versions, "best": measured}
    write_file(log, _table(state))
    write_file(out, encoded(state.best, metadata))
    unfinished.unlink()
    print_line(f"{out}: accuracy {best.validation_accuracy:.4f} on the validation set, after epoch {best.epoch}.")


def accuracy(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Model (see `xai list models`).")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Dataset with labels (see `xai list datasets`).")],
    batch: Annotated[int, typer.Option(metavar="N", help="Batch size.")] = _DEFAULT.batch,
    workers: Workers = 0,
    device: DeviceOption = None,
) -> None:
    """Measure the accuracy of a model on labeled images.

    For a detector, this is the fraction of images that are detected correctly. The best detection must have the class
    of the object, and an intersection over union of more than 0.5 with its box. For a model that compares images with
    texts, no other text of its batch may have a higher logit.
    """
    check_integer("batch", batch, 1)
    check_integer("workers", workers, 0)
    loaded, dataset = xai.load_model(model), xai.load_dataset(data)
    objective = _objective(loaded)
    images = TrainingImages(dataset, range(len(dataset)), loaded, objective)
    measured = measure(loaded.model.to(select_device(device)), objective, batches_of(images, batch, workers))
    print_line(
        f"{model} on {data}: accuracy {measured.accuracy:.4f} on {len(dataset)} images, loss {measured.loss:.4f}."
    )


def _objective(loaded: xai.LoadedModel) -> Objective:
    """Return the objective for a model: the detectors, U-Nets and CLIPs of this package have their own."""
    match loaded.model:
        case OneStageDetector():
            return OneObject()
        case SmallUNet():
            return OneRegion()
        case SmallCLIP():
            return Contrastive()
    return Classification()


def _require_new_files(out: Path, unfinished: Path, log: Path) -> None:
    if out.suffix != ".safetensors":
        raise OptionError(f"expected a file name that ends in .safetensors as --out, got {out}")
    existing = next((file for file in (out, log) if file.exists()), None)
    if existing and (existing == out or not unfinished.exists()):
        raise FileError(f"{existing} would be overwritten; choose another --out, or move the file")
    make_folder(out.parent)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW for the parameters that are not frozen, without weight decay of biases and norm layers."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise OptionError("every parameter of this model is frozen; choose a model with trainable parameters")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate)


def _image_sets(
    loaded: xai.LoadedModel, objective: Objective, data: str, validation: str | None, recipe: Recipe, keep: bool
) -> tuple[TrainingImages, TrainingImages]:
    """Return the images for training and for validation."""
    dataset = xai.load_dataset(data)
    other = dataset if validation is None else xai.load_dataset(validation)
    if validation is None:
        if len(dataset) == 1:
            raise DatasetError(f"{data} contains one image; expected a second one for validation, or --validation")
        own, held_out = split(len(dataset), 0.1, recipe.seed)
    else:
        own, held_out = list(range(len(dataset))), list(range(len(other)))
    for spec, items in ((data, own), (validation, held_out)):
        if not items:
            raise DatasetError(f"{spec} contains no image; expected at least one")
    augment = augmentation(recipe.crop, recipe.flip)
    return (
        TrainingImages(dataset, own, loaded, objective, augment, recipe.seed, keep),
        TrainingImages(other, held_out, loaded, objective, keep=keep),
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
