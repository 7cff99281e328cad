"""The CLIP trained on shapes: its accuracy on unseen images, its tokenizer, and how its weights were made."""

import pytest
import torch

import xai_core as xai
from xai_core.errors import ModelOutputError, TargetError
from xai_zoo.training.contrastive_objective import Contrastive, logits_of
from xai_zoo.word_tokenizer import WordTokenizer


@torch.no_grad()
def test_most_sentences_are_above_those_of_other_unseen_images() -> None:
    loaded, data = xai.load_model("shapes-clip"), xai.load_dataset("shapes-text:split=test,sentences=relation")
    objective, right = Contrastive(), 0
    for start in (0, 32, 64):
        samples = [data[i] for i in range(start, start + 32)]
        images = torch.stack([loaded.preprocess(sample.image) for sample in samples])
        ids = torch.stack([objective.target(loaded, sample) for sample in samples])
        right += int(objective.measure(loaded.model, images, ids)[1])
    assert right / 96 >= 0.75


def test_an_engine_has_the_tokenizer() -> None:
    loaded = xai.load_model("shapes-clip")
    assert (loaded.spec, loaded.class_names) == ("shapes-clip", None)
    assert xai.load_model("shapes-clip:weights=none").spec == "shapes-clip:weights=none"
    engine, images = xai.Engine(loaded), loaded.preprocess(xai.load_dataset("shapes-text")[0].image)[None]
    text = "a yellow square"
    maps = engine.explain(images, ["grad-eclip", "generic-attention", "legrad", "rollout"], xai.Text(text))
    assert {saliency.values.shape for saliency in maps.values()} == {(1, 64, 64)}
    assert loaded.tokenizer is not None
    with torch.no_grad():
        expected = logits_of(loaded.model, images, loaded.tokenizer([text]))[0]
    target = engine.explain(images, "center", xai.Text(text))["center"].target
    torch.testing.assert_close(target.model_score(loaded.model(images)), expected)
    with pytest.raises(ModelOutputError, match=r"target=Text\(text\)"):
        engine.explain(images, "grad-cam")


def test_texts_that_the_model_cannot_read() -> None:
    loaded = xai.load_model("shapes-clip:weights=none")
    engine, images = xai.Engine(loaded), torch.zeros(1, 3, 64, 64)
    for text, message in [
        ("a purple star", "does not know the word 'purple' in 'a purple star'; use the words a, above, "),
        ("a red star " * 3, "expected 1 to 8 words, got 9"),
        ("  ", "expected 1 to 8 words, got 0"),
    ]:
        with pytest.raises(TargetError, match=message):
            engine.explain(images, "center", xai.Text(text))


def test_words_become_ids() -> None:
    tokenizer = WordTokenizer(("a", "red", "star"), length=4)
    assert tokenizer(["a Red star", "star"]).tolist() == [[1, 2, 3, 0], [3, 0, 0, 0]]


def test_padding_is_no_word() -> None:
    """The embedding of a text is the mean of its words, so it does not depend on what padding contributes."""
    model = xai.load_model("shapes-clip").model
    ids = torch.tensor([[1, 5, 9, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        before = model.encode_text(ids)
        model.text.blocks.register_forward_hook(lambda _, __, tokens: tokens * (ids > 0)[:, :, None] + 0.0)
        assert torch.equal(model.encode_text(ids), before)
