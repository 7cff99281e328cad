"""The list of faults fits the present code, so that the faults can be planted at any time."""

import ast
import re

import pytest
from faults.run import ROOT, Fault, read_faults

FAULTS = read_faults()


def test_names_are_unique() -> None:
    names = [fault.name for fault in FAULTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_can_be_planted_in_one_line(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text("utf-8")
    planted = fault.planted(source)
    assert planted != source
    assert planted.count("\n") == source.count("\n")
    assert "\n" not in fault.original
    ast.parse(planted)


@pytest.mark.parametrize("test", sorted({test for fault in FAULTS for test in fault.tests}))
def test_the_expected_tests_exist(test: str) -> None:
    file, _, function = test.partition("::")
    source = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^def {function or 'test_'}", source, re.MULTILINE)
