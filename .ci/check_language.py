"""Check the language of the project: pages, docstrings, comments, command-line help and error messages.

Each finding is printed as `path:line: rule: excerpt`, and the exit code is 1 if there is any. The file
`check_language.toml` lists the private words and the British spellings, each with its replacement.

In Markdown, the comment `<!-- language: allow -->` exempts the text from there to the next blank line. In Python, the
comment `# language: allow` at the end of a line exempts that line and the string that it belongs to.
"""

import argparse
import ast
import io
import re
import textwrap
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGES = ["README.md", "docs/**/*.md", "plugins/*/README.md", "changelog/*.md", "xai_core/cli/templates/**/*.md"]
SOURCES = ["xai_core/**/*.py", "plugins/**/*.py", "benchmarks/**/*.py", "docs/example-plugin/**/*.py"]
MAX_WORDS = 25

TERMS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
WORDS = [(re.compile(rf"(?i)\b(?:{banned})(?!\w)"), instead) for banned, instead in TERMS["words"].items()]
ANY_WORD = re.compile(rf"(?i)\b(?:{'|'.join(TERMS['words'])})(?!\w)")
SPELLING = [(re.compile(f"(?i){british}"), instead) for british, instead in TERMS["spelling"].items()]
EXTERNAL = re.compile("|".join(TERMS["external"]["names"]))
HEADLESS = r"Of(?! course)|What|Whose|Those|That of|All that|Nothing of|How (?:many|often|much)"
OPENINGS = {"": HEADLESS, "summary": HEADLESS + "|How|Where", "raises": HEADLESS + "|Where"}

ABBREVIATIONS = {"e.g.", "i.e.", "eq.", "eqs.", "fig.", "figs.", "sec.", "vs.", "cf.", "approx.", "resp.", "incl."}
SENTENCE_END = re.compile(r"(\S*[.!?])[\"')\]*_]*\s+(?=(\S))")
CITATION = re.compile(r"(?s)(?:\*[^*]{10,}\*|\"[^\"]{10,}\"|^[A-Z][^.]* et al\.),.*\b(?:19|20)\d\d\b")

# What is removed, what is hidden as one word (code, math, addresses), and lines of Markdown that stand alone.
REMOVED = re.compile(r"(?ms)^[ \t]*(`{3,}|~{3,}).*?^[ \t]*\1[^\n]*$|<!--.*?-->|^\$\$.*?\$\$|\A---\n.*?\n---$")
HIDDEN = re.compile(
    r"(?s)(`{1,2})(?!`)(?:(?!\n\s*\n).)+?\1|\$[^\s$](?:[^$\n]*[^\s$])?\$|https?://[^\s)>]+|\[default:.*?\]"
)
TAG = re.compile(r"</?[a-zA-Z][^>\n]*>|&\w+;|\{[:.#][^}\n]*\}")
LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
ALONE = re.compile(r"#{1,6}\s+(.*)|\|(.*)\||!!!.*|\?{3}.*|[:=-]{3}.*|\[[^\]]+\]:\s.*")
ITEM = re.compile(r"^(?:[-*+]|\d+[.)])\s+")
# The same for docstrings: headers, sections of names with descriptions, and paragraphs that are no prose.
HEADER = re.compile(r"(?m)^(.+)\n-{3,}$")
NAMED = {"Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns"}
DIRECTIVE = re.compile(r"(?:type|noqa|fmt|pragma|language|SPDX[\w-]*)\b")  # comments for tools
NO_PROSE = re.compile(r"(?ms)^(?:Sources?:|>>>).*?(?=\n\s*\n|\Z)|(?<=\n\n)(?: {4}[^\n]*(?:\n|\Z)|\n)+")
HIDE = {code: 0xE000 + code for code in range(32, 127)}  # hidden characters move to the private use area
SHOW = {hidden: code for code, hidden in HIDE.items()}


@dataclass(frozen=True)
class Text:
    """Paragraph, sentence or line of a file. The `role` is a key of `OPENINGS`."""

    kind: str
    line: int
    text: str
    role: str = ""


def length(sentence: Text) -> Iterator[str]:
    """Flag long sentences. In errors a semicolon ends a sentence, as in `expected ..., got ...; do X`."""
    for part in sentence.text.split(";") if sentence.kind == "errors" else [sentence.text]:
        if len(words := part.split()) > MAX_WORDS:
            count = sum(bool(re.search(r"[\w\ue020-\ue07e]", word)) for word in words)
            if count > MAX_WORDS:
                yield f"{count} words"


def semicolon(sentence: Text) -> Iterator[str]:
    """Flag semicolons in running text."""
    if ";" in sentence.text and sentence.kind not in {"errors", "help", "comments"}:
        yield "write two sentences"


