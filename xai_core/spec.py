"""Specs (specification strings), which name a method, metric, model or dataset together with its options.

The grammar:

```text
spec  = head [ "(" list ")" ] [ ":" part ] { "," part }
head  = name                  of a method or source, or a file or module: quotes are needed around `,`, `:` and `(`
part  = name                  only directly after the colon: which model of a source, or which folder
      | option "=" value      hyphens in the option's name are read as underscores
list  = spec { "," spec }     an `option=value` after a comma belongs to the spec before it
```

For instance:

```text
grad-cam                                   a method
grad-cam:layer=layer3                      a method with an option
smoothed(grad-cam:layer=layer3):flip=false a composite method
timm:vit_tiny_patch16_224,pretrained=true  a model of a source, with an option
models/mine.py:build,width=64              a model that a function of a file builds, with an option
folder:"/data/a,b"                         a dataset, with a quoted name
grad-cam,score-cam:score=logit,rollout     a list of three methods
```

A value is read as `none`, `true`, `false`, an integer or a number if it has that form, and as text otherwise. A name
or value in double quotes is text: `layer="3"` is the text `3`. Between the quotes, commas, parentheses, equals signs
and backslashes have no special meaning, and a double quote is written twice.

Quotes are needed around text with a comma, a double quote, unbalanced parentheses, or a space at either end. They are
also needed around empty text, and around a name with an equals sign.

`parse` and `str` are inverse functions: `parse(str(spec)) == spec`.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from xai_core.errors import SpecError

T = TypeVar("T")
Value = str | int | float | bool | None
_WORDS: Mapping[str, Value] = {"none": None, "true": True, "false": False}
_GAP = 0.2
"""The largest difference in similarity between the best suggestion and another one."""
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


@dataclass(frozen=True)
class Spec:
    """A parsed spec.

    Attributes
    ----------
    head
        The name of a method or metric, of a source of models or datasets, or of a file or module that builds a model.
    name
        The model of a source, or the folder of a dataset. None if absent.
    options
        The options by name.
    of
        The specs of the methods that a composite method consists of.
    """

    head: str
    name: str | None = None
    options: Mapping[str, Value] = field(default_factory=dict)
    of: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [] if self.name is None else [self.name if _is_bare_name(self.name) else _quote(self.name)]
        parts += [f"{key}={write_value(value)}" for key, value in self.options.items()]
        head = self.head if _is_bare(self.head) and not {":", "("} & set(self.head) else _quote(self.head)
        head = f"{head}({','.join(self.of)})" if self.of else head
        return f"{head}:{','.join(parts)}" if parts else head


def parse(text: str) -> Spec:
    """Parse one spec. The docstring of the module describes the grammar.

    Raises
    ------
    SpecError
        If the text is not a spec, is a list of several specs, or sets an option twice.
    """
    text = text.strip()
    of: tuple[str, ...] = ()
    quoted = text.startswith('"')
    head, rest = _quoted_head(text) if quoted else text.partition(":")[::2]
    if "(" in head and not quoted:
        end = _closing(text)
        head, of, rest = head.partition("(")[0], tuple(split(text[head.index("(") + 1 : end])), text[end + 1 :]
        if rest and not rest.startswith(":"):
            raise SpecError(f"expected `:option=value` after the parenthesis in {text!r}, got {rest!r}")
        rest = rest.removeprefix(":")
    if not head:
        raise SpecError(f"{text!r} has no name before the colon; expected `name` or `name:option=value,...`")
    if "," in head and not quoted:
        return parse(_only(text))  # `name,option=value`
    name: str | None = None
    options: dict[str, Value] = {}
    for position, part in enumerate(map(str.strip, _split_at_commas(rest)) if rest else []):
        key, equals, value = part.partition("=")
        key, value = key.strip().replace("-", "_"), value.strip()
        if position == 0 and part and (part.startswith('"') or not equals):
            name = _unquote(part) if part.startswith('"') else part
        elif not equals or not key:
            raise SpecError(
                f"{part!r} in {text!r} is not `option=value`; expected `{head}:option=value,...`, and double quotes "
                f'around text with commas, such as `{head}:"a,b"`'
            )
        elif key in options:
            raise SpecError(f"{text!r} sets the option {key!r} twice; expected one value")
        else:
            options[key] = _unquote(value) if value.startswith('"') else read_value(value)
    return Spec(head, name, options, of)


def _quoted_head(text: str) -> tuple[str, str]:
    """Return the name in double quotes at the start of a spec, and the text after the colon."""
    match = _QUOTED.match(text)
    rest = "" if match is None else text[match.end() :].lstrip()
    if match is None or rest[:1] not in ("", ":", ","):
        raise SpecError(f"expected a closing quote, then `:option=value`, in {text!r}")
    _only(text)
    return match[1].replace('""', '"'), rest[1:]


def _only(text: str) -> str:
    """Return the spec in a list of one spec."""
    specs = split(text)
    if len(specs) != 1:
        raise SpecError(f"expected one spec, got the list {text!r}")
    return specs[0]


def split(text: str) -> list[str]:
    """Split a list of specs at its commas, without parsing the specs.

    An `option=value` after a comma belongs to the spec before it: `a,b:x=1,y=2,c` consists of the specs `a`,
    `b:x=1,y=2` and `c`.

    Raises
    ------
    SpecError
        If a quote is not closed.
    """
    specs: list[str] = []
    for part in filter(None, map(str.strip, _split_at_commas(text))):
        if specs and "=" in part and part[0] != '"' and not {":", "("} & set(part.partition("=")[0]):
            has_options = any(character == ":" and depth == 0 for _, character, depth in _outside_quotes(specs[-1]))
            specs[-1] += ("," if has_options else ":") + part
        else:
            specs.append(part)
    return specs


def split_all(items: Iterable[T | str]) -> list[T | str]:
    """Split strings at their commas, as `split` does. Objects other than strings are returned unchanged."""
    return [part for item in items for part in (split(item) if isinstance(item, str) else [item])]


def read_value(text: str) -> Value:
    """Read none, true, false, an integer or a number. Anything else is text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def write_value(value: object) -> str:
    """Write a value so that `read_value` returns an equal value, with quotes where text needs them.

    The items of a list or tuple are joined by `+`. An object with a `spec` is written as its spec, and any other object
    as its `str`.
    """
    text = _bare_text(value)
    is_read_back = not isinstance(value, str) or isinstance(read_value(text), str)
    return text if is_read_back and _is_bare(text) else _quote(text)


