"""Ends what takes too long: by a signal on the main thread, by an exception put into any other."""

import contextlib
import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from xai_core.locks import Uninterrupted

AGAIN = 0.5
"""Seconds after which what went on regardless, such as in a bare `except:`, is interrupted again."""
SOON = 0.001
"""Seconds after which it is tried again where an interruption would be lost, see `_between`."""


class Interrupted(BaseException):
    """Raised inside of what takes too long. No `Exception`, so that `except Exception` does not go on past it."""


@contextlib.contextmanager
def limited(seconds: float | None, error: Callable[[], Exception]) -> Iterator[None]:
    """Interrupt what runs inside after so many seconds, and raise the error; no limit if None.

    On the main thread of a POSIX system that ends a `sleep` too; elsewhere, only what runs Python code. One call of
    compiled code is not interrupted before it returns.
    """
    if seconds is None:
        yield
        return
    seconds = min(seconds, threading.TIMEOUT_MAX)
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


def _between(frame: FrameType | None) -> bool:
    """Whether a thread is on its way into a `with` or out of it, where nothing would turn an interruption into an error
    or put the timer back.
    """
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return __file__ in files or files[:1] == [contextlib.__file__]


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

    def _ring(self, _: int, frame: FrameType | None) -> None:
        if self._ended or threading.get_ident() in Uninterrupted.holders:
            return
        if _between(frame):
            signal.setitimer(signal.ITIMER_REAL, SOON, AGAIN)
            return
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
                between = _between(sys._current_frames().get(self._of))
                if not (between or self._ended.is_set() or self._of in Uninterrupted.holders):
                    self.rang = True
                    _put(self._of, Interrupted)
            seconds = SOON if between else AGAIN


def _put(thread: int, exception: type[BaseException] | None) -> None:
    given = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)
