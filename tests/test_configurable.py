"""The spec of an object names the options that differ from their defaults."""

import pytest

from xai_core.configurable import Configurable


class Counted(Configurable):
    """Has an option of each kind."""

    name = "counted"

    def __init__(self, count: object = 1, scale: object = 0.5, flag: object = False, how: object = "mean") -> None:
        self.count, self.scale, self.flag, self.how = count, scale, flag, how


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({}, "counted"),
        ({"count": 1, "scale": 0.5, "flag": False, "how": "mean"}, "counted"),
        ({"count": 2, "how": "max"}, "counted:count=2,how=max"),
        # equal to the defaults, but of another type, which may be computed with in another way
        ({"count": True}, "counted:count=true"),
        ({"count": 1.0}, "counted:count=1.0"),
        ({"flag": 0}, "counted:flag=0"),
        ({"flag": None}, "counted:flag=none"),
    ],
)
def test_the_spec_has_the_options_that_differ(options: dict[str, object], spec: str) -> None:
    assert Counted(**options).spec == spec
