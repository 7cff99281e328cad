"""Everything of the first party keeps the promises of the conformance kit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from PIL import Image
from torch import nn

import xai_core as xai
from support.annotated_datasets import instance
from support.explaining import FEWER
from support.models import Plain, settled
from xai_core.plugins.registry import registry
from xai_core.spec import parse
from xai_core.testing import (
    Check,
    check_dataset,
    check_explainer,
    check_metric,
    check_model_source,
    parametrize_with_checks,
)

# Few steps, samples or parts, which the promises do not depend on.
METRICS = {
    "aopc": "aopc:region=8",
    "deletion": "deletion:steps=6",
    "faithfulness-correlation": "faithfulness-correlation:samples=20",
    "infidelity": "infidelity:samples=20",
    "insertion": "insertion:steps=6",
    "irof": "irof:segments=12",
    "max-sensitivity": "max-sensitivity:samples=2",
    "parameter-randomization": "parameter-randomization:layers=2",
    "pixel-flipping": "pixel-flipping:region=8",
    "sensitivity-n": "sensitivity-n:samples=8",
    "srg": "srg:steps=6",
}
# Those that suit few models, and not the kit's.
SUITED: dict[str, dict[str, nn.Module]] = {"lrp": {"a network without residual connections": settled(Plain())}}
MODELS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "cifar-vit": (None, {}),
    "dino": ("vits8", {}),
    "efficientnet-lite0": (None, {}),
    "frozen-resnet": (None, {"depth": 18, "trunk": None}),
    "resnet-bam": (None, {"depth": 18}),
    "resnet-cbam": (None, {"depth": 18}),
    "shapes-cbam": (None, {}),
    "shapes-vit": (None, {}),
    "timm": ("mobilevitv2_050", {"pretrained": False}),
    "torchvision": ("squeezenet1_1", {"weights": None}),
    "unet": (None, {}),
}


@pytest.fixture(autouse=True)
def types_are_checked_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def of_every_explainer() -> Iterator[Check]:
    for name in xai.list_explainers():
        yield from check_explainer(FEWER.get(name, name), SUITED.get(name))


def of_every_metric() -> Iterator[Check]:
    for name in xai.list_metrics():
        yield from check_metric(METRICS.get(name, name))


def of_model_sources() -> Iterator[Check]:
    assert {*MODELS} == {*registry().entries["models"]}
    for name, (model, options) in MODELS.items():
        yield from check_model_source(registry().find("models", name).made_by, model, **options)


@parametrize_with_checks(of_every_explainer())
def test_explainers(check: Check) -> None:
    check()


@parametrize_with_checks(of_every_metric())
def test_metrics(check: Check) -> None:
    check()


@parametrize_with_checks(of_model_sources())
def test_model_sources(check: Check) -> None:
    check()


def folder(path: Path) -> str:
    """Two images in one folder per class, and the spec of it."""
    for place, name in enumerate(("cat", "dog")):
        (path / name).mkdir(parents=True)
        Image.new("RGB", (30 + place, 20), (200, 10, 90 * place)).save(path / name / f"{name}.png")
    return f"folder:{path}"


DATA: dict[str, Callable[[Callable[[str], Any]], str]] = {
    "cifar10": lambda fixture: f"cifar10:{fixture('cifar10')}",
    "coco": lambda fixture: fixture("coco")(instance(139, 1, [[2, 3, 9, 3, 9, 7, 2, 7]], [2, 3, 7, 4])),
    "folder": lambda fixture: folder(fixture("tmp_path")),
    "hf": lambda fixture: f"hf:{fixture('hf')}/two,split=test",
    "imagenet": lambda fixture: f"imagenet:{fixture('imagenet')}",
    "photos": lambda fixture: "photos",
    "shapes": lambda fixture: "shapes",
    "shapes-shortcut": lambda fixture: "shapes-shortcut",
    "voc": lambda fixture: f"voc:{fixture('voc')}",
}


@pytest.mark.parametrize("name", xai.list_datasets())
def test_datasets(name: str, request: pytest.FixtureRequest) -> None:
    spec = DATA[name](request.getfixturevalue)
    parsed = parse(spec)
    for check in check_dataset(registry().find("datasets", parsed.head).made_by, parsed.name, **parsed.options):
        check()
