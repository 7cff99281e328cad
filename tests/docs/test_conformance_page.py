"""The page of the conformance kit has every check, as the code says it."""

import re
from types import ModuleType

import pytest

from support.paths import ROOT
from xai_core.testing import adapters, datasets, explainers, metrics, model_sources

PAGE = (ROOT / "docs" / "plugins" / "conformance.md").read_text()


@pytest.mark.parametrize(
    ("heading", "module"),
    [
        ("Explainers", explainers),
        ("Metrics", metrics),
        ("Adapters", adapters),
        ("Model sources", model_sources),
        ("Datasets", datasets),
    ],
)
def test_the_page_has_every_check(heading: str, module: ModuleType) -> None:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    said = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert said == [(one.__name__, " ".join((one.__doc__ or "").split())) for one in module.CHECKS]
