"""The source text of functions and files, without comments, docstrings and blank lines."""

import ast
import inspect
import io
import textwrap
import tokenize
from pathlib import Path
from types import CodeType

_LAYOUT = frozenset({tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT})


def source_text(code: CodeType) -> str | None:
    """Return the source text of a function, or None if the source is not available.

    Comments, docstrings, blank lines and common indentation are removed. Any other change of the text, including its
    formatting, is a difference. Unlike bytecode, the text does not depend on the Python version.
    """
    try:
        if code.co_name == "<lambda>":
            return _without_comments(f"({_lambda_text(code)})")
        return _without_comments(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        return None


def file_text(path: Path) -> str:
    """Return the text of a Python file without comments, docstrings and blank lines.

    A file that is not valid Python is returned unchanged.
    """
    text = path.read_text(encoding="utf-8-sig")
    try:
        return _without_comments(text)
    except (SyntaxError, tokenize.TokenError):
        return text


def _lambda_text(code: CodeType) -> str:
    """Return the text of a lambda. `inspect.getsource` would return the lines that contain it.

    Raises
    ------
    OSError
        If the source is not available, or does not contain the lambda.
    """
    source = "".join(inspect.findsource(code)[0])
    spans = [span for span in code.co_positions() if None not in span and span[:4:2] != span[1:4:2]]
    nodes = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno and _contains(node.body, spans)
    ]
    texts = [ast.get_source_segment(source, node) or "" for node in nodes]
    if not texts:
        raise OSError("the source file does not contain this lambda")
    return min(texts, key=len)  # the innermost lambda


def _contains(body: ast.expr, spans: list[tuple[int | None, int | None, int | None, int | None]]) -> bool:
    """Return whether an expression contains all positions of code (first and last line, first and last column)."""
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    return all(start <= (first, left) and (last, right) <= end for first, last, left, right in spans)


def _without_comments(text: str) -> str:
    """Remove comments, docstrings, blank lines and trailing spaces, but nothing inside other strings."""
    lines = text.splitlines()
    kept: set[int] = set()  # rows inside a string, which are not stripped
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for i, token in enumerate(tokens):
        (row, column), (end, _) = token.start, token.end
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
        elif token.type == tokenize.STRING and _is_statement(tokens, i):
            lines[row - 1 : end] = [""] * (end - row + 1)
        elif row < end and token.type not in _LAYOUT:
            kept.update(range(row, end + 1))
    rows = [line if row in kept else line.rstrip() for row, line in enumerate(lines, 1)]
    return "\n".join(line for row, line in enumerate(rows, 1) if line or row in kept)


def _is_statement(tokens: list[tokenize.TokenInfo], i: int) -> bool:
    """Return whether a string is a statement of its own, as docstrings are."""
    following = next(token for token in tokens[i + 1 :] if token.type != tokenize.COMMENT)
    return i > 0 and tokens[i - 1].type in _LAYOUT and following.type == tokenize.NEWLINE
