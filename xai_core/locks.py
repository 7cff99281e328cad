"""A lock whose holder is never interrupted by a time limit."""

import threading


class UninterruptedLock:
    """A lock. A time limit does not interrupt a thread before it releases the lock.

    Attributes
    ----------
    holders
        Identifiers of the threads that hold a lock of this class, or wait for it.
    """

    holders: "set[int]" = set()  # noqa: RUF012 # shared by all locks

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
