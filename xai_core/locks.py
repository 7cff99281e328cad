"""A lock whose holder no time limit interrupts."""

import threading


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
