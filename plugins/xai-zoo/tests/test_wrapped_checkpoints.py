"""Checkpoints of training libraries: prefixes, other entries, hyperparameters, and pickled modules."""

import re
import shlex
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support import subprocesses
from xai_core.errors import CheckpointError
from xai_core.plugin import CheckpointWarning
from xai_zoo.checkpoint import fit, read_state_dict, select
from xai_zoo.prefixes import exact_prefixes

SPEC = "timm:test_efficientnet,num_classes=3"


class Net(nn.Module):
    """A model whose class a checkpoint must not import."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)


@pytest.fixture(scope="module")
def original() -> dict[str, Tensor]:
    return xai.load_model(f"{SPEC},weights=none").model.state_dict()


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def require_equal(model: nn.Module, state: dict[str, Tensor]) -> None:
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "model_ema", "ema", ""])
@pytest.mark.parametrize("prefix", ["", "model.", "net.backbone.", "model._orig_mod.", "a.b.module.c."])
@pytest.mark.filterwarnings("error")
def test_any_common_prefix_is_removed(wrapper: str, prefix: str, original: dict[str, Tensor], tmp_path: Path) -> None:
    state = prefixed(original, prefix)
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "last.ckpt")
    require_equal(xai.load_model(f"{SPEC},weights={tmp_path / 'last.ckpt'}").model, original)


def test_counts_of_batches_may_be_missing_behind_a_prefix(original: dict[str, Tensor], tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in original.items() if "num_batches" not in key}
    torch.save(state, tmp_path / "last.ckpt")
    require_equal(xai.load_model(f"{SPEC},weights={tmp_path / 'last.ckpt'}").model, original)


def test_entries_outside_of_the_prefix_are_ignored_with_a_warning(original: dict[str, Tensor], tmp_path: Path) -> None:
    others = {"loss.weight": torch.ones(3), "metric.total": torch.zeros(())}
    torch.save({"state_dict": {**prefixed(original, "model."), **others}}, tmp_path / "last.ckpt")
    with pytest.warns(CheckpointWarning, match=r"prefix 'model\.', and ignored loss\.weight, metric\.total$"):
        loaded = xai.load_model(f"{SPEC},weights={tmp_path / 'last.ckpt'}")
    require_equal(loaded.model, original)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_more_entries_within_the_prefix_are_refused(prefix: str, original: dict[str, Tensor], tmp_path: Path) -> None:
    """A deeper network than the one that was built would otherwise lose its last blocks."""
    state = prefixed({**original, "blocks.9.conv.weight": torch.zeros(1)}, prefix)
    torch.save({**state, "loss.weight": torch.ones(3)} if prefix else state, tmp_path / "deep.ckpt")
    with pytest.raises(CheckpointError, match=r"unexpected: blocks\.9\.conv\.weight\. Check") as caught:
        xai.load_model(f"{SPEC},weights={tmp_path / 'deep.ckpt'}")
    assert ("After removing the prefix 'model.'" in str(caught.value)) == bool(prefix)


def test_missing_entries_are_refused(original: dict[str, Tensor], tmp_path: Path) -> None:
    state = prefixed({key: value for key, value in original.items() if key != "conv_stem.weight"}, "model.")
    torch.save(state, tmp_path / "part.ckpt")
    with pytest.raises(CheckpointError, match=r"prefix 'model\.': missing: conv_stem\.weight\. Check"):
        xai.load_model(f"{SPEC},weights={tmp_path / 'part.ckpt'}")


def test_two_sets_of_weights_are_refused(original: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({**prefixed(original, "model."), **prefixed(original, "ema.")}, tmp_path / "two.ckpt")
    with pytest.raises(CheckpointError, match=r"several sets of weights .* prefixes 'ema\.', 'model\.'; save one"):
        xai.load_model(f"{SPEC},weights={tmp_path / 'two.ckpt'}")


def test_weights_come_before_their_average(original: dict[str, Tensor], tmp_path: Path) -> None:
    averaged = {key: torch.zeros_like(value) for key, value in original.items()}
    torch.save({"ema": averaged, "model": original}, tmp_path / "both.pth")
    require_equal(xai.load_model(f"{SPEC},weights={tmp_path / 'both.pth'}").model, original)


def test_averaged_models_of_pytorch_are_read(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    torch.save(torch.optim.swa_utils.AveragedModel(model).state_dict(), tmp_path / "average.pth")
    with pytest.warns(CheckpointWarning, match="ignored n_averaged"):
        fit(model, read_state_dict(tmp_path / "average.pth"), "average.pth")


@pytest.mark.filterwarnings("error")
def test_versions_of_modules_stay_with_their_modules() -> None:
    outer = nn.ModuleDict({"model": nn.Sequential(nn.BatchNorm2d(3))})
    selected = select(outer["model"], outer.state_dict(), "last.ckpt")
    assert dict(selected._metadata) == dict(outer["model"].state_dict()._metadata)  # type: ignore[attr-defined]


def test_a_name_that_is_the_end_of_another_is_no_prefix() -> None:
    assert exact_prefixes(["preconv.weight"], ["conv.weight"]) == []
    assert exact_prefixes(["pre.conv.weight"], ["conv.weight"]) == ["pre."]


def test_hyperparameters_of_lightning_are_read(
    original: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("lightning.fabric.utilities.data")
    for name in ("lightning", "lightning.fabric", "lightning.fabric.utilities"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    attributes = type("AttributeDict", (dict,), {"__module__": module.__name__})
    module.AttributeDict = attributes  # type: ignore[attr-defined]
    hyperparameters = attributes(width=64, folder=Path("data/train"))
    content = {"epoch": 1, "state_dict": prefixed(original, "model."), "hyper_parameters": hyperparameters}
    torch.save(content, tmp_path / "last.ckpt")
    monkeypatch.undo()
    require_equal(xai.load_model(f"{SPEC},weights={tmp_path / 'last.ckpt'}").model, original)


@pytest.mark.parametrize("wrapper", ["", "state_dict"])
def test_a_pickled_module_is_refused_with_the_command_that_saves_its_weights(wrapper: str, tmp_path: Path) -> None:
    file, net = tmp_path / "whole.pth", Net()
    torch.save({"args": net, "state_dict": net.state_dict()} if wrapper else net, file)
    with pytest.raises(CheckpointError, match=r"whole\.pth contains a \S+\.Net, and .* run code") as caught:
        read_state_dict(file)
    [command] = re.findall(r"python -c .*$", str(caught.value))
    python, option, code = shlex.split(command)
    assert (python, option) == ("python", "-c")
    subprocesses.printed(code, str(Path(__file__).parent))
    loaded = Net()
    with warnings.catch_warnings(action="error"):
        fit(loaded, read_state_dict(tmp_path / "whole-weights.pth"), "whole-weights.pth")
    require_equal(loaded, net.state_dict())
