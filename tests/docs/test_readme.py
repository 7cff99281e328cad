"""The code in the README does what the README says."""

import re
import types

import pytest

import xai_core as xai
from support.models import made, three_images
from support.paths import ROOT
from xai_core.plugins.registry import registry

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("what", "lines"), [("engine.explain", 10), ("hookimpl", 20)])
def test_the_examples_are_short(what: str, lines: int) -> None:
    """That they run, `test_examples.py` tests."""
    example = next(block for block in BLOCKS if what in block)
    assert len([line for line in example.splitlines() if line.strip()]) <= lines


def test_the_plugin_works() -> None:
    module = types.ModuleType("readme")
    exec(next(block for block in BLOCKS if "hookimpl" in block), vars(module))
    maps = xai.Engine(made("cnn"), plugins=module).explain(three_images(), "mean-activation")
    assert maps["mean-activation"].values.shape == (3, 32, 32)


def test_the_plugin_is_that_of_the_documentation() -> None:
    plugin = next(block for block in BLOCKS if "hookimpl" in block)
    assert plugin in (ROOT / "docs" / "plugins" / "index.md").read_text()


def test_every_installed_method_is_listed() -> None:
    for kind in ("explainers", "metrics", "datasets"):
        for name in registry().entries[kind]:
            assert f"`{name}" in README, f"{name} is not in the README"
