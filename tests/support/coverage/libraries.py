"""The libraries whose models are examined. Each is imported when it is used."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from support.coverage.case import Case

MODULES = {
    "torchvision": "torchvision_models",
    "timm": "timm_models",
    "transformers": "transformers_models",
    "segmentation-models-pytorch": "segmentation_models",
    "vit-pytorch": "vit_pytorch_models",
}


def all_cases(library: str) -> Iterator[Case]:
    """Yield the cases of a library."""
    return models_of(library).cases()


def case_of(key: str) -> Case:
    """Return the case with a key `library:family:name`."""
    library, family, name = key.split(":")
    return models_of(library).case(family, name)


def models_of(library: str) -> Any:
    return import_module(f"support.coverage.{MODULES[library]}")
