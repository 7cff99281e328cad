"""Models that a function of the user builds: calls, options, preprocessing, and errors."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import xai_core as xai
from xai_core.errors import CheckpointError, FileError, ModelCodeError, OptionError, UnknownModelError, XAIError

LAYERS = """
from torch import nn

class Block(nn.Sequential):
    def __init__(self, channels):
        super().__init__(nn.Conv2d(channels, 4, 3), nn.ReLU())
"""
MINE = """
import dataclasses
import xai_core
from torch import nn
from layers import Block

@dataclasses.dataclass
class Config:
    classes: int = 3

class Net(nn.Sequential):
    def __init__(self, classes=3, channels=3):
        super().__init__(Block(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

def build(classes: int = 3, channels: int = 3):
    return Net(Config(classes).classes, channels)

def sized(size, checkpoint=None):
    model = build()
    model.seen = size, checkpoint
    return model

def anything(**options):
    model = build()
    model.seen = options
    return model

def complete(classes=2):
    return xai_core.LoadedModel(build(classes).eval(), lambda image: image, class_names=["a", "b"])

def raises():
    found = {}
    return found["key"]

def number():
    return 3

def pair():
    return build(), None

ready = build()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the files above."""
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/layers.py").write_text(LAYERS)
    Path("models/mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "classes"),
    [
        ("models/mine.py:build", 3),
        ("models/mine.py:Net,classes=5", 5),
        ("models/mine.py:ready", 3),
        ("models/mine.py:complete,classes=2", 2),
        ('"models/mine.py":build', 3),
        ("python:models/mine.py:build", 3),
        ("torchvision.models:resnet18,num_classes=7", 7),
    ],
)
def test_functions_classes_and_models_of_files_and_modules_are_loaded(spec: str, classes: int) -> None:
    path, modules = [*sys.path], {*sys.modules}
    loaded = xai.load_model(spec)
    assert loaded.model(torch.rand(1, 3, 64, 64)).shape == (1, classes)
    assert not loaded.model.training
    assert xai.load_model(loaded.spec).spec == loaded.spec
    assert sys.path == path
    assert not [name for name in {*sys.modules} - modules if name.startswith(("mine", "layers"))]


def test_paths_with_special_characters_are_quoted(folder: Path) -> None:
    unusual = folder / "a, b=(c"
    (folder / "models").rename(unusual)
    for spec in (
        f'"{unusual}/mine.py:build"',
        f'"{unusual}/mine.py":build,classes=3',
        f'python:"{unusual}/mine.py:build"',
    ):
        loaded = xai.load_model(spec)
        assert xai.load_model(loaded.spec).spec == loaded.spec


def test_files_of_the_same_name_in_two_folders_are_not_confused(folder: Path) -> None:
    for name in ("one", "two"):
        Path(name).mkdir()
        Path(name, "width.py").write_text(f"WIDTH = {len(name) + (name == 'two')}")
        Path(name, "net.py").write_text(
            "from torch import nn\nfrom width import WIDTH\nbuild = lambda: nn.Conv2d(3, WIDTH, 1)"
        )
    assert [xai.load_model(f"{name}/net.py:build").model.out_channels for name in ("one", "two")] == [3, 4]
    Path("two/width.py").write_text("WIDTH = 17")
    assert xai.load_model("two/net.py:build").model.out_channels == 17
    assert xai.load_model("two/net.py:build").source_files == [folder / "two/net.py", folder / "two/width.py"]


def test_random_weights_are_the_same_in_every_process() -> None:
    torch.manual_seed(5)
    first = xai.load_model("models/mine.py:build").model
    drawn = torch.rand(1)
    second = xai.load_model("models/mine.py:build").model
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)


def test_preprocessing_by_default(picture: Image.Image) -> None:
    loaded = xai.load_model("models/mine.py:build")
    gray = torch.full((3, 30, 40), 0.456)
    assert loaded.preprocess(picture).shape == (3, 224, 224)
    torch.testing.assert_close(loaded.preprocess(gray)[1], torch.zeros(224, 224), atol=1e-6, rtol=0)
    assert loaded.restore is not None
    torch.testing.assert_close(loaded.restore(loaded.preprocess(gray)), torch.full((3, 224, 224), 0.456))
    assert loaded.class_names is None
    single = xai.load_model("models/mine.py:build,channels=1")
    torch.testing.assert_close(
        single.preprocess(torch.full((1, 9, 9), 0.75)), torch.full((1, 224, 224), 0.5), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (300, 100), (255, 0, 0)), torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 100, 300)]
)
def test_options_change_the_preprocessing(image: object) -> None:
    loaded = xai.load_model("models/mine.py:build,size=32x48,mean=0.5,std=0.5+0.25+0.125,labels=red+green+blue")
    pixels = loaded.preprocess(image)  # type: ignore[arg-type]
    assert pixels.shape == (3, 32, 48)
    torch.testing.assert_close(pixels.mean((1, 2)), torch.tensor([1.0, -2.0, -4.0]))
    assert loaded.class_names == ["red", "green", "blue"]
    assert "size=32x48" in loaded.spec
    plain = xai.load_model("models/mine.py:build", size=64, mean=[0, 0, 0], std=(1, 1, 1))
    torch.testing.assert_close(plain.preprocess(image)[0], torch.ones(64, 64))  # type: ignore[arg-type]


def test_a_function_receives_the_options_that_it_names() -> None:
    loaded = xai.load_model("models/mine.py:sized,size=64,checkpoint=none.pth")
    assert loaded.model.seen == (64, "none.pth")
    assert loaded.preprocess(torch.rand(3, 80, 90)).shape == (3, 64, 64)
    assert xai.load_model("models/mine.py:anything,depth=3,size=32").model.seen == {"depth": 3}


@pytest.mark.parametrize("option", ["checkpoint", "weights"])
def test_a_checkpoint_that_the_function_does_not_take_is_loaded(option: str) -> None:
    original = xai.load_model("models/mine.py:build,classes=4").model
    nn.init.ones_(original[-1].weight)
    torch.save({"state_dict": {f"net.{key}": value for key, value in original.state_dict().items()}}, "last.ckpt")
    loaded = xai.load_model(f"models/mine.py:build,classes=4,{option}=last.ckpt").model
    assert torch.equal(loaded[-1].weight, torch.ones(4, 4))
    with pytest.raises(CheckpointError, match=r"3\.weight \(file: \[4, 4\], model: \[3, 4\]\)"):
        xai.load_model(f"models/mine.py:build,{option}=last.ckpt")
    with pytest.raises(OptionError, match="the same option"):
        xai.load_model("models/mine.py:build,weights=last.ckpt,checkpoint=last.ckpt")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("models/mien.py:build", FileError, r"models/mien\.py does not exist; did you mean 'models/mine\.py'\?"),
        ("none/mine.py:build", FileError, r"none/mine\.py does not exist; the folder none contains no Python files"),
        ("models/mine.py", UnknownModelError, r"expected `models/mine\.py:FUNCTION`.*: Config, Net, build"),
        ("models/mine.py:biuld", UnknownModelError, "has no function 'biuld'; did you mean 'build'"),
        ("torchvision.models:resnet19", UnknownModelError, "has no function 'resnet19'; did you mean '.*resnet1"),
        ("models/mine:build", UnknownModelError, r"is not a Python file; .*such as `models/mine\.py`"),
        ("nowhere.mine:build", UnknownModelError, r"no module 'nowhere', .*a file such as `nowhere/mine\.py`"),
        ("models.mine:build", ModelCodeError, r"imported: ModuleNotFoundError.*'layers' .*mine\.py, line 5"),
        ("models/mine.py:raises", ModelCodeError, r"raises failed: KeyError: 'key' \(.*models/mine\.py, line 3\d\)"),
        ("models/mine.py:number", ModelCodeError, r"returned an object of class int; expected an nn\.Module"),
        ("models/mine.py:pair", ModelCodeError, "returned a tuple of Net, NoneType"),
        ("models/mine.py:build,clases=2", OptionError, "has no option 'clases'; did you mean 'classes'"),
        ("models/mine.py:sized", OptionError, "requires the option 'size'; expected `models/mine.py:sized,size=VALUE`"),
        ("models/mine.py:complete,size=3", OptionError, "does not take 'size', and returns a LoadedModel; remove"),
        ("models/mine.py:build,size=big", OptionError, "size must be a number of pixels or HEIGHTxWIDTH"),
        ("models/mine.py:build,mean=1+2", OptionError, "mean must have one number, or one for each of 3"),
        ("models/mine.py:build,std=0", OptionError, "std must be positive"),
        ("models/mine.py:build,mean=x", OptionError, r"mean must be one number, or one per channel, such as 0\.5\+0"),
        ("models/mine.py:build,channels=4", OptionError, "images have 1 or 3 channels, but the model takes 4"),
        ("models/mine.py:build,weights=no.pth", FileError, r"no\.pth does not exist"),
    ],
)  # fmt: skip
def test_mistakes_are_named(spec: str, error: type[XAIError], message: str) -> None:
    with pytest.raises(error, match=message):
        xai.load_model(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(:", r"bad\.py cannot be imported: SyntaxError: .*bad\.py, line 1\)"),
        ("import sys\n\nsys.exit(3)", r"SystemExit: 3 \(.*bad\.py, line 3\)"),
        ("import torch\ntorch.zeros(2) @ torch.zeros(3)", r"RuntimeError.*bad\.py, line 2\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_the_line(text: str, message: str) -> None:
    Path("bad.py").write_text(text)
    with pytest.raises(ModelCodeError, match=message):
        xai.load_model("bad.py:build")
