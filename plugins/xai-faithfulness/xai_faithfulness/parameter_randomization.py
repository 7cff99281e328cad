"""Parameter randomization, a sanity check."""

from collections.abc import Mapping
from typing import ClassVar

import torch

import xai_core as xai
from xai_core.plugin import Evaluation, UnsuitableError, check_choice, check_integer, check_seed, require_plain_modules
from xai_faithfulness.map_similarity import SIMILARITIES, map_similarity
from xai_faithfulness.randomized_copies import modules_last_to_first, randomized_copies


class ParameterRandomization(xai.Metric):
    """Parameter randomization: the similarity of the map to maps of models with randomized parameters.

    The value is the mean over several steps. Each step compares the map with the map of a copy of the model with some
    parameters randomized, for the same target. The unchanged model, with similarity 1, is not included. `cascading`
    randomizes all modules from the last one to the module of the step. `independent` randomizes the module of the step
    only.

    Lower is better, because a map that does not change does not depend on the learned parameters. The value is in
    [-1,1], and 1 for a method that ignores the model. The similarity to a constant map is 0, and 1 if both maps are
    constant.

    The curve [B,L] contains the similarity at each step. The fractions [L] are the depth of the step's module, with 1
    for the first module of the model. Only modules that have their own parameters count, in the order of definition.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 3.

    Parameters
    ----------
    order
        `cascading` or `independent`.
    similarity
        `ssim` or `spearman`, of the normalized maps in [0,1] at the size of the images.
    layers
        Number of steps, evenly spaced over the modules from the last to the first, or all modules if there are fewer.
        For each step, all images are explained once more.
    seed
        Random seed of the parameters.

    Raises
    ------
    UnsuitableError
        If the maps were not computed by an engine, because the metric must explain other models with the same method.
        If the model has no parameters, parameters that are not floating-point, TorchScript modules, or weights that
        FSDP shards or accelerate offloads.
    LayerError
        If the layer of the explainer is a module object, which copies of the model do not contain. Pass its name.
    """

    name = "parameter-randomization"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "better_map_scores_better": "maps are compared with maps of randomized models, not with the ground truth",
        "curve_ends_do_not_depend_on_map": "the curve is over layers, not over pixels",
        "avoids_host_transfers": "parameters are drawn on the host",
    }

    def __init__(self, order: str = "cascading", similarity: str = "ssim", layers: int = 8, seed: int = 0) -> None:
        self.order = check_choice("order", order, ("cascading", "independent"))
        self.similarity = check_choice("similarity", similarity, SIMILARITIES)
        self.layers = check_integer("layers", layers, 1)
        self.seed = check_seed(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Explain the images with one randomized copy of the model after another."""
        require_plain_modules(evaluation.model, self.name, "the original model", weights=True)
        modules = len(modules_last_to_first(evaluation.model))
        if not modules:
            raise UnsuitableError("parameter-randomization requires parameters, and the model has none")
        steps = evenly_spaced(min(self.layers, modules), modules)
        copies = randomized_copies(evaluation.model, steps, self.order == "cascading", self.seed)
        maps = (saliency.explain(evaluation.images, model).values for model in copies)
        curve = torch.stack([map_similarity(saliency.values, values, self.similarity) for values in maps], 1)
        depths = torch.tensor([(step + 1) / modules for step in steps], dtype=curve.dtype)
        return xai.MetricResult(curve.mean(1), curve, depths.to(curve.device, non_blocking=True))


def evenly_spaced(count: int, length: int) -> list[int]:
    """Return `count` indices below `length`, from the first to the last, or the last one alone."""
    if count == 1:
        return [length - 1]
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]
