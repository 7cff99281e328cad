"""Packages whose plugins cannot be loaded."""

from support.misbehavior.case import Kind, Misbehavior
from xai_core.errors import PluginError

EXPLAINER = """
    import xai_core as xai

    class Mine(xai.Explainer):
        name = {name}

        def needs(self, adapter):
            return xai.Needs()

        def explain(self, captured):
            return captured.images.mean(1)

    @xai.hookimpl
    def xai_explainers():
        return {classes}
"""
HOOK = """
    import sys
    import xai_core as xai

    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    @xai.hookimpl
    def xai_metrics():
        {body}
"""
ODD_IMPORT = """
    class Odd(ImportError):
        def __str__(self):
            raise SystemExit

    raise Odd
"""


def _case(name: str, description: str, code: str, reason: str) -> Misbehavior:
    return Misbehavior(code, description, PluginError, reason, key=f"package-{name}")


def _named(name: str, classes: str = "[Mine]") -> str:
    return EXPLAINER.format(name=name, classes=classes)


DISCOVERY = Kind(
    "discovery",
    "Packages that cannot be loaded",
    "All plugins of the package. `xai list plugins` lists it with the reason.",
    (
        _case("missing", "It imports a missing module.", "import no_such_module", "No module named 'no_such_module'"),
        _case("fails", "Its import raises an exception.", "1 / 0", "ZeroDivisionError: division by zero"),
        _case("exits", "Its import exits.", "raise SystemExit(3)", "SystemExit: 3"),
        _case("syntax", "It contains a syntax error.", "def (", "SyntaxError: "),
        _case("odd", "Its import raises an exception that exits when it is printed.", ODD_IMPORT, "Odd: its message"),
        _case(
            "hook-fails", "Its hook raises an exception.", HOOK.format(body="raise RuntimeError('no')"), "RuntimeError"
        ),
        _case("hook-exits", "Its hook exits.", HOOK.format(body="sys.exit('bye')"), "SystemExit: bye"),
        _case(
            "hook-closes", "Its hook raises `GeneratorExit`.", HOOK.format(body="raise GeneratorExit"), "GeneratorExit"
        ),
        _case(
            "hook-odd", "Its hook raises an unprintable exception.", HOOK.format(body="raise Odd"), "Odd: its message"
        ),
        _case("number", "Its hook returns a number.", HOOK.format(body="return 5"), "'int' object is not iterable"),
        _case(
            "class",
            "Its hook returns another class.",
            HOOK.format(body="return [int]"),
            "must return subclasses of Metric",
        ),
        _case("twice", "Its hook returns a class twice.", _named("'mine'", "[Mine, Mine]"), "returned 'mine' twice"),
        _case("name", "The name of its class has spaces.", _named("'Their CAM'"), "must be lower case with hyphens"),
        _case("long-name", "The name of its class is too long.", _named("'a' * 5000"), "at most 100 characters"),
        _case("number-name", "The name of its class is a number.", _named("3"), "characters; got 3"),
    ),
    tests=("tests/plugins/test_misbehavior.py::test_packages",),
)
