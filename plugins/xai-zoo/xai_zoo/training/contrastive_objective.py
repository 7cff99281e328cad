"""The objective of models that compare images with texts."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import OptionError, TargetError
from xai_zoo.small_clip import SmallCLIP
from xai_zoo.training.objectives import Objective
from xai_zoo.training.recipe import Recipe


class Contrastive(Objective):
    """Each image of a batch should match its own text better than the texts of the other images, and vice versa.

    The loss is the mean of two cross-entropies, over the texts for each image and over the images for each text. If
    several images have the same text, all of them are matches, with equal probabilities.

    A prediction is correct if no text of the batch has a higher logit than the text of the image. Larger
    batches are therefore harder.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, figure
    3.
    """

    def check(self, recipe: Recipe) -> None:
        """See `Objective.check`."""
        if recipe.crop < 1 or recipe.flip:
            raise OptionError(
                "a model for images and texts is trained without crops and flips, which would falsify the texts: pass "
                "--crop 1 --flip 0"
            )

    def target(self, loaded: xai.LoadedModel, sample: xai.Sample) -> Int[Tensor, " L"]:
        """Return the ids of the words of the sample's text."""
        assert loaded.tokenizer is not None
        if sample.text is None:
            raise TargetError(f"{sample.id} has no text; expected a dataset with a text for each image")
        return loaded.tokenizer([sample.text])[0]

    def measure(
        self, model: nn.Module, images: Tensor, targets: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See `Objective.measure`."""
        logits = logits_of(model, images, targets)
        same = (targets[:, None] == targets).all(2).to(logits)
        matches = same / same.sum(1, keepdim=True)
        of_images, of_texts = (F.cross_entropy(each, matches, label_smoothing=smoothing) for each in (logits, logits.T))
        return (of_images + of_texts) / 2, (logits.diagonal() >= logits.amax(1)).sum()


def logits_of(model: nn.Module, images: Float[Tensor, "B 3 H W"], ids: Int[Tensor, "T L"]) -> Float[Tensor, "B T"]:
    """Return the logit of each image and text: scale * cos(image, text)."""
    assert isinstance(model, SmallCLIP)
    of_images, of_texts = F.normalize(model.encode_image(images)), F.normalize(model.encode_text(ids))
    return model.logit_scale.exp() * of_images @ of_texts.T
