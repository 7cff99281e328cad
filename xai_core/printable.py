"""Text from files and users, made safe for a terminal and short enough for a message."""

from unicodedata import category

_CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""The Unicode categories of control and format characters, surrogates, and separators of lines and paragraphs."""
_LONGEST = 200
_START, _END = 120, 60


def printable(text: str) -> str:
    r"""Escape the characters that control a terminal, except line breaks: an escape character becomes `\x1b`."""
    return "".join(
        character.encode("unicode_escape").decode()
        if category(character) in _CONTROL and character != "\n"
        else character
        for character in text
    )


def one_line(text: str) -> str:
    """Return text in one line, with control characters escaped and words over 200 characters shortened."""
    line = " ".join(filter(None, map(str.strip, text.splitlines())))
    return " ".join(map(_shortened, printable(line).split(" ")))


def _shortened(word: str) -> str:
    return word if len(word) <= _LONGEST else f"{word[:_START]}...{word[-_END:]}"
