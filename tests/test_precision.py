"""No tensor is made float64 on a device that lacks it, such as MPS."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import xai_core as xai
from support.paths import ROOT
from support.runtimes import Small, example, seeded
from xai_core import precision
from xai_core.plugin import wide

ON_THE_HOST = {
    "xai_core/perturb.py": "the kernel of the blur is made on the host",
    "xai_core/precision.py": "this is where it is decided",
    "xai_core/visualization/placement.py": "images are preprocessed on the host",
    "plugins/xai-faithfulness/xai_faithfulness/imputation.py": "keeps the type of the images",
    "plugins/xai-zoo/xai_zoo/coco.py": "masks are drawn on the host",
    "plugins/xai-captum/xai_captum/xrai.py": "regions are ranked on the host",
    "plugins/xai-perturbation/xai_perturbation/rise.py": "random numbers are drawn on the host",
}
METHODS = ["eigen-cam", "eigen-grad-cam", "conceptor-cam:intra=true", "conceptor-cam:relation=places"]
METRICS = ["irof", "pixel-flipping:region=4", "sensitivity-n:region=4", "deletion:steps=4"]


class NoFloat64(TorchDispatchMode):
    """Raises an error if an operation returns a float64 tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        assert not any(isinstance(leaf, Tensor) and leaf.dtype == torch.float64 for leaf in tree_leaves(result)), func
        return result


def test_float64_where_the_device_supports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    half = torch.ones(2, dtype=torch.float16)
    assert wide(half).dtype == torch.float64
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {"cpu"})
    assert wide(half).dtype == torch.float32
    assert torch.equal(wide(half), torch.ones(2))


def test_methods_and_metrics_on_a_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    images, engine = example(), xai.Engine(seeded(Small))
    expected = engine.explain(images, METHODS)
    scores = engine.evaluate(images, expected, METRICS)
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {"cpu"})
    with NoFloat64():
        maps = engine.explain(images, METHODS)
        results = engine.evaluate(images, maps, METRICS)
    for name, saliency in maps.items():
        torch.testing.assert_close(saliency.values, expected[name].values, atol=1e-3, rtol=0)
        assert results[name].keys() == scores[name].keys()
        assert all(result.values.isfinite().all() for result in results[name].values())


def test_other_code_does_not_choose_float64() -> None:
    files = [*(ROOT / "xai_core").rglob("*.py"), *(ROOT / "plugins").glob("*/xai_*/**/*.py")]
    choosing = {
        str(path.relative_to(ROOT))
        for path in files
        if not {"testing", "tests"} & {*path.parts}
        and re.search(r"\.double\(|\btorch\.(?:float64|double)\b", path.read_text())
    }
    assert choosing == ON_THE_HOST.keys()
