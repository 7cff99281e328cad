"""Selects the scores in a model's output: a tensor with one row for each image."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xai_core.errors import ModelOutputError
from xai_core.outputs import Path, described, is_list_of_dicts, leaf_at, leaves_of, listed, spelled

_EMBEDDINGS = (("image_embeds",), ("text_embeds",))
"""Names of embeddings in the outputs of models that compare images with texts."""
INNER = ("hidden_state", "hidden_states", "attentions")
"""Endings of the names of inner tensors in the outputs of transformers."""


@dataclass(frozen=True)
class Wanted:
    """A kind of tensor that a target reads from an output.

    Attributes
    ----------
    content
        Description of the tensor's content, for error messages.
    dims
        The names of the tensor's dimensions after the batch.
    preferred
        Conventional names of the tensor in an output, the preferred name first.
    volumes
        Whether the tensor has one more dimension if the images are volumes.
    """

    content: str
    dims: tuple[str, ...]
    preferred: tuple[str, ...]
    volumes: bool = False

    def fits(self, tensor: Tensor) -> bool:
        """Return whether a tensor contains floating-point numbers and has the required number of dimensions."""
        return tensor.is_floating_point() and tensor.ndim - 1 - len(self.dims) in range(1 + self.volumes)

    def for_images(self, rows: int | None) -> str:
        """Describe the tensor for a number of images, or for any number."""
        return f"{self.content} [{', '.join(['B' if rows is None else str(rows), *self.dims])}]"


CLASS_SCORES = Wanted("class scores", ("K",), ("logits", "out"))
PIXEL_SCORES = Wanted("scores of pixels", ("K", "h", "w"), ("logits", "out"), volumes=True)
TOKEN_SCORES = Wanted("scores of tokens", ("L", "V"), ("logits",))
EMBEDDINGS = Wanted("embeddings", ("D",), ("image_embeds",))


def find(output: Any, rows: int, wanted: Wanted) -> Path:
    """Return the path of the tensor that a target reads from an output for `rows` images.

    The tensor is the output itself, the part with a preferred name, or else the only tensor with one row per image.
    Hidden states and attention matrices of transformers are ignored, unless no other tensor fits.

    Raises
    ------
    ModelOutputError
        If there is no such tensor, or more than one, or if the output is a list of detections.
    """
    leaves = dict(leaves_of(output))
    named = next(((name,) for name in wanted.preferred if (name,) in leaves), None)
    possible = leaves if named is None else {named: leaves[named]}
    fitting = {path: tensor for path, tensor in possible.items() if wanted.fits(tensor) and len(tensor) == rows}
    fitting = {path: tensor for path, tensor in fitting.items() if not _is_inner(path)} or fitting
    if wanted is CLASS_SCORES:
        fitting = {path: tensor for path, tensor in fitting.items() if path[-1:] not in _EMBEDDINGS}
    if not fitting or is_list_of_dicts(output):
        raise wrong_output(output, rows, wanted)
    if len(fitting) > 1:
        raise ModelOutputError(
            f"the model's output contains several tensors that can be {wanted.for_images(rows)}: {listed(fitting)}; "
            f"choose one of them, such as `Engine(model, output={spelled(next(iter(fitting)))})`"
        )
    return next(iter(fitting))


def score_candidates(output: Any, rows: int) -> dict[Path, Tensor]:
    """Return the tensors in an output that can be scores of classes or pixels, with one row per image, by path."""
    return {
        path: tensor
        for path, tensor in leaves_of(output)
        if (CLASS_SCORES.fits(tensor) or PIXEL_SCORES.fits(tensor)) and len(tensor) == rows and not _is_inner(path)
    }


def _is_inner(path: Path) -> bool:
    return any(str(key).endswith(INNER) for key in path)


def read(output: Any, path: Path, rows: int | None, wanted: Wanted) -> Tensor:
    """Return the tensor at a path in an output for `rows` images, or for any number of images.

    Raises
    ------
    ModelOutputError
        If there is no such tensor with one row per image.
    """
    tensor = leaf_at(output, path)
    if tensor is None or not wanted.fits(tensor) or len(tensor) != (len(tensor) if rows is None else rows):
        raise wrong_output(output, rows, wanted)
    return tensor


def wrong_output(output: Any, rows: int | None, wanted: Wanted) -> ModelOutputError:
    """Return the error of an output that does not contain what a target reads."""
    advice = "pass a callable as `target=` that returns one number per image, or "
    advice += "pass `forward=` to the Engine, a function that returns one row of scores per image"
    if any(PIXEL_SCORES.fits(tensor) and not _is_inner(path) for path, tensor in leaves_of(output)):
        advice = f"to explain a region of a segmentation, pass `target=Region(class)`; otherwise, {advice}"
    if any(path[-1:] in _EMBEDDINGS for path, _ in leaves_of(output)):
        advice = "to compare images with a text, pass `target=Text(text)`, and `tokenizer=` to the Engine; otherwise, "
        advice += "select the scores, such as `Engine(model, output='logits_per_image')`"
    if is_list_of_dicts(output):
        advice = f"to explain a detection, pass `target=Box(box)` or no target; otherwise, {advice}"
    if isinstance(output, Tensor) and output.ndim == 1:
        advice = "if a dimension is missing, pass `forward=lambda model, images: model(images).view(len(images), -1)`"
    return ModelOutputError(
        f"expected {wanted.for_images(rows)}, one row per image, in the model's output; got {described(output)}; "
        + advice
    )
