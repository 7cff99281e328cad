"""Ends what takes too long: by a signal on the main thread, by an exception put into any other."""

import contextlib
import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

AGAIN = 0.5
"""Seconds after which what went on regardless, such as in a bare `except:`, is interrupted again."""


class Interrupted(BaseException):
    """Raised inside of what takes too long. No `Exception`, so that `except Exception` does not go on past it."""


class Uninterrupted:
    """A lock whose holder is not interrupted by a limit before it lets go."""

    holders: "set[int]" = set()  # noqa: RUF012 # of all such locks: what no limit interrupts

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.holders.add(threading.get_ident())
        try:
            self._lock.acquire()
        except BaseException:
            self.holders.discard(threading.get_ident())
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self.holders.discard(threading.get_ident())


@contextlib.contextmanager
def limited(seconds: float | None, error: Callable[[], Exception]) -> Iterator[None]:
    """Interrupt what runs inside after so many seconds, and raise the error; no limit if None.

    On the main thread of a POSIX system that ends a `sleep` too; elsewhere, only what runs Python code. One call of
    compiled code is not interrupted before it returns.
    """
    if seconds is None:
        yield
        return
    alarm = _Signal(seconds) if _signals() else _Thread(seconds)
    try:
        try:
            yield
        finally:
            alarm.end()
    except Interrupted:
        if not alarm.rang:
            raise  # an outer limit's
        raise error() from None
    finally:
        alarm.restore()


def _signals() -> bool:
    """Whether this thread gets signals, and the handler there can be put back."""
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None


class _Signal:
    """Interrupts the main thread by the timer of the process, which is given back as it was."""

    def __init__(self, seconds: float) -> None:
        self.rang = self._ended = False
        self._begun = time.monotonic()
        self._handler = signal.signal(signal.SIGALRM, self._ring)
        self._left, self._interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)

    def end(self) -> None:
        self._ended = True

    def restore(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        if self._left:
            left = self._left - (time.monotonic() - self._begun)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6), self._interval)

    def _ring(self, *_: Any) -> None:
        if not self._ended and threading.get_ident() not in Uninterrupted.holders:
            self.rang = True
            raise Interrupted


class _Thread:
    """Interrupts a thread from another one, which waits beside it."""

    def __init__(self, seconds: float) -> None:
        self.rang = False
        self._of, self._ended, self._lock = threading.get_ident(), threading.Event(), threading.Lock()
        threading.Thread(target=self._wait, args=(seconds,), daemon=True).start()

    def end(self) -> None:
        with self._lock:
            self._ended.set()

    def restore(self) -> None:
        if self.rang:
            _put(self._of, None)  # what has not arrived would hit whatever comes next

    def _wait(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            with self._lock:
                if not self._ended.is_set() and self._of not in Uninterrupted.holders:
                    self.rang = True
                    _put(self._of, Interrupted)
            seconds = AGAIN


def _put(thread: int, exception: type[BaseException] | None) -> None:
    given = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)
