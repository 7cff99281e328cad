"""Reads images ahead of the model: decoded and made ready by threads, a failure kept as what it is."""

import operator
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

from torch import Tensor

from xai_core.data.ground_truth import model_mask
from xai_core.data.pairs import Pairs
from xai_core.data.sources import Dataset, LoadedModel
from xai_core.errors import NonFiniteInputError, PluginContractError
from xai_core.files import encodable
from xai_core.isolation.error_context import message_with_notes


@dataclass(frozen=True, eq=False)
class Item:
    """An image as the model takes it, [C,h,w], and what is known of it; or why it cannot be read.

    Where there is no `mask` of the truth, [h,w], `no_mask` says why.
    """

    index: int
    id: str
    image: Tensor | None = None
    label: int | None = None
    mask: Tensor | None = None
    no_mask: str = ""
    error: str | None = None


class Reader:
    """Gives items of a data set, and starts to read those that will be asked for next.

    A data set that was given as an object may not bear two threads at once, and is asked for one item at a time.
    """

    def __init__(self, data: Dataset, loaded: LoadedModel, workers: int) -> None:
        self._data, self._loaded = data, loaded
        self._threads = ThreadPoolExecutor(max(1, workers), "reader")
        self._alone: AbstractContextManager[Any] = Lock() if isinstance(data, Pairs) else nullcontext()
        self._ahead: dict[int, Future[Item]] = {}

    def start(self, indices: Iterable[int]) -> None:
        """Start to read."""
        for index in indices:
            if index not in self._ahead:
                self._ahead[index] = self._threads.submit(self._read, index)

    def take(self, indices: Sequence[int]) -> list[Item]:
        """Wait for items, and forget them."""
        self.start(indices)
        return [self._ahead.pop(index).result() for index in indices]

    def wait(self) -> None:
        """Wait for what was started."""
        wait(self._ahead.values())

    def close(self) -> None:
        """Stop reading."""
        self._threads.shutdown(cancel_futures=True)

    def _read(self, index: int) -> Item:
        name, label = _id(self._data, index), None
        try:
            with self._alone:
                sample = self._data[index]
            name = encodable(str(sample.id))
            label = None if sample.target is None else operator.index(sample.target)
            image = self._loaded.preprocess(sample.image)
            if not isinstance(image, Tensor):
                raise PluginContractError(f"preprocess gave a {type(image).__name__}; expected a tensor [C,h,w]")
            if not image.isfinite().all():
                raise NonFiniteInputError("the image holds NaN or infinity; check the file and the preprocessing")
        except Exception as error:
            return Item(index, name, label=label, error=in_one_line(error))
        try:
            return Item(index, name, image, label, model_mask(self._loaded, sample))
        except Exception as error:
            return Item(index, name, image, label, no_mask=in_one_line(error))


def in_one_line(error: BaseException) -> str:
    """An error as a row holds it: its kind, its message and its notes."""
    return encodable(" ".join(f"{type(error).__name__}: {message_with_notes(error)}".split()))


def _id(data: Dataset, index: int) -> str:
    ids = getattr(data, "ids", None)
    return encodable(str(ids[index])) if isinstance(ids, Sequence) and index < len(ids) else str(index)
