"""Parameter randomization, a sanity check."""

from collections.abc import Mapping
from typing import ClassVar

import torch

import xai_core as xai
from xai_core.plugin import Evaluation, UnsuitableError
from xai_faithfulness.map_similarity import SIMILARITIES, map_similarity
from xai_faithfulness.options import at_least, one_of, seed_of
from xai_faithfulness.randomized import modules_from_the_top, randomized


class ParameterRandomization(xai.Metric):
    """Parameter randomization: how much of the map stays when what the model has learnt is taken from it.

    The mean over steps of the similarity of the map and the map of a copy of the model some of whose parameters are
    drawn anew, for the same target. The map of the model itself, whose similarity is 1, is no step. `cascading` draws
    all modules anew from the last one to that of the step, `independent` that of the step alone. Lower is better: a map
    that survives does not show what was learnt. In [-1,1]; 1 for a method that ignores the model. A map that is
    constant is like no other (0), but like another constant one (1).

    The curve [B,L] has the similarity at each step, the fractions [L] how far down its module is: 1 is the first of the
    model. Modules are those with parameters of their own, in the order in which the model defines them.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 3.

    Parameters
    ----------
    order
        `cascading` or `independent`.
    similarity
        `ssim` or `spearman`, of the maps as they are shown: in [0,1], at the images' size.
    layers
        Number of steps, spread evenly over the modules from the last to the first; all where there are fewer. Each
        explains all images once more.
    seed
        Of what is drawn.

    Raises
    ------
    UnsuitableError
        For maps of your own, since the method that made them is not known, and for a model without parameters or with
        some that are not of floating-point numbers.
    LayerError
        For an explainer whose layer was given as a module, which a copy of the model does not have: give its name.
    """

    name = "parameter-randomization"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "better_map_scores_better": "it compares a map with those of changed models, not with the truth",
        "curve_ends_do_not_depend_on_map": "its curve is over layers, not over pixels",
        "avoids_host_transfers": "parameters are drawn on the host, and each changed copy of the model is probed",
    }

    def __init__(self, order: str = "cascading", similarity: str = "ssim", layers: int = 8, seed: int = 0) -> None:
        self.order = one_of("order", order, "cascading", "independent")
        self.similarity = one_of("similarity", similarity, *SIMILARITIES)
        self.layers = at_least(1, "layers", layers)
        self.seed = seed_of(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Explain the images by one changed copy of the model after another."""
        modules = len(modules_from_the_top(evaluation.model))
        if not modules:
            raise UnsuitableError("parameter-randomization draws parameters anew, and the model has none")
        places = spread(min(self.layers, modules), modules)
        copies = randomized(evaluation.model, places, self.order == "cascading", self.seed)
        maps = (saliency.explain(evaluation.images, changed).values for changed in copies)
        curve = torch.stack([map_similarity(saliency.values, one, self.similarity) for one in maps], 1)
        depths = torch.tensor([(place + 1) / modules for place in places], dtype=curve.dtype)
        return xai.MetricResult(curve.mean(1), curve, depths.to(curve.device, non_blocking=True))


def spread(count: int, among: int) -> list[int]:
    """Numbers below `among`, from the first to the last in nearly equal steps; one alone is the last."""
    if count == 1:
        return [among - 1]
    return [round(i * (among - 1) / (count - 1)) for i in range(count)]
