"""Reads and preprocesses images in threads, ahead of the model. A failure is stored in the item of its image."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Any

from torch import Tensor

from xai_core.data.ground_truth import model_mask
from xai_core.data.pairs import Pairs
from xai_core.data.sources import Dataset, LoadedModel, Sample
from xai_core.error_text import CONTAINED, class_name, shown
from xai_core.errors import NonFiniteInputError, PluginContractError, XAIError
from xai_core.files import encodable
from xai_core.isolation.error_context import PluginCall, message_with_notes
from xai_core.isolation.guard import limited_call

_LIMIT = 2**63
"""Class ids are stored as integers of 64 bits."""


@dataclass(frozen=True, eq=False)
class Item:
    """A preprocessed image of the dataset, or the error that prevented reading it.

    Attributes
    ----------
    index, id
        Index and id of the image in the dataset.
    image
        [C,h,w], as the model receives it, or None after an error.
    label
        Class of the image, if known.
    text
        Text of the image, if known.
    mask
        [h,w] ground-truth mask, if known.
    no_mask
        Why there is no mask.
    error
        Why there is no image.
    """

    index: int
    id: str
    image: Tensor | None = None
    label: int | None = None
    mask: Tensor | None = None
    no_mask: str = ""
    error: str | None = None
    text: str | None = None


class Reader:
    """Reads items of a dataset in threads.

    A dataset that was passed as an object may not be thread-safe, so only one thread at a time reads it.

    Parameters
    ----------
    data
        The dataset.
    loaded
        The model, whose `preprocess` is applied.
    workers
        Number of threads.
    calls
        The plugin calls of the dataset and of the model's preprocessing, for error messages.
    seconds
        Time limit in seconds for reading and for preprocessing an image, or None.
    unreadable
        The error of each image that is not to be read.
    report
        Called with the index of an image, and with True when a thread begins to read it or False at the end.
    """

    def __init__(
        self,
        data: Dataset,
        loaded: LoadedModel,
        workers: int,
        calls: tuple[PluginCall, PluginCall],
        seconds: float | None = None,
        unreadable: Mapping[int, str] = MappingProxyType({}),
        report: Callable[[int, bool], None] = lambda index, begins: None,
    ) -> None:
        self._data, self._loaded, self._seconds = data, loaded, seconds
        self._of_data, self._of_model = calls
        self._unreadable, self._report = unreadable, report
        self._threads = ThreadPoolExecutor(max(1, workers), "reader")
        self._lock: AbstractContextManager[Any] = Lock() if isinstance(data, Pairs) else nullcontext()
        self._started: dict[int, Future[Item]] = {}

    def start(self, indices: Iterable[int]) -> None:
        """Start to read items."""
        for index in indices:
            if index not in self._started:
                self._started[index] = self._threads.submit(self._read_in_thread, index)

    def take(self, indices: Sequence[int]) -> list[Item]:
        """Wait for items, return them and forget them."""
        self.start(indices)
        return [self._started.pop(index).result() for index in indices]

    def read(self, index: int) -> Item:
        """Read one item in this thread."""
        if index in self._unreadable:
            return unread(self._data, index, self._unreadable[index])
        return self._read(index)

    def wait(self) -> None:
        """Wait until every started item is read."""
        wait(self._started.values())

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _read_in_thread(self, index: int) -> Item:
        self._report(index, True)
        try:
            return self.read(index)
        finally:
            self._report(index, False)

    def _read(self, index: int) -> Item:
        name, label = str(index), None
        try:
            with self._lock, limited_call(self._of_data, self._seconds, quiet=XAIError):
                name = _id(self._data, index)
                sample = self._data[index]
                name = encodable(str(sample.id))
                label = _label(sample.target)
            with limited_call(self._of_model, self._seconds, quiet=XAIError):
                image = preprocessed(self._loaded, sample)
            if not isinstance(image, Tensor):
                raise PluginContractError(f"preprocess returned a {type(image).__name__}; expected a tensor [C,h,w]")
            if not image.isfinite().all():
                raise NonFiniteInputError("the image contains NaN or infinity; check the file and the preprocessing")
        except CONTAINED as error:
            return Item(index, name, label=label, error=in_one_line(error))
        try:
            with limited_call(self._of_model, self._seconds, quiet=XAIError):
                return Item(index, name, image, label, model_mask(self._loaded, sample), text=sample.text)
        except CONTAINED as error:
            return Item(index, name, image, label, no_mask=in_one_line(error), text=sample.text)


def unread(data: Dataset, index: int, error: str) -> Item:
    """Return the item of an image that is not read, with the error."""
    name = str(index)
    with suppress(*CONTAINED):
        name = _id(data, index)
    return Item(index, name, error=error)


def _label(target: Any) -> int | None:
    """Return the class id of a sample, as an integer of 64 bits."""
    try:
        label = None if target is None else operator.index(target)
    except TypeError:
        label = _LIMIT
    if label is not None and not -_LIMIT <= label < _LIMIT:
        raise PluginContractError(f"the dataset returned the target {shown(target)}; expected a class id or None")
    return label


def preprocessed(loaded: LoadedModel, sample: Sample) -> Tensor:
    """Return a sample's image as the model receives it. A tensor is copied, because `preprocess` may write to it."""
    return loaded.preprocess(sample.image.clone() if isinstance(sample.image, Tensor) else sample.image)


def in_one_line(error: BaseException) -> str:
    """Return the type, the message and the notes of an error in one line."""
    return encodable(" ".join(f"{class_name(error)}: {message_with_notes(error)}".split()))


def _id(data: Dataset, index: int) -> str:
    ids = getattr(data, "ids", None)
    return encodable(str(ids[index])) if isinstance(ids, Sequence) and index < len(ids) else str(index)
