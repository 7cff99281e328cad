"""The search for what keeps tensors, in runs where other methods fail at the same time."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.benchmark_runs import Brightness, Speckles, by_key, run
from xai_core.benchmarking import leaks, worker
from xai_core.plugin import Evaluation


class Small(leaks.MemoryGrowth):
    """Suspects what keeps a MiB."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._budget = 2**20


class Collecting(Brightness):
    """Keeps all the images."""

    name = "collecting"
    kept: ClassVar[list[Tensor]] = []

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        self.kept.append(evaluation.images.repeat(16, 1, 1, 1))
        return super().evaluate(evaluation, saliency)


class Zeroing(xai.Explainer):
    """Sets the weights of the model it has seen to zero."""

    name = "zeroing"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs(activations=(adapter.default_layer,))

    def explain(self, captured: xai.Captured) -> Tensor:
        model = captured.adapter.model
        assert isinstance(model, nn.Module)
        for parameter in model.parameters():
            parameter.zero_()
        return captured.activation().mean(1)


@pytest.mark.parametrize("first", ["rollout", Zeroing()])
def test_a_leak_is_found_where_a_method_always_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str | xai.Explainer
) -> None:
    monkeypatch.setattr(worker, "MemoryGrowth", Small)
    metrics = [Brightness(), Collecting()]
    data = Speckles(24)
    found = run(tmp_path / "run", data, methods=[first, "grad-cam"], metrics=metrics, shard=4)
    alone = by_key(run(tmp_path / "alone", data, methods="grad-cam", metrics=Brightness(), shard=4).rows())
    Collecting.kept.clear()
    assert any("disabled: collecting keeps 0.2 MiB of tensors for each image" in note for note in found.notes())
    rows = by_key(found.rows())
    assert rows["speckle-23", "grad-cam", "collecting"]["error"].startswith("disabled: collecting keeps")
    for key, row in alone.items():
        assert (rows[key]["score"], rows[key]["error"]) == (row["score"], None)


def test_what_is_kept_of_one_image_alone_is_no_leak() -> None:
    kept: list[Tensor] = []

    def keep() -> None:
        kept.append(torch.zeros(4096))

    def let_go() -> None:
        kept.clear()

    calls = {
        "leak": [keep, keep, keep],
        "cache that one image fills": [let_go, keep, list],
        "last batch": [keep, list, let_go],
        "nothing": [list, list, list],
    }
    assert leaks._kept_bytes(calls, lambda error: pytest.fail(str(error))) == {"leak": 4 * 4096}
