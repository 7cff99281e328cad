"""BibTeX entries of the installed methods and metrics."""

import re

import pytest

import xai_core as xai
from support.paths import ROOT
from xai_core.report.references import Reference, bibtex, find_references, names_in

NAMES = [*xai.list_explainers(), *xai.list_metrics()]
FOUND = find_references([*NAMES, "unknown"])


def field(reference: Reference, name: str) -> str | None:
    match = re.search(rf"^  {name} = \{{+(.*?)\}}+,$", reference.text, re.MULTILINE)
    return match and match[1]


def letters(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


@pytest.mark.parametrize("name", NAMES)
def test_every_method_and_metric_has_the_entry_of_its_source(name: str) -> None:
    references = FOUND[name]
    assert references, f"add {name} to references.bib of its plugin"
    folder = "methods" if name in xai.list_explainers() else "metrics"
    source = (ROOT / "docs" / folder / f"{name}.md").read_text().partition("\n## Source\n")[2].partition("\n## ")[0]
    for reference in references:
        title, url = field(reference, "title"), field(reference, "url")
        assert title
        assert (
            letters(title) in letters(source)
            or (url and url in source)
            or (letters(title.partition(":")[0]) in letters(source))
        )
        assert field(reference, "author")
        year = field(reference, "year")
        assert year
        assert re.fullmatch(r"(19|20)\d\d", year)


def test_entries_name_what_is_installed() -> None:
    assert {name for of_name in FOUND.values() for each in of_name for name in each.names} == {*NAMES}
    assert FOUND["unknown"] == []


def test_a_publication_has_one_entry() -> None:
    references = {each for of_name in FOUND.values() for each in of_name}
    without_names = {(each.key, re.sub(r"  keywords = .*\n", "", each.text)) for each in references}
    assert len({key for key, _ in without_names}) == len(without_names)
    text = bibtex(FOUND)
    assert text.count("\n@") + 1 == len(without_names)


def test_names_of_composite_methods_include_their_parts() -> None:
    specs = ["smoothed(grad-cam:layer=layer3):flip=false", "grad-cam", "deletion:steps=4"]
    assert names_in(specs) == ["smoothed", "grad-cam", "deletion"]
