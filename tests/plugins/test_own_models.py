"""Which specs name files and modules, and which name sources."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from xai_core.data.sources import LoadedModel, ModelSource
from xai_core.errors import OptionError, UnknownModelError
from xai_core.plugins.model_options import shared_options
from xai_core.plugins.own_models import with_source
from xai_core.plugins.registry import looking_in, restricted
from xai_core.spec import Spec, parse


class Source(ModelSource):
    """A source of one model."""

    def load(self, name: str | None, weights: str | None = None) -> LoadedModel:  # type: ignore[override]
        raise NotImplementedError


class Provider:
    """A plugin."""

    def __init__(self, *names: str) -> None:
        import xai_core as xai

        sources = [type(name, (Source,), {"name": name}) for name in names]
        self.xai_models = xai.hookimpl(lambda: sources, specname="xai_models")


@pytest.fixture
def sources() -> Iterator[None]:
    """Look names up among a few sources."""
    with looking_in(restricted(Provider("timm", "python", "a.b"))):
        yield


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("mine.py:build", "mine.py:build"),
        ("mine.py", "mine.py"),
        ("models/mine.py:build", "models/mine.py:build"),
        ("models\\mine.py:build", "models\\mine.py:build"),
        ("C:\\models\\mine.py:build", "C:\\models\\mine.py:build"),
        ("C:/models/mine.py:build", "C:/models/mine.py:build"),
        ('"C:\\a, b\\mine.py":build', "C:\\a, b\\mine.py:build"),
        ('"C:\\a, b\\mine.py:build"', "C:\\a, b\\mine.py:build"),
        ("../mine:build", "../mine:build"),
        ("package.module:build", "package.module:build"),
        ("package.module:Net", "package.module:Net"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_files_and_modules(text: str, where: str) -> None:
    assert with_source(parse(text)) == Spec("python", where)
    comma = f"{text},width=64" if ":" in text else f"{text}:width=64"
    assert with_source(parse(comma)) == Spec("python", where, {"width": 64})
    assert parse(str(with_source(parse(text)))) == with_source(parse(text))


@pytest.mark.parametrize(
    "text",
    ["timm", "timm:resnet18", "timm:mine.py", "python:mine.py:build", "a.b:build", "unknown:name", "timm.resnet18"],
)
@pytest.mark.usefixtures("sources")
def test_sources_take_precedence(text: str) -> None:
    assert with_source(parse(text)) == parse(text)


def test_without_the_source_the_error_names_its_package() -> None:
    with (
        looking_in(restricted(Provider("timm"))),
        pytest.raises(UnknownModelError, match="`python` of the package xai-zoo"),
    ):
        with_source(parse("mine.py:build"))


@pytest.mark.parametrize(
    ("spec", "file", "hint"),
    [
        ("mine:build", "mine.py", r"did you mean the file `mine\.py`"),
        ("last.ckpt", "last.ckpt", r"a weights file, so name the model too, as in `timm:resnet18,weights=last\.ckpt`"),
        ("my-vit", "my-vit/config.json", "did you mean `hf:my-vit`"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_other_files_suggest_the_spec_of_a_model(
    spec: str, file: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).touch()
    with pytest.raises(UnknownModelError, match=hint):
        with_source(parse(spec))


def test_checkpoint_is_another_name_of_weights() -> None:
    assert shared_options(Source().load, {"checkpoint": "a.pth"}) == ({"weights": "a.pth"}, None)
    assert shared_options(Source().load, {"weights": "a.pth", "labels": "a+b"}) == ({"weights": "a.pth"}, ["a", "b"])
    with pytest.raises(OptionError, match="weights= and checkpoint= are the same option"):
        shared_options(Source().load, {"checkpoint": "a.pth", "weights": "b.pth"})


def test_options_that_a_source_names_are_its_own() -> None:
    def load(name: str | None, weights: str = "", checkpoint: str = "", labels: str = "") -> LoadedModel:
        raise NotImplementedError

    options = {"checkpoint": "a.pth", "labels": "x"}
    assert shared_options(load, options) == (options, None)
