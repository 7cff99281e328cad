"""Detections of a batch, in one form for all detectors."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Detections:
    """D detections in each of N images. Images with fewer detections are filled with zeros.

    Attributes
    ----------
    boxes
        [N,D,4] xyxy in pixels of the model's input.
    labels
        [N,D] the most probable class.
    score
        [N,D] in [0,1]: the probability of an object of this class.
    confidence
        [N,D] in [0,1]: the probability of any object, if the detector returns it, or else the score.
    probabilities
        [N,D,K] in [0,1]: the probability of each class, or None if the detector returns one class per detection.
    class_scores
        [N,D,K] the score of each class that gradients explain: a logit if the detector returns logits. None if the
        detector returns one class per detection. Then gradients explain `score`.
    """

    boxes: Float[Tensor, "N D 4"]
    labels: Int[Tensor, "N D"]
    score: Float[Tensor, "N D"]
    confidence: Float[Tensor, "N D"]
    probabilities: Float[Tensor, "N D K"] | None = None
    class_scores: Float[Tensor, "N D K"] | None = None

    def profile(self, labels: Int[Tensor, " N"]) -> Float[Tensor, "N K"] | None:
        """Return one-hot probabilities of the classes, or None if the detector returns no class probabilities."""
        if self.probabilities is None:
            return None
        return F.one_hot(labels, self.probabilities.shape[2]).to(self.probabilities.dtype)

    def agreement(self, labels: Int[Tensor, " N"], profiles: Float[Tensor, "N K"] | None) -> Float[Tensor, "N D"]:
        """Return how well the class of each detection agrees with a class of its image, in [0,1].

        This is the cosine similarity of the probabilities and the profile. If the detector returns one class per
        detection, the result is 1 for the class with this label, and 0 for others.
        """
        if self.probabilities is None or profiles is None:
            return (self.labels == labels[:, None]).to(self.score.dtype)
        return F.cosine_similarity(self.probabilities, profiles[:, None], dim=2)

    def probability(self, labels: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Return the probability of an object of a class, for each detection, in [0,1].

        If the detector returns one class per detection, the result is the score of this class, whatever the labels.
        """
        if self.probabilities is None:
            return self.score
        index = labels[:, None, None].expand(-1, self.probabilities.shape[1], 1)
        share = self.probabilities.gather(2, index).squeeze(2) / self.probabilities.amax(2)
        return self.score * share.nan_to_num(0)

    def explained_score(self, labels: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Return the score of a class that gradients explain, for each detection."""
        if self.class_scores is None:
            return self.score
        index = labels[:, None, None].expand(-1, self.class_scores.shape[1], 1)
        return self.class_scores.gather(2, index).squeeze(2)
