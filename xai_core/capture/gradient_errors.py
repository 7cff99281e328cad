"""Errors of runtimes without gradients: one clear error instead of PyTorch's errors."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from xai_core.capture.needs import NeedsUnion
from xai_core.capture.pass_record import LayerLeaf, Leaf
from xai_core.error_text import message_of
from xai_core.errors import NoGradientError, NotConnectedError, XAIError
from xai_core.memory_errors import out_of_memory
from xai_core.model.autograd_graph import INSTEAD


def not_connected(missing: Sequence[Leaf]) -> NotConnectedError:
    """Return the error for tensors that the scores do not depend on."""
    layer = "another layer, or " if any(isinstance(leaf, LayerLeaf) for leaf in missing) else ""
    return NotConnectedError(
        f"the target's score does not depend on {', '.join(map(str, missing))}: no path leads to the score, or the "
        f"model cuts the graph (no_grad, detach, int8 layers); use {layer}{INSTEAD}"
    )


@contextlib.contextmanager
def gradient_errors(without_gradients: Callable[[], object]) -> Iterator[None]:
    """Replace an error that PyTorch raises in the block, if the same pass succeeds without gradients.

    Raises
    ------
    NoGradientError
        If only the gradients fail.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, XAIError) or out_of_memory(error) or not _succeeds(without_gradients):
            raise
        reason = next(iter(message_of(error).splitlines()), "").rstrip(".")
        raise NoGradientError(f"PyTorch cannot compute the gradient of this model ({reason}); use {INSTEAD}") from error


def _succeeds(run: Callable[[], object]) -> bool:
    try:
        run()
    except Exception:
        return False
    return True


def without_gradients(needs: NeedsUnion) -> NeedsUnion:
    """Return what explainers need apart from gradients."""
    return replace(
        needs,
        gradients=frozenset(),
        curvatures=frozenset(),
        image_gradient=False,
        attention_gradients=False,
        block_scores=frozenset(),
    )
