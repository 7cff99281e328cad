"""`xai-zoo train`: the recipe, its log and weights, and going on after an interruption."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typer.testing import CliRunner

import xai_core as xai
from xai_core.errors import CheckpointError, FileError, OptionError
from xai_zoo.cli import app
from xai_zoo.training.encoding import encoded
from xai_zoo.training.images import TrainingImages, augmentation, split
from xai_zoo.training.loop import measure
from xai_zoo.training.objectives import Classification
from xai_zoo.training.recipe import Recipe
from xai_zoo.training.state import Epoch, State

MODEL = "cifar-vit:size=32,patch=8,dim=16,heads=2,depth=1,mlp=16,dropout=0.1"
DATA = "shapes:size=32,count=50"
UNCHANGED = xai.LoadedModel(nn.Identity(), preprocess=lambda image: image)
OPTIONS = ["--validation", "shapes:size=32,count=20,split=validation", "--batch", "16", "--epochs", "3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(*options: str, model: str = MODEL, data: str = DATA, out: str = "trained.safetensors") -> str:
    """Train through the command line; gives what it said, or raises what it raised."""
    arguments = ["--debug", "train", model, "--data", data, "--out", out, *OPTIONS, *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a training that nothing disturbed, beside its log and what it said."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("said.txt").write_text(train())
    return folder / "trained.safetensors"


def log(file: str | Path = "trained.csv") -> list[dict[str, float]]:
    with Path(file).open() as rows:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(rows)]


def without_seconds(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_the_best_weights_are_written_with_how_they_were_made(trained: Path) -> None:
    said, rows = trained.with_name("said.txt").read_text(), log(trained.with_suffix(".csv"))
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    best = max(rows, key=lambda row: row["validation_accuracy"])
    assert f"accuracy {best['validation_accuracy']:.4f} on the validation set, after epoch {best['epoch']:.0f}" in said
    loaded = xai.load_model(f"{MODEL},weights={trained}")
    data = xai.load_dataset("shapes:size=32,count=20,split=validation")
    measured = measure(
        loaded.model, Classification(), DataLoader(TrainingImages(data, range(20), loaded, Classification()), 7)
    )
    assert measured == pytest.approx((best["validation_loss"], best["validation_accuracy"]), rel=1e-5)
    with safe_open(trained, "pt") as file:
        said_within = file.metadata()
    settings = json.loads(said_within["settings"])
    assert settings["data"] == DATA
    assert settings["epochs"] == 3
    assert settings["seed"] == 0
    assert json.loads(said_within["best"])["epoch"] == best["epoch"]
    assert set(json.loads(said_within["versions"])) == {"torch", "torchvision", "xai-zoo"}
    assert not trained.with_suffix(".state.safetensors").exists()


@pytest.mark.slow
def test_a_training_is_repeatable_and_its_seed_matters(trained: Path) -> None:
    train("--workers", "2", out="again.safetensors")
    train("--seed", "1", out="other.safetensors")
    first, again, other = (load_file(file) for file in (trained, "again.safetensors", "other.safetensors"))
    assert without_seconds(log(trained.with_suffix(".csv"))) == without_seconds(log("again.csv"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


DTYPES = {"a": torch.bfloat16, "b": torch.float32, "c": torch.int64, "d": torch.uint8}


class Interrupted(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int, *options: str) -> None:
    """End the training after so many epochs are kept."""
    save = State.save

    def save_and_stop(state: State, *args: Any) -> None:
        save(state, *args)
        if len(state.epochs) == after:
            raise Interrupted

    monkeypatch.setattr(State, "save", save_and_stop)
    with pytest.raises(Interrupted):
        train(*options)
    monkeypatch.undo()


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_training_goes_on_as_if_undisturbed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Path, after: int
) -> None:
    interrupt(monkeypatch, after)
    monkeypatch.chdir(tmp_path)
    assert f"Resuming after epoch {after}" in train()
    assert without_seconds(log()) == without_seconds(log(trained.with_suffix(".csv")))
    assert Path("trained.safetensors").read_bytes() == trained.read_bytes()


def test_a_training_that_keeps_images_in_memory_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Path
) -> None:
    interrupt(monkeypatch, 1, "--in-memory")
    monkeypatch.chdir(tmp_path)
    assert "Resuming after epoch 1" in train()
    assert Path("trained.safetensors").read_bytes() == trained.read_bytes()


def test_a_training_can_stop_before_the_schedule_ends(trained: Path) -> None:
    train("--stop", "2")
    assert without_seconds(log()) == without_seconds(log(trained.with_suffix(".csv")))[:2]


def test_files_of_equal_content_are_equal() -> None:
    tensors = {name: torch.full((3,), i, dtype=dtype) for i, (name, dtype) in enumerate(DTYPES.items())}
    metadata = {name: {"value": name} for name in "abcdefgh"}
    (content,) = {encoded(tensors, metadata) for _ in range(20)}
    Path("a.safetensors").write_bytes(content)
    read = load_file("a.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    with safe_open("a.safetensors", "pt") as file:
        assert {name: json.loads(value) for name, value in file.metadata().items()} == metadata


def test_other_settings_are_refused_with_the_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupt(monkeypatch, 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"rate: 0\.001 in the file, 0\.01 now"):
        train("--rate", "0.01")
    assert Path("trained.state.safetensors").exists()


@pytest.mark.parametrize("there", ["trained.safetensors", "trained.csv"])
def test_nothing_is_overwritten(there: str) -> None:
    Path(there).write_text("mine")
    with pytest.raises(FileError, match=f"{there} would be overwritten"):
        train()
    assert Path(there).read_text() == "mine"


def test_it_ends_when_the_accuracy_stays_behind() -> None:
    train("--rate", "1e-12", "--patience", "1", "--epochs", "9")
    assert len(log()) == 2


@pytest.mark.slow
def test_it_learns() -> None:
    train("--epochs", "12", "--rate", "0.01", "--batch", "8", "--crop", "1", "--smoothing", "0", "--patience", "12")
    rows = log()
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.3


def test_the_rate_warms_up_and_falls_as_a_cosine() -> None:
    recipe = Recipe(rate=0.3, warmup=0.2)
    rates = [recipe.rate_at(step, 50) for step in range(50)]
    assert rates[:10] == pytest.approx([0.03 * step for step in range(1, 11)])
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for rate in rates[10:]:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()


@pytest.mark.parametrize(
    ("option", "value"),
    {"epochs": 0, "batch": 0, "rate": 0, "smoothing": 1, "crop": 0, "flip": 1.5, "warmup": 1, "clip": 0}.items(),
)
def test_a_recipe_that_cannot_be_is_refused(option: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"{option} must be .*, got {value}"):
        Recipe(**{option: value})  # type: ignore[arg-type]


def pictures(**options: Any) -> TrainingImages:
    return TrainingImages(xai.load_dataset(DATA), range(50), UNCHANGED, Classification(), **options)


def test_pictures_are_augmented_by_seed_epoch_and_place_alone() -> None:
    augment = augmentation(1, 0.5)
    given = pictures(augment=augment)
    first = [given[place][0] for place in range(50)]
    torch.rand(3)
    assert all(torch.equal(first[place], given[place][0]) for place in reversed(range(50)))
    plain = pictures()
    mirrored = [not torch.equal(first[place], plain[place][0]) for place in range(50)]
    assert all(
        torch.equal(first[place], plain[place][0].flip(-1) if other else plain[place][0])
        for place, other in enumerate(mirrored)
    )
    assert 15 <= sum(mirrored) <= 35
    given.epoch = 1
    assert mirrored != [not torch.equal(given[place][0], plain[place][0]) for place in range(50)]
    assert mirrored != [not torch.equal(pictures(augment=augment, seed=1)[p][0], plain[p][0]) for p in range(50)]


def test_crops_are_parts_of_the_picture() -> None:
    place = torch.arange(64.0 * 64).view(1, 64, 64)
    crop = augmentation(0.6, 0)
    torch.manual_seed(0)
    sizes = []
    for _ in range(50):
        part: Tensor = crop(place)
        top, left = divmod(int(part[0, 0, 0]), 64)
        assert torch.equal(part, place[:, top : top + part.shape[1], left : left + part.shape[2]])
        sizes.append(part[0].numel() / 64**2)
    assert 0.58 < min(sizes) < 0.7 < 0.9 < max(sizes) <= 1


def test_augmentation_takes_pil_images() -> None:
    picture = Image.new("RGB", (40, 30))
    assert augmentation(0.6, 1)(picture).size != (0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_kept_in_memory_is_what_is_read(dtype: torch.dtype) -> None:
    read = pictures()
    small, large = read[0][0].mul(255).byte(), read[1][0].to(dtype)
    data = xai.as_dataset([(small, 0), (large, 1), (Image.new("RGB", (4, 3)), 2)])
    kept = TrainingImages(data, range(3), UNCHANGED, Classification(), keep=True)
    assert kept._kept is not None
    assert [kept._kept[i][0].dtype for i in range(2)] == [torch.uint8, dtype]  # type: ignore[union-attr]
    assert [kept[i][1] for i in range(3)] == [0, 1, 2]
    assert torch.equal(kept[0][0], small / 255)
    assert torch.equal(kept[1][0], large)


def test_held_out_pictures_are_others() -> None:
    own, held_out = split(50, 0.1, seed=3)
    assert len(held_out) == 5
    assert sorted(own + held_out) == list(range(50))
    assert split(50, 0.1, seed=3) == (own, held_out) != split(50, 0.1, seed=4)


def test_accuracy_is_the_share_of_right_classes(trained: Path) -> None:
    spec = f"{MODEL},weights={trained}"
    result = CliRunner().invoke(app, ["accuracy", spec, "--data", "shapes:size=32,count=30,split=test"])
    loaded, data = xai.load_model(spec), xai.load_dataset("shapes:size=32,count=30,split=test")
    samples = [data[i] for i in range(30)]
    scores = loaded.model(torch.stack([loaded.preprocess(sample.image) for sample in samples]))
    share = sum(int(row.argmax()) == sample.target for row, sample in zip(scores, samples, strict=True)) / 30
    assert f"accuracy {share:.4f} on 30 images" in result.output


def test_errors_are_one_line() -> None:
    result = CliRunner().invoke(app, ["train", MODEL, "--data", DATA, "--out", "weights.pt"])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("error: ")


def test_epochs_that_are_as_good_leave_the_first_as_best() -> None:
    state, model = State(), torch.nn.Linear(1, 1)
    for number, accuracy in enumerate([0.1, 0.5, 0.5, 0.4], 1):
        state.add(Epoch(number, 0.0, 0.0, 0.0, 0.0, accuracy, 0.0), model)
    assert state.best_epoch.epoch == 2
    assert state.stale == 2
