"""Limits on files, which environment variables change."""

import os

from xai_core.errors import OptionError


def file_limit(variable: str, default: int) -> int:
    """Return the limit that an environment variable sets, or the default if the variable is not set.

    Raises
    ------
    OptionError
        If the value of the variable is not a positive integer.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not (text.isdecimal() and len(text) < 20 and int(text)):
        raise OptionError(
            f"{variable}={text[:80]} is not a valid limit; expected a positive integer of at most 19 digits"
        )
    return int(text)
