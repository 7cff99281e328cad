"""Tests of the language check: each rule flags an example and accepts its correction."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"
spec = importlib.util.spec_from_file_location("check_language", CI / "check_language.py")
assert spec is not None
assert spec.loader is not None
check_language = importlib.util.module_from_spec(spec)
sys.modules["check_language"] = check_language
spec.loader.exec_module(check_language)


def findings(source: str, name: str = "docs/page.md") -> list[str]:
    """Check a file and return each finding as "line rule"."""
    found = check_language.check(Path(name), source)
    return [f"{unit.line} {finding.split()[0]}" for unit, rules in found for finding in rules]


def words(count: int) -> str:
    """Build a sentence with this number of words."""
    return " ".join(["Word", *["word"] * (count - 1)]) + "."


@pytest.mark.parametrize(
    ("bad", "rule", "good"),
    [
        (words(26), "length", words(25)),
        ("The run stops; it resumes later.", "semicolon", "The run stops. It resumes later."),
        ("Of what is random.", "opening", "Random seed. Of course it is fixed."),
        ("What fails costs time.", "opening", "What fails? Whether it fails is recorded."),
        ("How many images to try.", "opening", "How many images are there?"),
        ("One forward and two backwards.", "word", "One forward pass and two backward passes."),
        ("The truth is known.", "word", "The ground truth is known. So is the ground-truth mask."),
        ("The map has 49 places.", "word", "The sum takes place in place, to three decimal places."),
        ("It is put in the place of zeros.", "word", "It is used in place of zeros."),
        ("A method gives a map.", "word", "A method returns a map."),
        ("Each data set has pictures.", "word", "Each dataset has images."),
        ("Give a model of yours.", "word", "Pass a custom model."),
        ("Localisation by colour and behaviour.", "spelling", "Localization by color and behavior."),
        ("Modelled, labelled and centred in grey.", "spelling", "Modeled, labeled and centered in gray."),
        ("A licence to analyse what is learnt.", "spelling", "A license to raise precise analyses otherwise."),
    ],
)
def test_rules_flag_an_example_and_accept_its_correction(bad: str, rule: str, good: str) -> None:
    assert {found.split()[1] for found in findings(bad)} == {rule}
    assert findings(good) == []


def test_a_replacement_is_suggested() -> None:
    [(_, found)] = [unit for unit in check_language.check(Path("docs/page.md"), "Two forwards.") if unit[1]]
    assert found == ["word ('forwards': write forward passes)"]


@pytest.mark.parametrize(
    "text",
    ["See Fig. 3, e.g. v1.2.3, i.e. 0.5 of", "Zhang et al. allow", "Read `a. B` and results.csv of", "It is vs. the"],
)
def test_sentences_do_not_end_within_abbreviations_numbers_and_code(text: str) -> None:
    assert findings(f"{text} {words(24)[:-1].lower()}.") == ["1 length"]


def test_sentences_end_where_another_begins() -> None:
    text = f"{words(20)} xai is lower case. **{words(20)}** By Zhang et al. {words(20)} (See it.) {words(20)}"
    assert findings(text) == []


@pytest.mark.parametrize(
    "page",
    [
        "---\ntitle: a; b\n---\n\nText.",
        "```python\na; b\n```\n\nText.",
        "- Item:\n\n  ```\n  a; gives\n  ```",
        "Call `a; gives` or ``b; `c` `` or $a; b$.",
        "See [text](gives;places.md) and https://a.b/c;d.",
        '<img alt="a; b"> Text &nbsp; text {: .gives }',
        "$$\na; b\n$$",
        "Li et al., *Towards Better Attribution of Deep Networks*, ICML 2020; section 3 gives the proof.",
        "<!-- language: allow -->\nIt gives; it says.\n",
        "<!-- language: allow: a quotation -->\n| gives |\n| --- |\n| says |\n",
    ],
)
def test_code_math_addresses_citations_and_allowed_text_are_exempt(page: str) -> None:
    assert findings(page) == []


def test_every_text_of_a_page_is_checked_at_its_line() -> None:
    page = (
        "# It gives\n\nA line.\nIt gives.\n\n> It gives.\n\n- An item\n- It gives\n\n| it | it gives |\n| --- | -- |\n"
    )
    assert findings(page) == [f"{line} word" for line in (1, 4, 6, 9, 11)]
    assert findings("<!-- language: allow -->\nIt gives.\n\nIt gives.\n") == ["4 word"]


SOURCE = '''"""How maps are made."""

GREY = 1


class Map:
    """Map of an image.

    It gives a number; `a; b` and this do not count:

        gives; code

    Source: Li, "It gives; says",
    2020.

    Parameters
    ----------
    gives
        What pixels are.

    Raises
    ------
    ValueError
        Where it fails. If it fails again.
    """

    size: int
    """Of the map."""

    def _draw(self, size):
        """Draw; really."""
        if not size:
            raise ValueError(f"expected places, got {size}; " "pass a number")
        warnings.warn("it gives up", stacklevel=2)
        return Option(help="Where to draw.")
'''


def test_docstrings_messages_and_help_are_checked_at_their_lines() -> None:
    expected = ["1 opening", "3 spelling", "9 semicolon", "9 word", "19 opening", "24 opening", "28 opening"]
    expected += ["31 semicolon", "33 word", "34 word", "35 opening"]
    assert findings(SOURCE, "xai_core/map.py") == expected


def test_kinds_of_text_are_told_apart() -> None:
    def kinds(name: str, source: str) -> Iterator[str]:
        return (unit.kind for unit, _ in check_language.check(Path(name), source) if unit.kind != "lines")

    assert set(kinds("xai_core/map.py", SOURCE)) == {"public docstrings", "internal docstrings", "errors", "help"}
    assert set(kinds("xai_core/_map.py", '"""Maps."""')) == {"internal docstrings"}
    assert set(kinds("xai_core/__init__.py", '"""Maps."""')) == {"public docstrings"}
    names = ["docs/data.md", "docs/methods/cam.md", "plugins/cam/README.md", "changelog/cam.added.md"]
    expected = ["docs pages", "method pages", "readme", "changelog"]
    assert [next(kinds(name, "Text.")) for name in names] == expected


def test_errors_may_have_semicolons_that_end_a_clause() -> None:
    message = f"{words(20)[:-1]}; {words(20)[:-1]}"
    assert findings(f'raise ValueError("{message}")', "a.py") == []
    assert findings(f'raise ValueError("{message} {message}")', "a.py") == ["1 length"]


def test_comments_are_checked_for_words_and_length() -> None:
    assert findings("a = 1  # it gives; this\n", "a.py") == ["1 word"]
    assert findings("a = 1  # noqa: gives\nb = 2  # type: ignore[gives]\n", "a.py") == []
    half = words(13)[:-1].lower()
    assert findings(f"# {half}\n# {half}\n", "a.py") == ["1 length"]
    assert findings(f"a = 1  # {half}\nb = 2  # {half}\n# {half}.\n\n# {half}\n", "a.py") == ["2 length"]
    assert findings(f"# {half}.\n# {half}\na = '# {half} {half}'\n", "a.py") == []


def test_a_trailing_comment_exempts_its_line_and_string() -> None:
    assert findings('"""Map.\n\nIt gives colour.\n"""  # language: allow\n', "a.py") == []
    assert findings("colour = 1  # language: allow, as in another library\ngrey = 2\n", "a.py") == ["2 spelling"]


def test_the_command_prints_findings_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("docs/a.md", "docs/b.md", "plugins/cam/tests/test_cam.py", "xai_core/good.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('"""Good."""\n' if "good" in name else "It gives\n`a b`.\n" * name.endswith("md"))

    def run(*arguments: str) -> tuple[int, list[str]]:
        monkeypatch.setattr("sys.argv", ["check_language.py", "--root", str(tmp_path), *arguments])
        return check_language.main(), capsys.readouterr().out.splitlines()

    line = "docs/{}.md:1: word ('gives': write returns, outputs, provides or registers): It gives `a b`."
    assert run() == (1, [line.format("a"), line.format("b")])
    assert run(str(tmp_path / "docs/b.md")) == (1, [line.format("b")])
    assert run(str(tmp_path / "xai_core")) == (0, [])
    code, table = run("--count")
    assert code == 1
    assert table[1].split() == ["docs", "pages", "2", "2", "0", "0", "0", "2", "0"]
    with pytest.raises(SystemExit, match="2"):
        run(str(tmp_path / "absent"))
