"""The code in the README does what the README says."""

import re
from pathlib import Path

import pytest

import xai_core as xai
from xai_core.registry import registry

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = next(block for block in BLOCKS if "engine.explain" in block)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    exec(example, {})
    assert "torch.Size([3, 224, 224])" in capsys.readouterr().out


def test_the_plugin_works() -> None:
    plugin = next(block for block in BLOCKS if "hookimpl" in block)
    assert len([line for line in plugin.splitlines() if line.strip()]) <= 20
    names: dict[str, object] = {}
    exec(plugin, names)
    (explainer,) = names["xai_explainers"]()  # type: ignore[operator]
    assert issubclass(explainer, xai.Explainer)


def test_every_installed_method_is_listed() -> None:
    for kind in ("explainers", "metrics", "datasets"):
        for name in registry().entries[kind]:
            assert f"`{name}" in README, f"{name} is not in the README"
