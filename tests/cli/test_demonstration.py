"""A demonstration skips methods that break the contract, and shows all others."""

from pathlib import Path

import pytest
import torch

from support.command_line import Run
from support.misbehaving import TheirCAM


@pytest.mark.usefixtures("their_plugin")
@pytest.mark.parametrize("fault", ["forward_passes", "explain"])
def test_a_method_that_breaks_the_contract_is_skipped(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: ["grad-cam", "their-cam"])
    monkeypatch.setattr(TheirCAM, fault, lambda self, given: torch.zeros(3))
    run = Run("demo", "--limit", 1, "--model", "shapes-cbam", "--data", "shapes")
    assert run.code == 0, run.err
    message = " ".join(run.err.split())
    assert "skipped their-cam: " in message
    assert "their-cam of their-cam 2.3 must return " in message
    assert [path.name for path in (tmp_path / "xai-demo").glob("*.grad-cam.png")]
