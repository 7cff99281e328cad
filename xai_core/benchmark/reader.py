"""Reads images ahead of the model: decoded and made ready by threads, a failure kept as what it is."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from xai_core.errors import XAIError
from xai_core.source import Dataset, LoadedModel
from xai_core.truth import model_mask


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
    """Gives items of a data set, and starts to read those that will be asked for next."""

    def __init__(self, data: Dataset, loaded: LoadedModel, workers: int) -> None:
        self._data, self._loaded = data, loaded
        self._threads = ThreadPoolExecutor(max(1, workers), "reader")
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

    def close(self) -> None:
        """Stop reading."""
        self._threads.shutdown(cancel_futures=True)

    def _read(self, index: int) -> Item:
        try:
            sample = self._data[index]
        except Exception as error:
            return Item(index, _id(self._data, index), error=in_one_line(error))
        try:
            image = self._loaded.preprocess(sample.image)
        except Exception as error:
            return Item(index, sample.id, label=sample.target, error=in_one_line(error))
        try:
            return Item(index, sample.id, image, sample.target, model_mask(self._loaded, sample))
        except XAIError as error:
            return Item(index, sample.id, image, sample.target, no_mask=in_one_line(error))


def in_one_line(error: BaseException) -> str:
    """An error as a row holds it: its kind and its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _id(data: Dataset, index: int) -> str:
    ids: Sequence[str] | None = getattr(data, "ids", None)
    return str(index) if ids is None else ids[index]
