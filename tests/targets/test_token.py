"""Tokens of captioners and vision-language models as targets."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.captioners import CAPTIONERS, LLAVA_PROMPT, answer, llava
from support.models import SmallCNN, settled
from xai_core.errors import TargetError

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
Case = tuple[Any, Callable[[Any, Tensor], Any], str]


@pytest.fixture(scope="module", params=CAPTIONERS)
def case(request: pytest.FixtureRequest) -> Case:
    make, forward, tower = CAPTIONERS[request.param]
    return make(), forward, tower


@pytest.mark.parametrize(("position", "token"), [(-1, 7), (1, [3, 9]), (-2, torch.tensor([0, 5]))])
def test_the_score_is_a_logit_of_the_output(case: Case, position: int, token: Any) -> None:
    model, forward, _ = case
    bound: Any = (
        xai.Engine(model, forward=forward).explain(IMAGES, "center", xai.Token(position, token))["center"].target
    )
    with torch.no_grad():
        output = forward(model, IMAGES)
    ids = torch.tensor(token).expand(2) if isinstance(token, int) else torch.as_tensor(token)
    logits = output.logits[:, position]
    torch.testing.assert_close(bound.model_score(output), logits[range(2), ids])
    torch.testing.assert_close(bound.model_score(output, kind="probability"), logits.softmax(1)[range(2), ids])
    again = pickle.loads(pickle.dumps(bound))
    torch.testing.assert_close(again[1:].model_score(forward(model, IMAGES[1:])), logits[1:, ids[1]].flatten())


def test_by_default_the_token_that_the_model_generates(case: Case) -> None:
    model, forward, _ = case
    bound: Any = xai.Engine(model, forward=forward).explain(IMAGES, "center", xai.Token())["center"].target
    with torch.no_grad():
        output = forward(model, IMAGES)
    torch.testing.assert_close(bound.model_score(output), output.logits[:, -1].amax(1))


def test_gradients_and_drops_are_those_of_plain_pytorch(case: Case) -> None:
    model, forward, _ = case
    methods = ["saliency:channels=max", "occlusion:size=16,stride=16,score=logit,baseline=zero"]
    maps = xai.Engine(model, forward=forward).explain(IMAGES, methods, xai.Token(-1, 7))
    images = IMAGES.clone().requires_grad_()
    score = forward(model, images).logits[:, -1, 7]
    (gradient,) = torch.autograd.grad(score.sum(), images)
    torch.testing.assert_close(maps[methods[0]].raw, gradient.abs().amax(1))
    for row, column in ((0, 0), (16, 16)):
        occluded = IMAGES.clone()
        occluded[:, :, row : row + 16, column : column + 16] = 0
        with torch.no_grad():
            drop = score - forward(model, occluded).logits[:, -1, 7]
        torch.testing.assert_close(maps[methods[1]].raw[:, row + 8, column + 8], drop, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_methods_and_metrics(case: Case) -> None:
    model, forward, tower = case
    engine = xai.Engine(model, forward=forward)
    methods = ["grad-cam", "layer-cam", f"generic-attention:module={tower}", f"rollout:module={tower}", "rise:masks=8"]
    maps = engine.explain(IMAGES, methods, xai.Token(-1, 7))
    assert not maps["grad-cam"].constant.any()
    for scores in engine.evaluate(IMAGES, maps, ["deletion:steps=3", "insertion:steps=3"]).values():
        assert all(result.values.isfinite().all() for result in scores.values())


def test_rollout_in_the_language_model_is_that_of_its_own_attention() -> None:
    """The attention that transformers returns, from the last token to the tokens of the image."""
    model = llava()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model(pixel_values=IMAGES, input_ids=LLAVA_PROMPT.expand(2, -1), output_attentions=True).attentions
    rolled = torch.eye(19)
    for attention in attentions:
        rolled = (attention.mean(1) + torch.eye(19)) / 2 @ rolled
    method = "rollout:module=model.language_model"
    ours = xai.Engine(llava(), forward=answer).explain(IMAGES, method, xai.Token(-1, 7))[method].raw
    torch.testing.assert_close(ours.flatten(1), rolled[:, -1, 1:17])


def test_what_is_refused() -> None:
    engine = xai.Engine(llava(), forward=answer)
    for target, message in (
        (xai.Token(19), "position 19 is out of range; the output has 19 positions"),
        (xai.Token(-20, 3), "out of range"),
        (xai.Token(0, 99), "99"),
        (xai.Token(0, torch.tensor([1, 99])), "not tokens of this model: expected 0 to 23"),
        (xai.Token(0, [[1, 2], [3, 4]]), "one token per image"),  # type: ignore[list-item]
    ):
        with pytest.raises(TargetError, match=message):
            engine.explain(IMAGES, "center", target)
    with pytest.raises(TargetError, match=r"logits of tokens \[B,L,V\]; got a tensor \[2, 5\]"):
        xai.Engine(settled(SmallCNN())).explain(IMAGES, "center", xai.Token(0, 1))


@pytest.mark.parametrize("position", ["a", None, 1.5, [0, 1], True], ids=str)
def test_positions_are_integers(position: Any) -> None:
    with pytest.raises(TargetError, match="position of a token must be an integer"):
        xai.Token(position)
