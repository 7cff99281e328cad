"""The text of any exception can be read, whatever its own methods do."""

from typing import Any, NoReturn

import pytest
import torch

from support.benchmark_runs import Speckles
from xai_core.benchmarking.failures import describe_failure
from xai_core.benchmarking.reader import Reader
from xai_core.data.sources import LoadedModel
from xai_core.error_text import UNREADABLE, add_note, described, is_regular, notes_of, remove_notes
from xai_core.isolation.error_context import PluginCall
from xai_core.memory_errors import out_of_memory


def refuse(*_: Any) -> NoReturn:
    raise RuntimeError("no")


class Refusing(RuntimeError):
    """Raises whatever is asked of it."""

    __str__ = __repr__ = __setattr__ = __getattribute__ = add_note = refuse


class Shouting(str):
    """A string that raises when it is used."""

    __contains__ = split = startswith = __format__ = refuse


def test_an_exception_that_refuses_everything_is_described() -> None:
    error = Refusing("not today")
    assert described(error) == f"Refusing: {UNREADABLE}"
    assert not is_regular(error)
    assert not out_of_memory(error)
    assert describe_failure(error) == (f"Refusing: {UNREADABLE}", False)


def test_a_message_is_a_plain_string() -> None:
    class Loud(Exception):
        def __str__(self) -> str:
            return Shouting("loud")

    assert described(Loud()) == "Loud: loud"
    assert describe_failure(Loud()) == ("Loud: loud", False)


def test_notes_are_added_and_removed() -> None:
    error = Refusing()
    for note in ("one", "two", "three"):
        add_note(error, note)
    remove_notes(error, ["two"])
    assert notes_of(error) == ["one", "three"]
    remove_notes(error, ["one", "three"])
    plain = RuntimeError("text")
    add_note(plain, "one")
    assert plain.__notes__ == ["one"]
    remove_notes(plain, ["one"])
    assert not hasattr(plain, "__notes__")
    assert is_regular(plain)


class Refused(Speckles):
    """Its first image raises an error that cannot be printed."""

    def __getitem__(self, index: int, /) -> Any:
        if index == 0:
            raise Refusing
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dataset_that_raises_such_an_exception_loses_one_image(workers: int) -> None:
    calls = PluginCall("dataset", "refused", Refused), PluginCall("model", "identity", torch.nn.Identity)
    reader = Reader(Refused(2), LoadedModel(torch.nn.Identity(), lambda image: image), workers, calls)
    first, second = reader.take([0, 1])
    reader.close()
    assert first.error.startswith("PluginContractError: refused raised an exception that cannot be printed")
    assert second.error is None
