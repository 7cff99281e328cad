"""The page on conformance tests lists every check with the description in the code."""

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
def test_every_check_is_documented(heading: str, module: ModuleType) -> None:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert documented == [(check.__name__, " ".join((check.__doc__ or "").split())) for check in module.CHECKS]
