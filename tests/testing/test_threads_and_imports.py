"""Conformance checks of explainers and metrics run in one thread and import no compiler, so they take seconds."""

import json

import pytest

from support import subprocesses

RUN = """
import json, sys, torch
from xai_core.testing import {check}, run_checks

torch.set_num_threads(2)
threads = []

def record(function):
    def method(self, *args):
        threads.append(torch.get_num_threads())
        return function(self, *args)
    return method

from {module} import {base} as Base
Base.{method} = record(Base.{method})
results = [*run_checks({check}(Base))]
failed = [result.check.name for result in results if not result.ok]
print(json.dumps([sorted(set(threads)), torch.get_num_threads(), "torch._dynamo" in sys.modules, failed]))
"""


@pytest.mark.parametrize(
    ("check", "module", "base", "method"),
    [
        ("check_explainer", "xai_cam", "GradCAM", "explain"),
        ("check_metric", "xai_faithfulness", "Complexity", "evaluate"),
    ],
)
def test_checks_run_in_one_thread_and_import_no_compiler(check: str, module: str, base: str, method: str) -> None:
    code = RUN.format(check=check, module=module, base=base, method=method)
    threads, threads_afterwards, compiler_imported, failed = json.loads(subprocesses.printed(code))
    assert threads == [1]
    assert threads_afterwards == 2
    assert not compiler_imported
    assert failed == []
