"""Names with line breaks, `..`, control characters or 5,000 letters work, or raise one clear line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import xai_core as xai
from support.benchmark_runs import Brightness, Speckles, loaded, run
from support.command_line import Did, refused
from support.command_line import Run as Command
from support.models import SmallCNN, settled
from xai_core.errors import FileError, XAIError
from xai_core.files import distinct
from xai_core.printable import one_line, printable

NAMES = {
    "line break": "a\nb",
    "parent": "../../b",
    "escape": "a\x1b[31mb\x07",
    "null": "a\x00b",
    "right to left": "a\u202eb",
    "surrogate": "a\udce9",
    "long": "x" * 5000,
    "long path": "y" * 300,
}
IMAGES = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Renamed(Speckles):
    name: str = ""

    def __getitem__(self, index: int, /) -> xai.Sample:
        return replace(super().__getitem__(index), id=f"{self.name}{index}")


@pytest.fixture(scope="module")
def engine() -> xai.Engine:
    torch.manual_seed(0)
    return xai.Engine(settled(SmallCNN()))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "one" / "two").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one" / "two")
    return tmp_path


def metric_named(name: str) -> xai.Metric:
    return type("Named", (Brightness,), {"name": name})()


ACTS: dict[str, Callable[[xai.Engine, str], object]] = {
    "method": lambda engine, name: engine.explain(IMAGES, name),
    "layer": lambda engine, name: engine.explain(IMAGES, f"grad-cam:layer={name}"),
    "option": lambda engine, name: engine.explain(IMAGES, f"grad-cam:{name}=1"),
    "metric": lambda engine, name: engine.evaluate(IMAGES, IMAGES[:, 0], name),
    "class of a metric": lambda engine, name: engine.evaluate(IMAGES, IMAGES[:, 0], metric_named(name)),
    "source": lambda engine, name: xai.load_model(name),
    "model": lambda engine, name: xai.load_model(f"torchvision:{name}"),
    "weights": lambda engine, name: xai.load_model(f"torchvision:resnet18,weights={name}"),
    "dataset": lambda engine, name: xai.load_dataset(name),
    "folder": lambda engine, name: xai.load_dataset(f"folder:{name}"),
    "annotations": lambda engine, name: xai.load_dataset(f"coco:.,annotations={name}"),
    "voc": lambda engine, name: xai.load_dataset(f"voc:{name}"),
    "imagenet": lambda engine, name: xai.load_dataset(f"imagenet:{name}"),
    "cifar10": lambda engine, name: xai.load_dataset(f"cifar10:{name}"),
    "photograph": lambda engine, name: xai.load_dataset(f"photos:{name}"),
    "run": lambda engine, name: xai.Run.read(name),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("act", ACTS)
def test_a_wrong_name_is_one_short_line(engine: xai.Engine, act: str, name: str) -> None:
    with pytest.raises(XAIError) as raised:
        ACTS[act](engine, NAMES[name])
    message = str(raised.value)
    assert message == printable(message)
    assert "\n" not in message
    assert len(message) < 1200


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_specs_of_any_name_can_be_benchmarked_and_reported(name: str) -> None:
    model = replace(loaded(), spec=NAMES[name])
    finished = run(Path("out"), Renamed(2, name=NAMES[name]), models=model, methods="grad-cam")
    assert len(finished) == 4
    assert not any(finished.rows()["error"].to_pylist())
    for format in ("table", "markdown", "latex", "csv", "json"):
        report = Did("report", "out", "--format", format)
        assert report.code == 0, report.err


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_in_its_folder_or_refused_in_one_line(folder: Path, name: str) -> None:
    before, out = {*folder.rglob("*")}, Path(NAMES[name])
    if name in ("null", "long", "long path"):
        with pytest.raises(FileError, match=r"^cannot create the folder [^\n]*$"):
            run(out, Speckles(1), methods="grad-cam")
        assert {*folder.rglob("*")} == before
    else:
        assert run(out, Speckles(1), methods="grad-cam").path == Path.cwd() / out


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"null"}))  # which no command receives
def test_commands_answer_in_one_line(name: str) -> None:
    wrong = NAMES[name]
    Image.new("RGB", (8, 8)).save("p.png")
    refused(Command("explain", "p.png", "--model", f"torchvision:{wrong}", "--method", "grad-cam", "--out", "out"))
    refused(Command("explain", "p.png", "--model", "shapes-vit", "--method", wrong, "--out", "out"))
    refused(Command("benchmark", "--model", wrong, "--data", "photos", "--out", "out", "--in-process"))
    refused(Command("report", wrong))
    missing = Command("explain", wrong, "--model", "shapes-vit", "--method", "center", "--out", "out")
    assert (missing.code, len(missing.err.splitlines())) == (1, 1)
    assert missing.err == printable(missing.err)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_stay_in_their_folder(name: str) -> None:
    [file] = distinct([NAMES[name]])
    assert Path(file).name == file
    assert len(file.encode()) <= 100


def test_text_is_printed_as_it_is_except_for_control_characters() -> None:
    assert printable("é 中\u202f😀\ta\x1b\x7f\u2028\udce9\nb") == "é 中\u202f😀\\ta\\x1b\\x7f\\u2028\\udce9\nb"
    assert one_line("  a  b\n\n  c\r\nd ") == "a  b c d"
    assert one_line("a " + "x" * 200) == "a " + "x" * 200
    assert one_line("x" * 201) == "x" * 120 + "..." + "x" * 60


def test_messages_keep_their_arguments_and_notes() -> None:
    error: Any = XAIError("a\nb")
    error.add_note("c\nd")
    assert (str(error), error.args, error.__notes__) == ("a b", ("a\nb",), ["c\nd"])
