"""Everything of the first party keeps the promises of the conformance kit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from PIL import Image
from test_annotated_data import coco, instance, voc
from torch import nn

import xai_core as xai
from conftest import FEWER, Plain, settled
from xai_core.registry import registry
from xai_core.testing import (
    Check,
    check_dataset,
    check_explainer,
    check_metric,
    check_model_source,
    parametrize_with_checks,
)

__all__ = ["coco", "voc"]

# Few steps, samples or parts, which the promises do not depend on.
METRICS = {
    "aopc": "aopc:region=8",
    "deletion": "deletion:steps=6",
    "faithfulness-correlation": "faithfulness-correlation:samples=20",
    "infidelity": "infidelity:samples=20",
    "insertion": "insertion:steps=6",
    "irof": "irof:segments=12",
    "max-sensitivity": "max-sensitivity:samples=2",
    "parameter-randomisation": "parameter-randomisation:layers=2",
    "pixel-flipping": "pixel-flipping:region=8",
    "sensitivity-n": "sensitivity-n:samples=8",
    "srg": "srg:steps=6",
}
# Those that suit few models, and not the kit's.
SUITED: dict[str, dict[str, nn.Module]] = {"lrp": {"a network without residual connections": settled(Plain())}}
MODELS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "cifar-vit": (None, {}),
    "efficientnet-lite0": (None, {}),
    "resnet-bam": (None, {"depth": 18}),
    "resnet-cbam": (None, {"depth": 18}),
    "shapes-cbam": (None, {}),
    "shapes-vit": (None, {}),
    "timm": ("mobilevitv2_050", {"pretrained": False}),
    "torchvision": ("squeezenet1_1", {"weights": None}),
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


@pytest.fixture
def where(tmp_path: Path, voc: Path, coco: Callable[..., str]) -> dict[str, Callable[[], str | None]]:
    """What each source of data is asked to open."""
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "folder" / name).mkdir(parents=True)
        Image.new("RGB", (30 + place, 20), (200, 10, 90 * place)).save(tmp_path / "folder" / name / f"{name}.png")
    return {
        "coco": lambda: coco(instance(139, 1, [[2, 3, 9, 3, 9, 7, 2, 7]], [2, 3, 7, 4])).partition(":")[2],
        "folder": lambda: f"{tmp_path / 'folder'}",
        "photos": lambda: None,
        "shapes": lambda: None,
        "shapes-shortcut": lambda: None,
        "voc": lambda: f"{voc}",
    }


@pytest.mark.parametrize("name", ["coco", "folder", "photos", "shapes", "shapes-shortcut", "voc"])
def test_datasets(name: str, where: dict[str, Callable[[], str | None]]) -> None:
    opened = where[name]()
    data = xai.load_dataset(name if opened is None else f"{name}:{opened}")
    for check in (*check_dataset(registry().find("datasets", name).made_by), *check_dataset(data)):
        if check.name == "has_a_name" or check.subject != name:
            check()
