"""A small model that compares images with texts, with weights that were trained on `shapes-text`."""

from dataclasses import replace
from pathlib import Path

from torch import nn

import xai_core as xai
from xai_core.plugin import Value
from xai_zoo.shapes_models import ShapesModel
from xai_zoo.shapes_text import WORDS
from xai_zoo.word_tokenizer import WordTokenizer

LENGTH = 8
"""Maximum number of words of a text."""


class ShapesCLIP(ShapesModel):
    """A small CLIP for `shapes-text`, with its weights and its tokenizer: `shapes-clip`.

    Use the target `xai.Text`, such as `xai.Text("a red star")`.

    Option: `weights`, as for `shapes-vit`.
    """

    name = "shapes-clip"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, weights: Value | Path = "shipped"
    ) -> xai.LoadedModel:
        loaded = self._loaded(name, self.network(), {}, "shapes", weights)
        return replace(loaded, class_names=None, tokenizer=WordTokenizer(WORDS, LENGTH))

    def network(self) -> nn.Module:
        from xai_zoo.small_clip import SmallCLIP

        return SmallCLIP(size=64, dim=64, depth=2, words=1 + len(WORDS), length=LENGTH)
