"""Texts as targets: the logits of the models themselves, and what is refused."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.dual_encoders import (
    CONTEXT,
    DUAL_ENCODERS,
    TEXTS,
    DualEncoder,
    OpenClip,
    context_tokenizer,
    word_tokenizer,
)
from support.models import SmallCNN, settled
from xai_core.errors import InputTypeError, ModelOutputError, TargetError

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
METHODS = [
    "grad-cam", "layer-cam", "hires-cam", "eigen-cam", "saliency", "rise:masks=8,score=logit",
    "occlusion:size=16,stride=16,score=logit",
]  # fmt: skip
OF_TOKENS = ["ag-cam", "grad-eclip", "generic-attention", "legrad", "rollout"]


@pytest.fixture(scope="module", params=DUAL_ENCODERS)
def case(request: pytest.FixtureRequest) -> tuple[DualEncoder, Any, xai.Engine]:
    encoder = DUAL_ENCODERS[request.param]
    model = encoder.build()
    return encoder, model, xai.Engine(model, tokenizer=encoder.tokenizer)


def bound(engine: xai.Engine, target: xai.Text | xai.Contrast, images: Tensor = IMAGES) -> Any:
    return engine.explain(images, "center", target)["center"].target


def output(engine: xai.Engine, images: Tensor = IMAGES) -> Any:
    return engine._explained.runner.output(images)


def test_scores_are_the_logits_of_the_model(case: tuple[DualEncoder, Any, xai.Engine]) -> None:
    encoder, model, engine = case
    with torch.no_grad():
        logits = encoder.logits(model, IMAGES, TEXTS)
    for number, text in enumerate(TEXTS):
        torch.testing.assert_close(bound(engine, xai.Text(text)).model_score(output(engine)), logits[:, number])
    each = bound(engine, xai.Text([TEXTS[1], TEXTS[0], TEXTS[1]])).model_score(output(engine))
    torch.testing.assert_close(each, logits[range(3), [1, 0, 1]])


def test_probabilities(case: tuple[DualEncoder, Any, xai.Engine]) -> None:
    encoder, model, engine = case
    with torch.no_grad():
        logits = encoder.logits(model, IMAGES, TEXTS)
    single = bound(engine, xai.Text(TEXTS[0])).model_score(output(engine), kind="probability")
    if getattr(model, "logit_bias", None) is None:
        torch.testing.assert_close(single * model.logit_scale.exp().detach(), logits[:, 0])
    else:
        torch.testing.assert_close(single, logits[:, 0].sigmoid())
    contrast = bound(engine, xai.Contrast(xai.Text(TEXTS[0]), xai.Text(TEXTS[1])))
    torch.testing.assert_close(contrast.model_score(output(engine)), logits[:, 0] - logits[:, 1])
    both = contrast.model_score(output(engine), kind="probability")
    torch.testing.assert_close(both, logits.softmax(1)[:, 0])


def test_gradients_are_those_of_the_models_own_logits(case: tuple[DualEncoder, Any, xai.Engine]) -> None:
    encoder, model, engine = case
    images = IMAGES.clone().requires_grad_()
    (expected,) = torch.autograd.grad(encoder.logits(model, images, TEXTS)[:, 0].sum(), images)
    ours = engine.explain(IMAGES, "saliency:channels=max", xai.Text(TEXTS[0]))["saliency:channels=max"].raw
    torch.testing.assert_close(ours, expected.abs().amax(1))


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_maps_are_those_of_a_classifier_of_the_texts(case: tuple[DualEncoder, Any, xai.Engine]) -> None:
    """The model with its own logits as class scores, and the texts inside of `forward=`."""
    encoder, model, engine = case
    classifier = xai.Engine(model, forward=lambda model, images: encoder.logits(model, images, TEXTS))
    methods = METHODS + (["legrad"] if model.__class__.__name__ == "SiglipModel" else OF_TOKENS)
    ours, expected = engine.explain(IMAGES, methods, xai.Text(TEXTS[1])), classifier.explain(IMAGES, methods, 1)
    for method in methods:
        torch.testing.assert_close(ours[method].raw, expected[method].raw, rtol=1e-4, atol=1e-5, msg=method)
    curves = ["deletion:steps=3,score=logit", "insertion:steps=3,score=logit"]
    same = replace(expected["grad-cam"], target=ours["grad-cam"].target)
    scores, own = engine.evaluate(IMAGES, same, curves), classifier.evaluate(IMAGES, expected["grad-cam"], curves)
    for curve in curves:
        torch.testing.assert_close(scores[curve].values, own[curve].values)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_metrics_and_methods_of_probabilities(case: tuple[DualEncoder, Any, xai.Engine]) -> None:
    _, _, engine = case
    maps = engine.explain(IMAGES, ["rise:masks=8", "score-cam", "noise-smoothed(saliency):n=2"], xai.Text(TEXTS[0]))
    metrics = ["deletion:steps=3", "insertion:steps=3", "max-sensitivity:samples=1", "parameter-randomization:layers=1"]
    for scores in engine.evaluate(IMAGES, maps, metrics).values():
        assert all(result.values.isfinite().all() for result in scores.values())


def test_maps_are_saved_with_their_text(case: tuple[DualEncoder, Any, xai.Engine]) -> None:
    _, _, engine = case
    for target in (xai.Text(TEXTS[:2] + TEXTS[:1]), xai.Contrast(xai.Text(TEXTS[0]), xai.Text(TEXTS[1]))):
        maps = engine.explain(IMAGES, "saliency", target)["saliency"]
        loaded = pickle.loads(pickle.dumps(maps))
        expected = engine.evaluate(IMAGES, maps, "deletion:steps=3")["deletion:steps=3"].values
        ours = engine.evaluate(IMAGES, loaded, "deletion:steps=3")["deletion:steps=3"].values
        torch.testing.assert_close(ours, expected)
        part = engine.evaluate(IMAGES[1:], loaded[1:], "deletion:steps=3")["deletion:steps=3"].values
        torch.testing.assert_close(part, expected[1:])


def test_through_the_whole_model() -> None:
    """`forward=` that returns `image_embeds` beside the logits."""
    encoder = DUAL_ENCODERS["CLIP"]
    model, tokens = encoder.build(), encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    engine = xai.Engine(
        model, forward=lambda model, images: model(pixel_values=images, **tokens), tokenizer=encoder.tokenizer
    )
    ours = engine.explain(IMAGES, "grad-cam", xai.Text(TEXTS[1]))["grad-cam"].raw
    expected = xai.Engine(model, tokenizer=encoder.tokenizer).explain(IMAGES, "grad-cam", xai.Text(TEXTS[1]))
    torch.testing.assert_close(ours, expected["grad-cam"].raw, rtol=1e-4, atol=1e-6)


def test_a_text_names_its_map() -> None:
    encoder = DUAL_ENCODERS["CLIP"]
    engine = xai.Engine(encoder.build(), tokenizer=encoder.tokenizer)
    pair = xai.Contrast(xai.Text(TEXTS[0]), xai.Text("a star"))
    for target, caption in ((xai.Text(TEXTS[0]), "a red star"), (pair, "a red star, not a star")):
        maps = engine.explain(IMAGES[:1], "center", target)["center"]
        assert maps.view is not None
        assert maps.view.caption(0, maps.target) == caption  # type: ignore[arg-type]


def test_processors_and_functions_are_tokenizers() -> None:
    encoder = DUAL_ENCODERS["CLIP"]
    model = encoder.build()
    expected = xai.Engine(model, tokenizer=encoder.tokenizer)
    score = bound(expected, xai.Text(TEXTS[0])).model_score(output(expected))
    function = xai.Engine(model, tokenizer=lambda texts: encoder.tokenizer(texts, return_tensors="pt", padding=True))
    torch.testing.assert_close(bound(function, xai.Text(TEXTS[0])).model_score(output(function)), score)


def other_tokenizer() -> Any:
    """A tokenizer with one more word than the model has embeddings."""
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["purple"])
    return tokenizer


REFUSED = {
    "no tokenizer": (lambda e: xai.Engine(e.build(), forward=lambda m, x: m.vision_model(x)), "a", "tokenizer="),
    "empty": (lambda e: xai.Engine(e.build(), tokenizer=e.tokenizer), "", "no empty text"),
    "numbers": (lambda e: xai.Engine(e.build(), tokenizer=e.tokenizer), [1, 2, 3], "expected a text"),
    "two for three": (lambda e: xai.Engine(e.build(), tokenizer=e.tokenizer), ["a", "red"], "each of 3 images"),
    "another model's": (lambda e: xai.Engine(e.build(), tokenizer=other_tokenizer()), "purple", "token id 11.*of this"),
    "long": (lambda e: xai.Engine(e.build(), tokenizer=e.tokenizer), "a " * 9, f"11 tokens.*at most {CONTEXT}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_texts_that_are_refused(name: str) -> None:
    make, text, message = REFUSED[name]
    with pytest.raises(TargetError, match=message):
        make(DUAL_ENCODERS["CLIP"]).explain(IMAGES, "center", xai.Text(text))  # type: ignore[no-untyped-call]


def test_contrasts_that_are_refused() -> None:
    engine = xai.Engine(settled(OpenClip()), tokenizer=context_tokenizer)
    for contrast in (xai.Contrast(xai.Text("a"), 1), xai.Contrast(0, xai.Text("a")), xai.Contrast(xai.Text("a"))):
        with pytest.raises(TargetError, match="two classes or two texts"):
            engine.explain(IMAGES, "center", contrast)


def test_an_embedding_is_not_class_scores() -> None:
    engine = xai.Engine(settled(OpenClip()), tokenizer=context_tokenizer)
    for call in (
        lambda: engine.explain(IMAGES, "grad-cam"),
        lambda: engine.explain(IMAGES, "grad-cam", 1),
        lambda: engine.predict(IMAGES),
        lambda: engine.evaluate(IMAGES, torch.rand(3, 8, 8), "deletion:steps=2"),
    ):
        with pytest.raises(ModelOutputError, match=r"target=Text\(text\)"):
            call()


def test_models_without_text() -> None:
    with pytest.raises(InputTypeError, match=r"encode_image and encode_text; got SmallCNN"):
        xai.Engine(SmallCNN(), tokenizer=context_tokenizer)
    wrong: Any = "clip"
    with pytest.raises(InputTypeError, match="got str"):
        xai.Engine(OpenClip(), tokenizer=wrong)
    model = settled(OpenClip())
    del model.logit_scale
    with pytest.raises(TargetError, match="OpenClip has no `logit_scale`"):
        xai.Engine(model, tokenizer=context_tokenizer).explain(IMAGES, "center", xai.Text("a"))


@pytest.mark.parametrize(
    ("tokens", "received"), [(None, "NoneType"), ({"input_ids": [[1]]}, "a dict of list"), ({}, "dict")]
)
def test_tokenizers_that_return_no_tensors(tokens: Any, received: str) -> None:
    engine = xai.Engine(DUAL_ENCODERS["CLIP"].build(), tokenizer=lambda texts: tokens)
    with pytest.raises(InputTypeError, match=f"tokens of the texts as a tensor.*got .*{received}"):
        engine.explain(IMAGES, "center", xai.Text("a"))


def test_encoders_that_return_no_embeddings() -> None:
    model: Any = settled(OpenClip())
    model.encode_text = lambda tokens: {"text_embeds": tokens}
    with pytest.raises(ModelOutputError, match=r"embeddings \[N,D\].*got dict"):
        xai.Engine(model, tokenizer=context_tokenizer).explain(IMAGES, "center", xai.Text("a"))


@pytest.mark.parametrize("text", [123, None, {"a red star"}, [], [""]], ids=str)
def test_other_values_are_no_texts(text: Any) -> None:
    encoder = DUAL_ENCODERS["CLIP"]
    engine = xai.Engine(encoder.build(), tokenizer=encoder.tokenizer)
    with pytest.raises(TargetError, match="expected a text, or one text per image"):
        engine.explain(IMAGES, "center", xai.Text(text))


def test_a_loaded_model_has_its_tokenizer() -> None:
    encoder = DUAL_ENCODERS["CLIP"]
    model, text = encoder.build(), xai.Text(TEXTS[0])
    loaded = xai.LoadedModel(model, preprocess=torch.nn.Identity(), tokenizer=encoder.tokenizer)
    expected = xai.Engine(model, tokenizer=encoder.tokenizer).explain(IMAGES, "hires-cam", text)["hires-cam"].raw
    assert torch.equal(xai.Engine(loaded).explain(IMAGES, "hires-cam", text)["hires-cam"].raw, expected)
    other = xai.Engine(replace(loaded, tokenizer=context_tokenizer), tokenizer=encoder.tokenizer)
    assert torch.equal(other.explain(IMAGES, "hires-cam", text)["hires-cam"].raw, expected)
    with pytest.raises(InputTypeError, match="encode_image and encode_text; got SmallCNN"):
        xai.Engine(replace(loaded, model=SmallCNN()))