def close_names(name: str, known: Iterable[str], cutoff: float = 0.5) -> list[str]:
    """Return up to three known names that resemble a name, ignoring case and punctuation.

    Parameters
    ----------
    name
        A name that may be misspelled.
    known
        All names.
    cutoff
        The least similarity, from 0 to 1. Names that are much less similar than the best one are left out. If some
        names have the same letters and digits, all others are left out.
    """
    by_letters: dict[str, list[str]] = {}
    for candidate in sorted(known):
        by_letters.setdefault(_letters(candidate), []).append(candidate)
    letters = _letters(name)
    if letters in by_letters:
        return by_letters[letters][:3]
    matches = difflib.get_close_matches(letters, by_letters, n=3, cutoff=cutoff)
    ratios = [difflib.SequenceMatcher(None, match, letters).ratio() for match in matches]
    close = [match for match, ratio in zip(matches, ratios, strict=True) if ratio > ratios[0] - _GAP]
    return [candidate for match in close for candidate in by_letters[match]][:3]


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the known names that resemble a wrong name, or all known names if none does.

    Case, hyphens and underscores do not matter: `GradCAM` suggests `grad-cam`.
    """
    known = sorted(known)
    close = close_names(name, known)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    return "known: " + (", ".join(known[:40]) + (", ..." if len(known) > 40 else "") if known else "none")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def _bare_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_bare_text, value))
    if hasattr(value, "spec"):
        return str(value.spec)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _is_bare(text: str) -> bool:
    """Return whether text needs no quotes to be read back as one part."""
    depths = [depth for _, _, depth in _outside_quotes(text)] if '"' not in text else [-1]
    is_balanced = min(depths, default=0) == 0 and depths[-1:] == [0]
    return text == text.strip() and is_balanced and len(_split_at_commas(text)) == 1


def _is_bare_name(name: str) -> bool:
    return _is_bare(name) and "=" not in name


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _unquote(part: str) -> str:
    match = _QUOTED.fullmatch(part)
    if match is None:
        raise SpecError(f"unexpected text after the closing quote in {part}; expected a comma or the end")
    return match[1].replace('""', '"')


def _outside_quotes(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield the index, the character and the depth of parentheses of each character that is not quoted.

    A quote opens where a name or value begins. Elsewhere, `"` is an ordinary character.
    """
    depth, quoted, previous = 0, False, ","
    for index, character in enumerate(text):
        if quoted:
            quoted = character != '"'
        elif character == '"' and previous in ':=,("':  # after a closing quote: a quote that is written twice
            quoted = True
        else:
            depth += (character == "(") - (character == ")")
            yield index, character, depth
        previous = previous if character.isspace() else character
    if quoted:
        raise SpecError(f"a double quote is not closed in {text!r}")


def _split_at_commas(text: str) -> list[str]:
    """Split at the commas that are neither quoted nor in parentheses."""
    commas = [index for index, character, depth in _outside_quotes(text) if character == "," and depth <= 0]
    return [text[start + 1 : end] for start, end in pairwise([-1, *commas, len(text)])]


def _closing(text: str) -> int:
    """Return the index of the parenthesis that closes the first one."""
    for index, character, depth in _outside_quotes(text):
        if character == ")" and depth == 0:
            return index
    raise SpecError(f"a parenthesis is not closed in {text!r}")
