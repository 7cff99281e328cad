"""How this process holds memory."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # their numbers in <malloc.h>
MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have glibc keep what large tensors free for the next ones.

    It would give each back to the system, which then clears the pages of the next one: a third of the time
    that scoring perturbed images takes on a CPU.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(TRIM_THRESHOLD, MOST)
        libc.mallopt(MMAP_THRESHOLD, MOST)
