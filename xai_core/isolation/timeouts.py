"""Time limits: by a signal on the main thread, by an asynchronous exception on other threads."""

import contextlib
import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from xai_core.locks import UninterruptedLock

REPEAT = 0.5
"""Seconds until code that survived an interruption, such as in a bare `except:`, is interrupted again."""
RETRY = 0.001
"""Seconds until the next attempt, if an interruption would be lost: see `_in_context_switch`."""


class Interrupted(BaseException):
    """Raised inside code that exceeds its limit.

    It does not inherit from `Exception`, so `except Exception` does not catch it.
    """


@contextlib.contextmanager
def limited(seconds: float | None, error: Callable[[], Exception]) -> Iterator[None]:
    """Interrupt the block after a number of seconds and raise the error. None means no limit.

    On the main thread of a POSIX system, the limit also interrupts `sleep`. On other threads and systems, it interrupts
    Python code only. A call of compiled code is not interrupted before it returns.
    """
    if seconds is None:
        yield
        return
    seconds = min(seconds, threading.TIMEOUT_MAX)
    timer = _SignalTimer(seconds) if _can_use_signals() else _ThreadTimer(seconds)
    try:
        try:
            yield
        finally:
            timer.end()
    except Interrupted:
        if not timer.expired:
            raise  # the limit of an outer block
        raise error() from None
    finally:
        timer.restore()


def _can_use_signals() -> bool:
    """Return whether this thread receives signals and the current handler can be restored."""
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None


def _in_context_switch(frame: FrameType | None) -> bool:
    """Return whether a thread is entering or leaving a `with` block.

    An interruption at this moment would not become an error, and the timer would not be restored.
    """
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return __file__ in files or files[:1] == [contextlib.__file__]


class _SignalTimer:
    """Interrupts the main thread by the timer of the process, and restores the previous timer."""

    def __init__(self, seconds: float) -> None:
        self.expired = self._ended = False
        self._begun = time.monotonic()
        self._handler = signal.signal(signal.SIGALRM, self._expire)
        self._left, self._interval = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT)

    def end(self) -> None:
        self._ended = True

    def restore(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        if self._left:
            left = self._left - (time.monotonic() - self._begun)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6), self._interval)

    def _expire(self, _: int, frame: FrameType | None) -> None:
        if self._ended or threading.get_ident() in UninterruptedLock.holders:
            return
        if _in_context_switch(frame):
            signal.setitimer(signal.ITIMER_REAL, RETRY, REPEAT)
            return
        self.expired = True
        raise Interrupted


class _ThreadTimer:
    """Interrupts a thread from a second thread that waits."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._of, self._ended, self._lock = threading.get_ident(), threading.Event(), threading.Lock()
        threading.Thread(target=self._wait, args=(seconds,), daemon=True).start()

    def end(self) -> None:
        with self._lock:
            self._ended.set()

    def restore(self) -> None:
        if self.expired:
            _raise_in(self._of, None)  # a pending exception would interrupt later code

    def _wait(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            with self._lock:
                switching = _in_context_switch(sys._current_frames().get(self._of))
                if not (switching or self._ended.is_set() or self._of in UninterruptedLock.holders):
                    self.expired = True
                    _raise_in(self._of, Interrupted)
            seconds = RETRY if switching else REPEAT


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    pending = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), pending)
