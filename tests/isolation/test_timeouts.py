"""Limits of time that are over as soon as they begin, or never."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from xai_core.isolation.timeouts import limited


@contextlib.contextmanager
def around(seconds: float) -> Iterator[None]:
    with limited(seconds, TimeoutError):
        yield


def tried(times: int) -> list[BaseException]:
    """What interrupts a body that does nothing, or one that never ends, other than the error of the limit."""
    strange: list[BaseException] = []
    for number in range(times):
        try:
            with around((1e-6, 1e-5, 3e-5)[number % 3]):
                while number % 2:
                    pass
            assert not number % 2, "the loop was not interrupted"
        except TimeoutError:
            pass
        except BaseException as error:
            strange.append(error)
    return strange


def on_a_thread(times: int) -> list[BaseException]:
    found: list[BaseException] = []
    thread = threading.Thread(target=lambda: found.extend(tried(times)))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return found


@pytest.mark.parametrize(("where", "times"), [(tried, 400), (on_a_thread, 60)])
def test_a_limit_that_is_over_at_once_is_its_error_and_nothing_else(
    where: Callable[[int], list[BaseException]], times: int
) -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert where(times) == []
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_a_limit_of_ages_is_none(seconds: float) -> None:
    with limited(seconds, TimeoutError):
        pass
    errors: list[BaseException] = []

    def inside() -> None:
        try:
            with limited(seconds, TimeoutError):
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(60)
    assert errors == []
