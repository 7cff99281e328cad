"""Prints how well `shapes-clip` reads its texts, on images of `shapes-text` from the test split.

- Sentences: the fraction of images whose own sentence has the highest logit among the sentences of 32 images.
- Phrases: the fraction of images for which the phrase of the object has a higher logit than all phrases that are false.
  Phrases with the color of one object and the shape of the other are counted separately.
- Relations: the fraction of images for which the sentence has a higher logit than the same sentence with the opposite
  relation.
- Removal: how much the logit of the phrase falls on average if its object, or the other object, is not drawn.
"""

import argparse
from typing import cast

import torch
from torch import Tensor

import xai_core as xai
from xai_zoo.shapes_text import ShapesTextDataset
from xai_zoo.training.contrastive_objective import logits_of

BATCH = 32
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="number of images")
    count = parser.parse_args().count
    loaded = xai.load_model("shapes-clip")
    data = load(count, sentences="relation")
    images = preprocessed(loaded, data)
    every = data.class_names
    phrases = torch.tensor([[every.index(phrase) for phrase in data.phrases(i)] for i in range(count)])
    mixed = torch.tensor([[every.index(phrase) for phrase in mixtures(*data.phrases(i))] for i in range(count)])
    logits = logits_of(loaded.model, images, ids(loaded, every))
    named = logits.gather(1, phrases[:, :1])[:, 0]
    false = logits.scatter(1, torch.cat([phrases, mixed], 1), -torch.inf).amax(1)
    sentences = [data[i].text or "" for i in range(count)]
    batches = [slice(start, start + BATCH) for start in range(0, count - BATCH + 1, BATCH)]
    right = [of_batch(loaded, images[part], sentences[part]) for part in batches]
    print(f"sentences: {torch.cat(right).float().mean():.1%} above the {BATCH - 1} of other images")
    print(f"phrases: {(named > false).float().mean():.1%} above all false ones without mixtures")
    above = (named > logits.gather(1, mixed).amax(1))[phrases[:, 1] != mixed[:, 0]]
    print(f"phrases: {above.float().mean():.1%} above both mixtures, of {len(above)} images with two colors")
    own, opposite = (of_pairs(loaded, images, texts) for texts in (sentences, [flipped(text) for text in sentences]))
    print(f"relations: {(own > opposite).float().mean():.1%} above the opposite one")
    for shown, removed in (("other", "the object"), ("named", "the other object")):
        left = logits_of(loaded.model, preprocessed(loaded, load(count, shown=shown)), ids(loaded, every))
        print(f"removal of {removed}: {(named - left.gather(1, phrases[:, :1])[:, 0]).mean():.2f} less")


def load(count: int, **options: str) -> ShapesTextDataset:
    return cast(ShapesTextDataset, xai.load_dataset("shapes-text", split="test", count=count, **options))


def preprocessed(loaded: xai.LoadedModel, data: ShapesTextDataset) -> Tensor:
    return torch.stack([loaded.preprocess(data[i].image) for i in range(len(data))])


def ids(loaded: xai.LoadedModel, texts: list[str] | tuple[str, ...]) -> Tensor:
    assert loaded.tokenizer is not None
    return cast(Tensor, loaded.tokenizer(texts))


def of_pairs(loaded: xai.LoadedModel, images: Tensor, texts: list[str]) -> Tensor:
    """Return the logit of each image and its text."""
    return logits_of(loaded.model, images, ids(loaded, texts)).diagonal()


def of_batch(loaded: xai.LoadedModel, images: Tensor, texts: list[str]) -> Tensor:
    """Return for each image whether no other text of the batch has a higher logit than its own."""
    logits = logits_of(loaded.model, images, ids(loaded, texts))
    return logits.diagonal() >= logits.amax(1)


def mixtures(named: str, other: str) -> tuple[str, str]:
    """Return the phrases with the color of one object and the shape of the other."""
    (article, color, shape), (_, other_color, other_shape) = named.split(), other.split()
    return f"{article} {color} {other_shape}", f"{article} {other_color} {shape}"


def flipped(sentence: str) -> str:
    return " ".join(OPPOSITE.get(word, word) for word in sentence.split())


if __name__ == "__main__":
    main()
