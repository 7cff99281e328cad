"""Plugins that raise exceptions of every sort."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from support.misbehavior.case import BENCHMARK, EXPLAIN, ON_RAY, BadExplainer, BadMetric, Kind, Misbehavior
from xai_core.errors import PluginContractError, UnsuitableError

SHARED = RuntimeError("not today")
"""An exception that several plugins raise."""
UNPRINTABLE = "raised an exception that cannot be printed or annotated, "
ENDING = "raised an exception that would end the process, "


class Ending(BaseException):
    """Is no `Exception`."""


@dataclass(frozen=True)
class Frozen(Exception):
    """Rejects every assignment, also that of a traceback."""

    reason: str = "frozen"


class Unpicklable(Exception):
    """Cannot be sent to another process."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle this")


class TwoArguments(Exception):
    """Can be pickled, but not be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def refuse(*_: Any) -> NoReturn:
    raise RuntimeError("no")


class Unusual(Exception):
    """Base class of exceptions with unusual members."""


def unusual(**members: Any) -> Exception:
    error: Exception = type("Unusual", (Unusual,), members)("not today")
    return error


def raising(make: Callable[[], BaseException]) -> Callable[..., NoReturn]:
    """Return a function that raises an exception, whatever its arguments."""

    def act(*_: Any) -> NoReturn:
        raise make()

    return act


def caused_by_itself() -> Exception:
    error = RuntimeError("not today")
    error.__cause__ = ValueError("first")
    error.__cause__.__cause__ = error
    return error


def recurse(*_: Any) -> Any:
    return recurse()


def exhaust(*_: Any) -> Any:
    return bytearray(2**62)


def _raises(
    name: str,
    description: str,
    make: Callable[[], BaseException],
    error: type[Exception] = RuntimeError,
    message: str = "not today",
) -> Misbehavior:
    return Misbehavior(BadExplainer(f"raises-{name}", raising(make)), f"It raises {description}.", error, message)


def _ends(name: str, description: str, act: Callable[..., Any], shown: str) -> Misbehavior:
    return Misbehavior(
        BadExplainer(f"raises-{name}", act), f"It raises {description}.", PluginContractError, ENDING + shown
    )


EXCEPTIONS = Kind(
    "exceptions",
    "Exceptions",
    "Its results.",
    (
        _raises("standard", "a standard exception", lambda: RuntimeError("not today")),
        _raises("shared", "an exception object that another plugin has raised before", lambda: SHARED),
        _raises("shared-again", "that exception object again", lambda: SHARED),
        Misbehavior(
            BadExplainer("raises-in-needs", needs=raising(lambda: KeyError("not today"))),
            "It raises an exception in `needs`.",
            KeyError,
            "not today",
        ),
        Misbehavior(
            BadExplainer("raises-in-passes", forward_passes=raising(lambda: RuntimeError("not today"))),
            "It raises an exception in `forward_passes`.",
            RuntimeError,
            "not today",
        ),
        Misbehavior(
            BadMetric("metric-raises", raising(lambda: RuntimeError("not today"))),
            "It is a metric that raises an exception.",
            RuntimeError,
            "not today",
        ),
        Misbehavior(
            BadMetric("metric-stop-iteration", raising(lambda: StopIteration("not today"))),
            "It is a metric that raises `StopIteration`.",
            StopIteration,
            "not today",
        ),
        Misbehavior(
            BadMetric("metric-exits", lambda *_: sys.exit(3)),
            "It is a metric that calls `sys.exit`.",
            PluginContractError,
            ENDING + "SystemExit: 3",
        ),
        _raises(
            "unsuitable",
            "`UnsuitableError` after it accepted the model",
            lambda: UnsuitableError("not today"),
            UnsuitableError,
        ),
        _raises("stop-iteration", "`StopIteration`", lambda: StopIteration("not today"), StopIteration),
        _raises("assertion", "`AssertionError` without a message", AssertionError, AssertionError, ""),
        _raises(
            "group",
            "an exception group",
            lambda: ExceptionGroup("not today", [ValueError("one"), KeyError("two")]),
            ExceptionGroup,
        ),
        _raises("cycle", "an exception that is the cause of its cause", caused_by_itself),
        _raises(
            "long", "an exception with a message of a million characters", lambda: RuntimeError("not today" * 10**5)
        ),
        _raises("surrogate", "an exception whose message is no valid UTF-8", lambda: RuntimeError("not today \udce9")),
        _raises("control", "an exception with control characters", lambda: RuntimeError("not today\x00\x1b[2J\r\n")),
        _raises("unpicklable", "an exception that cannot be pickled", lambda: Unpicklable("not today"), Unpicklable),
        _raises(
            "two-arguments",
            "an exception that cannot be unpickled",
            lambda: TwoArguments("not ", "today"),
            TwoArguments,
        ),
        *(
            _raises(name, f"an exception {description}", make, PluginContractError, UNPRINTABLE)
            for name, description, make in (
                ("no-str", "whose `str` raises", lambda: unusual(__str__=refuse)),
                ("exit-str", "whose `str` exits", lambda: unusual(__str__=lambda self: sys.exit())),
                ("number-str", "whose `str` is a number", lambda: unusual(__str__=lambda self: 3)),
                ("no-repr", "whose `repr` raises", lambda: unusual(__repr__=refuse)),
                ("no-dict", "that hides its `__dict__`", lambda: unusual(__dict__=property(refuse))),
                ("no-class", "that hides its class", lambda: unusual(__class__=property(refuse))),
                ("no-attributes", "without readable attributes", lambda: unusual(__getattribute__=refuse)),
                ("no-assignment", "that rejects assignments", lambda: unusual(__setattr__=refuse)),
                ("frozen", "that is a frozen dataclass", Frozen),
            )
        ),
        _raises(
            "no-notes", "an exception without readable notes", lambda: unusual(__notes__=property(refuse)), Unusual
        ),
        _raises("text-notes", "an exception whose notes are a string", lambda: unusual(__notes__="a text"), Unusual),
        _raises("no-add-note", "an exception whose `add_note` raises", lambda: unusual(add_note=refuse), Unusual),
        _ends("exit", "`SystemExit`", lambda *_: sys.exit(0), "SystemExit: 0"),
        _ends("generator-exit", "`GeneratorExit`", raising(GeneratorExit), "GeneratorExit"),
        _ends("asyncio", "`asyncio.CancelledError`", raising(asyncio.CancelledError), "CancelledError"),
        _ends(
            "interrupt", "`KeyboardInterrupt`", raising(lambda: KeyboardInterrupt("mine")), "KeyboardInterrupt: mine"
        ),
        _ends("base", "another class outside `Exception`", raising(lambda: Ending("over")), "Ending: over"),
        Misbehavior(
            BadExplainer("recurses", recurse), "It calls itself without end.", RecursionError, "maximum recursion depth"
        ),
        Misbehavior(BadExplainer("allocates", exhaust), "It allocates too much memory at once.", MemoryError),
        _raises(
            "device-memory",
            "`torch.OutOfMemoryError` for every batch size",
            lambda: torch.OutOfMemoryError("CUDA out of memory"),
            torch.OutOfMemoryError,
            "CUDA out of memory",
        ),
    ),
    tests=(EXPLAIN, BENCHMARK, ON_RAY),
)
