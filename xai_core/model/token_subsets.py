"""Finds out whether the blocks of a transformer can run on some of its patch tokens."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai_core.memory_errors import out_of_memory
from xai_core.model.execution import Forward, explaining, substituting
from xai_core.model.layouts import Features, as_output, by_image
from xai_core.model.noise import NoiseImages
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import first_tensor, scores_of, with_first_tensor

LEAST_TOLERANCE = 1e-4
"""The difference of scores, as a fraction of the largest score, that is never taken for an effect of the order."""


class TokenSubsets:
    """The input tokens of the first transformer block, of which the model can run on subsets.

    Parameters
    ----------
    model, forward
        The model, and the function that calls it.
    images
        Images for a test run.
    blocks
        The output tokens of each block.
    """

    def __init__(self, model: nn.Module, forward: Forward, images: NoiseImages, blocks: tuple[Features, ...]) -> None:
        self._model, self._forward, self._images, self._blocks = model, forward, images, blocks

    @property
    def features(self) -> Features:
        """The layout of the tokens. `layer` is the first block, whose input they are."""
        return self._blocks[0]

    @cached_property
    def problem(self) -> str:
        """Why the model cannot run on subsets of its tokens, or "". It is found with three passes of one image.

        A model that runs on subsets has equal scores if its patch tokens are in another order.
        """
        if not self._blocks or any(block.is_input for block in self._blocks):
            return "a transformer whose blocks are modules that return all tokens"
        cells = self.features.cells
        expected = self._scores(lambda tokens: None)
        try:
            reverse = self._scores(lambda tokens: self.of(tokens, torch.arange(cells).flip(0)[None]))
            self._scores(lambda tokens: self.of(tokens, torch.arange((cells + 1) // 2)[None]))
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            return "a transformer whose blocks accept any number of tokens"
        tolerance = max(torch.finfo(expected.dtype).eps ** 0.5, LEAST_TOLERANCE)
        same = (reverse - expected).abs().amax() <= tolerance * expected.abs().amax()
        return "" if same else "a transformer whose blocks do not depend on the order of the tokens"

    def of(self, tokens: Tensor, cells: Int[Tensor, "N k"]) -> Tensor:
        """Return the tokens of N images without those patch tokens that `cells` does not contain."""
        elements = by_image(tokens, self.features.layout, self.features.count)  # [N,n,C]
        located = torch.tensor(self.features.elements, device=tokens.device)
        others = [element for element in range(self.features.count) if element not in {*self.features.elements}]
        prefix = torch.tensor(others, dtype=torch.long, device=tokens.device).expand(len(cells), -1)
        kept = torch.cat([prefix, located[cells.to(tokens.device)]], 1)
        subset = elements.gather(1, kept[..., None].expand(-1, -1, elements.shape[2]))
        return as_output(subset, self.features.layout)

    def before(self, model: nn.Module, forward: Forward, images: Float[Tensor, "B C *size"]) -> Tensor:
        """Return the input tokens of the first block of a model with the same modules."""
        kept: list[Tensor] = []

        def keep(inputs: Any) -> None:
            tokens = first_tensor(inputs)
            assert tokens is not None
            kept.append(tokens.clone())  # the model may write to it

        self._run(model, forward, images, keep)
        return kept[0]

    def _scores(self, replaced: Callable[[Tensor], Tensor | None]) -> Tensor:
        def substitute(inputs: Any) -> Any:
            tokens = first_tensor(inputs)
            replacement = None if tokens is None else replaced(tokens)
            return None if replacement is None else with_first_tensor(inputs, replacement)

        scores = scores_of(self._run(self._model, self._forward, self._images.first(1), substitute))
        assert scores is not None
        return scores

    def _run(self, model: nn.Module, forward: Forward, images: Tensor, substitute: Callable[[Any], Any]) -> Any:
        block, call = model.get_submodule(self.features.layer), self.features.call
        with explaining(model, gradients=False), substituting(block, True, substitute, call):
            return forward(model, images, batch_indices(images))