def opening(sentence: Text) -> Iterator[str]:
    """Flag sentences that open without naming their subject, except questions."""
    found = re.match(rf"[\s\"'(\[*_]*({OPENINGS[sentence.role]})\b", sentence.text)
    if found and sentence.kind != "errors" and not re.search(r"\?[\"')\]*_]*$", sentence.text):
        yield f"{found[1]!r}: name the subject"


def word(sentence: Text) -> Iterator[str]:
    """Flag private words and suggest the standard term."""
    for banned, instead in WORDS if ANY_WORD.search(sentence.text) else []:
        yield from (f"{found[0]!r}: write {found.expand(instead)}" for found in banned.finditer(sentence.text))


def spelling(line: Text) -> Iterator[str]:
    """Flag British spelling, also within identifiers."""
    names = dict.fromkeys(re.findall(r"\w+", EXTERNAL.sub("", line.text)))
    yield from (f"{name!r}: write {american(name)}" for name in names if american(name) != name)


@cache
def american(name: str) -> str:
    """Spell a word or identifier the American way."""
    for british, replacement in SPELLING:
        name = british.sub(replacement, name)
    return name


def blank(found: re.Match[str]) -> str:
    """Replace a match by its line breaks."""
    return "\n" * found[0].count("\n")


def visible(text: str) -> str:
    """Remove what is no prose and hide inline code, without changing line numbers."""
    text = HIDDEN.sub(lambda found: found[0].translate(HIDE), REMOVED.sub(blank, text))
    return TAG.sub(" ", LINK.sub(r"\1", text))


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Split text into paragraphs, list items, headings and table cells, each with the index of its line."""
    start, block = 0, list[str]()
    for index, line in enumerate([*text.split("\n"), ""]):
        line = line.strip().lstrip("> ")
        alone = ALONE.fullmatch(line)
        if block and (not line or alone or ITEM.match(line)):
            yield start, "\n".join(block)
            block = []
        if alone:
            yield from ((index, cell) for cell in re.split(r"(?<!\\)\|", alone[1] or alone[2] or ""))
        elif line:
            start = start if block else index
            block.append(ITEM.sub("", line))


def sentences(paragraph: Text) -> Iterator[Text]:
    """Split a paragraph after sentences, but not after abbreviations. Citations are omitted."""
    ends = [0]
    for found in SENTENCE_END.finditer(paragraph.text):
        last = found[1].lstrip("([").lower()
        if last not in ABBREVIATIONS and (found[2].isupper() or not last.endswith(("al.", "etc.", "..."))):
            ends.append(found.end())
    for start, end in zip(ends, [*ends[1:], len(paragraph.text)], strict=True):
        text = paragraph.text[start:end].strip()
        if re.search(r"[^\W\d_]", text) and not CITATION.search(text):
            line = paragraph.line + paragraph.text.count("\n", 0, start)
            yield Text(paragraph.kind, line, text, "" if start else paragraph.role)


def markdown_texts(path: Path, source: str) -> Iterator[Text]:
    """Find the texts of a page."""
    kinds = {"README.md": "readme", "changelog": "changelog", "methods": "method pages", "metrics": "method pages"}
    kind = next((kinds[part] for part in reversed(path.parts) if part in kinds), "docs pages")
    yield from (Text(kind, index + 1, text) for index, text in paragraphs(visible(source)))


def docstring_texts(docstring: str, line: int, kind: str) -> Iterator[Text]:
    """Find the texts of a docstring in numpydoc style."""
    first, _, rest = docstring.partition("\n")
    parts = ["", *HEADER.split(visible(f"{first.strip()}\n{textwrap.dedent(rest)}"))]
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        prose = textwrap.dedent(re.sub(r"(?m)^\S.*$", "", body)) if title in NAMED else body
        for number, (index, text) in enumerate(paragraphs(NO_PROSE.sub(blank, prose))):
            role = "raises" if title == "Raises" else "" if title or number else "summary"
            yield Text(kind, line + index, text, role)
        line += body.count("\n") + 1


def python_texts(node: ast.AST, name: str, private: bool = False) -> Iterator[Text]:
    """Find docstrings, messages of errors and warnings, and command-line help in a node with this name."""
    private = private or (name.startswith("_") and not name.endswith("__"))
    match node:
        case ast.Expr(value=ast.Constant(value=str(docstring)), lineno=line):
            yield from docstring_texts(docstring, line, f"{'internal' if private else 'public'} docstrings")
        case ast.Raise(exc=ast.Call(args=strings)):  # of any name; `check` drops what the next case finds again
            yield from (message(string, "errors") for string in strings)
        case ast.Call(func=function, args=strings, keywords=keywords):
            if (getattr(function, "attr", "") or getattr(function, "id", "")).endswith(("Error", "Warning", "warn")):
                yield from (message(string, "errors") for string in strings)
            yield from (message(keyword.value, "help") for keyword in keywords if keyword.arg == "help")
    for child in ast.iter_child_nodes(node):
        yield from python_texts(child, getattr(child, "name", None) or "", private)


def comment_texts(source: str) -> Iterator[Text]:
    """Find the comments. Successive lines that contain only a comment are one paragraph."""
    lines = [""] * (source.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = token.string.lstrip("#:! ")
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(text):
            lines[token.start[0] - 1] = text if token.line.lstrip().startswith("#") else f"- {text}"
    yield from (Text("comments", index + 1, text) for index, text in paragraphs(visible("\n".join(lines))))


def message(node: ast.expr, kind: str) -> Text:
    """Text of a string literal, with placeholders for the values in it."""
    parts = [getattr(part, "value", None) for part in getattr(node, "values", [node])]
    text = "".join(part if isinstance(part, str) else "{}".translate(HIDE) for part in parts)
    return Text(kind, node.lineno, visible(text).replace("\n", " "), "summary")


def exempt(source: str, tree: ast.AST | None) -> set[int]:
    """Find the lines that a comment exempts."""
    lines = list(enumerate(source.split("\n"), 1))
    if tree and "# language: allow" not in source:
        return set()
    if tree:
        marked = {number for number, line in lines if re.search(r"# language: allow\b", line)}
        strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr)]
        spans = [set(range(node.lineno, (node.end_lineno or 0) + 1)) for node in strings]
        return marked.union(*(span for span in spans if span & marked))
    exempted = set[int]()
    for number, line in lines:
        if "<!-- language: allow" in line or (line.strip() and number - 1 in exempted):
            exempted.add(number)
    return exempted


def check(path: Path, source: str) -> Iterator[tuple[Text, list[str]]]:
    """Check a file: each sentence, and each line for its spelling, with what is found there."""
    tree = ast.parse(source) if path.suffix == ".py" else None
    texts = [*python_texts(tree, path.stem), *comment_texts(source)] if tree else markdown_texts(path, source)
    lines = [Text("lines", number, line) for number, line in enumerate(source.split("\n"), 1)]
    allowed = exempt(source, tree)
    units = [*lines, *(sentence for text in dict.fromkeys(texts) for sentence in sentences(text))]
    for unit in sorted(units, key=lambda unit: unit.line):
        rules = [spelling] if unit.kind == "lines" else [length, semicolon, opening, word]
        found = [f"{rule.__name__} ({advice})" for rule in rules for advice in rule(unit)]
        yield unit, [] if unit.line in allowed else found


def files(root: Path, paths: list[Path]) -> list[Path]:
    """Find the files to check, relative to the root: all, or only those that are in `paths`."""
    found = {path.relative_to(root) for pattern in PAGES + SOURCES for path in root.glob(pattern)}
    wanted = [path for path in found if not paths or any((root / path).is_relative_to(folder) for folder in paths)]
    return sorted(path for path in wanted if not {"tests", ".venv"} & set(path.parts))


def main() -> int:
    """Print the findings, or with `--count` how many there are by kind of text."""
    parser = argparse.ArgumentParser(description="Check the language of pages, docstrings, help and error messages.")
    parser.add_argument("paths", nargs="*", type=lambda path: Path(path).resolve(), metavar="PATH")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="Folder of the project.")
    parser.add_argument("--count", action="store_true", help="Print a table by kind of text.")
    options = parser.parse_args()
    counts, root = Counter[tuple[str, str]](), options.root.resolve()
    if missing := [str(path) for path in options.paths if not path.exists()]:
        parser.error(f"no such file or folder: {', '.join(missing)}")
    for path in files(root, options.paths):
        for unit, found in check(path, (root / path).read_text("utf-8")):
            if found or unit.kind == "help" or len(unit.text.split()) > 2:  # not a word in a table
                counts.update((unit.kind, column) for column in ["units"] + ["flagged"] * bool(found))
            counts.update((unit.kind, finding.partition(" ")[0]) for finding in found)
            if found and not options.count:
                excerpt = textwrap.shorten(unit.text.translate(SHOW), 100)
                print(*(f"{path}:{unit.line}: {finding}: {excerpt}\n" for finding in found), sep="", end="")
    if options.count:
        columns = ["units", "flagged", "length", "semicolon", "opening", "word", "spelling"]
        print(f"{'kind':20}", *(f"{column:>9}" for column in columns))
        for kind in sorted({kind for kind, _ in counts}):
            print(f"{kind:20}", *(f"{counts[kind, column]:9}" for column in columns))
    return int(any(column == "flagged" for _, column in counts))


if __name__ == "__main__":
    raise SystemExit(main())
