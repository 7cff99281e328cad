"""Methods that chain attention follow the path to the scores from the tokens that the head reads, or refuse."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.attention_oracle import generic_attention, rollout
from support.strange import Attends, Strange
from support.strange_models import STRANGE

METHODS: dict[str, Callable[[Strange], Tensor]] = {"rollout": rollout, "generic-attention": generic_attention}
CHAINED = {name: model for name, model in STRANGE.items() if isinstance(model.rollout, Attends)}
UNCHAINED = {name: model for name, model in STRANGE.items() if isinstance(model.rollout, str)}


def cases(models: Mapping[str, Strange]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", [pytest.param(model, id=name) for name, model in models.items()])


@cases(CHAINED)
def test_attention_on_the_path_is_chained(model: Strange) -> None:
    maps = model.engine().explain(model.images(), [*METHODS], model.target)
    for method, oracle in METHODS.items():
        torch.testing.assert_close(maps[method].raw.double(), oracle(model), atol=1e-6, rtol=1e-4)


@cases(UNCHAINED)
def test_attention_that_cannot_be_chained_is_refused(model: Strange) -> None:
    assert isinstance(model.rollout, str)
    engine = model.engine()
    for method in METHODS:
        with pytest.raises(xai.XAIError, match=model.rollout):
            engine.explain(model.images(), method, model.target)
