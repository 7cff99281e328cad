"""Which plugins support the installed xai-core, by the requirements of their distributions."""

from importlib.metadata import Distribution, EntryPoint

import pytest

from xai_core.plugins import discovery


class Requiring(Distribution):
    """A distribution with one requirement."""

    def __init__(self, requirement: str) -> None:
        self._requirement = requirement

    def read_text(self, filename: str) -> str | None:
        metadata = f"Metadata-Version: 2.1\nName: their-cam\nVersion: 1.0\nRequires-Dist: {self._requirement}\n"
        return metadata if filename == "METADATA" else None

    def locate_file(self, path: object) -> object:  # type: ignore[override]
        return path


@pytest.mark.parametrize(
    ("requirement", "version", "supported"),
    [
        ("xai-core>=0.1,<0.3", "0.2.0", True),
        ("xai-core>=0.1,<0.3", "0.2.0rc1", True),
        ("xai-core>=0.1,<0.3", "0.2.0.dev3", True),
        ("xai-core>=0.1", "0.2.0.dev3+g1234567", True),
        ("xai-core>=0.1,<0.3", "0.4.0rc1", False),
        ("xai-core>=0.2", "0.2.0rc1", False),
    ],
)
def test_prereleases_are_compared_as_other_versions(
    requirement: str, version: str, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("theirs", "their_cam", discovery.GROUP)._for(Requiring(requirement))  # type: ignore[attr-defined]
    monkeypatch.setattr(discovery, "entry_points", lambda group: [point])
    monkeypatch.setattr(discovery, "version", lambda name: version)
    [found] = discovery.installed()
    assert (found.plugin.broken is None) == supported


def test_packages_without_metadata_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged(Requiring):
        def read_text(self, filename: str) -> str | None:
            return "\n" if filename == "METADATA" else None

    points = [
        EntryPoint(name, name, discovery.GROUP)._for(distribution)  # type: ignore[attr-defined]
        for name, distribution in (("one", Damaged("")), ("two", Requiring("xai-core")))
    ]
    monkeypatch.setattr(discovery, "entry_points", lambda group: points)
    assert [found.plugin.release for found in discovery.installed()] == ["their-cam 1.0", "unknown distribution ?"]
