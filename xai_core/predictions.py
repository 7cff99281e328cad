"""Predictions of a model: the classes with the highest scores, by name."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from xai_core.batched import Batched
from xai_core.data.class_names import class_name, require_names_of
from xai_core.precision import at_least_float32
from xai_core.targets.measures import probabilities

_SHOWN = 3


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Batched):
    """The N classes with the highest scores of each image, on the model's device.

    `len(predictions)` is the number of images B. `predictions[i]` and `predictions[i:j]` select images.

    Attributes
    ----------
    ids
        [B,N] int64 class ids, the highest score first.
    probabilities
        [B,N] float32 or float64 in [0,1]: the softmax over all classes, or the sigmoid of a single logit. If the model
        ends in a softmax or a sigmoid, its own scores.
    class_names
        The names of all classes. None if they are not known.
    """

    ids: Int[Tensor, "B N"]
    probabilities: Float[Tensor, "B N"]
    class_names: Sequence[str] | None = None

    @classmethod
    def of(
        cls, scores: Float[Tensor, "B K"], are_probabilities: bool, class_names: Sequence[str] | None, top: int
    ) -> "Predictions":
        """Return the `top` classes of class scores.

        Raises
        ------
        OptionError
            If there is not one name per class.
        """
        require_names_of(scores.shape[1], class_names)
        values = at_least_float32(scores) if are_probabilities else probabilities(scores)
        best = values.topk(min(top, values.shape[1]), 1)
        return cls(best.indices, best.values, class_names)

    @property
    def names(self) -> list[list[str]]:
        """The names of the N classes of each image, or `class N` for classes without a name."""
        return [[class_name(class_id, self.class_names) for class_id in ids] for ids in self.ids.tolist()]

    def __repr__(self) -> str:
        shown = "; ".join(self._described(_SHOWN)[:2])
        more = f"; {len(self) - 2} more images" if len(self) > 2 else ""
        return f"Predictions({shown}{more})"

    def _repr_html_(self) -> str:
        from xai_core.html import table

        rows = zip(self.ids.tolist(), self.names, self.probabilities.tolist(), strict=True)
        return table(
            ("image", "class", "name", "probability"),
            [
                (image, class_id, name, f"{probability:.3f}")
                for image, row in enumerate(rows)
                for class_id, name, probability in zip(*row, strict=True)
            ],
        )

    def _described(self, top: int) -> list[str]:
        rows = zip(self.names, self.probabilities.tolist(), strict=True)
        return [
            ", ".join(f"{name[:30]} {value:.2f}" for name, value in zip(names[:top], values[:top], strict=True))
            for names, values in rows
        ]
