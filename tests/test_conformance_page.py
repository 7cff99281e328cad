"""The page of the conformance kit has every check, as the code says it."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from xai_core.testing import adapters, datasets, explainers, metrics, model_sources

PAGE = (Path(__file__).parent.parent / "docs" / "plugins" / "conformance.md").read_text()


@pytest.mark.parametrize(
    ("heading", "module"),
    [
        ("Explainers", explainers),
        ("Metrics", metrics),
        ("Adapters", adapters),
        ("Model sources", model_sources),
        ("Data sets", datasets),
    ],
)
def test_the_page_has_every_check(heading: str, module: ModuleType) -> None:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    said = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert said == [(one.__name__, " ".join((one.__doc__ or "").split())) for one in module.CHECKS]
