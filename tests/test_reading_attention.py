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

ROW = "the row is that of the first token, or the mean of all"
PATH = "attention that is not on the path to the scores is chained"

UNREAD: dict[str, str] = {
    **dict.fromkeys(
        ("class token last", "class token at index 4", "class token plus mean", "detection tokens",
         "distillation token"),
        ROW,
    ),
    **dict.fromkeys(("registers after, mean over patches", "prefix, middle and suffix"), ROW),
    **dict.fromkeys(("zero-shot transformer", "zero-shot transformer, text first", "auxiliary branch, rollout"), PATH),
    "parallel blocks": "parallel layers are chained one after another",
}  # fmt: skip
"""Models, or a model and a method, that are not yet read correctly, and why."""
UNREFUSED: dict[str, str] = {
    "16 queries": "queries are taken for the tokens that they read",
    "two passes": "the layers of two passes are chained one after another",
    "one layer not seen": "a layer that was not seen is left out",
}
"""Models that are not yet refused, and why."""


def cases(models: Mapping[str, Strange], unfinished: Mapping[str, str]) -> pytest.MarkDecorator:
    assert {name.partition(", rollout")[0] for name in unfinished} <= models.keys()
    params = []
    for name, model in models.items():
        for method in METHODS:
            reason = unfinished.get(name, unfinished.get(f"{name}, {method}", ""))
            mark = pytest.mark.xfail(bool(reason), reason=reason)
            params.append(pytest.param(model, method, id=f"{name}, {method}", marks=mark))
    return pytest.mark.parametrize(("model", "method"), params)


@cases(CHAINED, UNREAD)
def test_attention_on_the_path_is_chained(model: Strange, method: str) -> None:
    try:
        saliency = model.engine().explain(model.images(), method, model.target)[method]
    except xai.XAIError:
        if not model.either:
            raise
        return
    torch.testing.assert_close(saliency.raw.double(), METHODS[method](model), atol=1e-6, rtol=1e-4)


@cases(UNCHAINED, UNREFUSED)
def test_attention_that_cannot_be_chained_is_refused(model: Strange, method: str) -> None:
    assert isinstance(model.rollout, str)
    with pytest.raises(xai.XAIError, match=model.rollout):
        model.engine().explain(model.images(), method, model.target)
