"""Files of a shard that are missing, cut, changed or of another shard are detected, and their images recomputed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import xai_core as xai
from support.benchmark_runs import Counted, Speckles, run, same
from support.command_line import Did, refused
from support.command_line import Run as Command
from xai_core.benchmarking.checksums import checksum, decode_checksums, encode_checksums
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.summary import summarize
from xai_core.errors import FileError

FIRST, SECOND = "000-000000000", "000-000000002"
FILES = {"rows": ".parquet", "curves": ".parquet", "maps": ".npz", "checksums": ".sha256"}
Damage = Callable[[Path, str], None]


def work(out: Path, model: Counted | None = None) -> xai.Run:
    return run(out, Speckles(4), model, methods="grad-cam", batch=2, shard=2, maps=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> xai.Run:
    return work(tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture
def out(undisturbed: xai.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed.path, tmp_path / "run"))


def path(out: Path, folder: str, shard: str = SECOND) -> Path:
    return out / folder / f"{shard}{FILES[folder]}"


def missing(out: Path, folder: str) -> None:
    path(out, folder).unlink()


def cut(out: Path, folder: str) -> None:
    content = path(out, folder).read_bytes()
    path(out, folder).write_bytes(content[: len(content) // 2])


def flipped(out: Path, folder: str) -> None:
    content = bytearray(path(out, folder).read_bytes())
    content[5 * len(content) // 6] ^= 1
    path(out, folder).write_bytes(content)


def copied(out: Path, folder: str) -> None:
    shutil.copy(path(out, folder, FIRST), path(out, folder))


def equal(one: xai.Run, other: xai.Run) -> bool:
    """Return whether two runs have the same rows, curves and maps."""
    curves, maps = ([path(each.path, folder) for each in (one, other)] for folder in ("curves", "maps"))
    arrays = [np.load(file) for file in maps]
    return (
        same(one, other)
        and pq.read_table(curves[0]).equals(pq.read_table(curves[1]))
        and arrays[0].files == arrays[1].files
        and all((arrays[0][name] == arrays[1][name]).all() for name in arrays[0].files)
    )


@pytest.mark.parametrize("folder", FILES)
@pytest.mark.parametrize("damage", [missing, cut, flipped, copied])
def test_a_damaged_file_is_recomputed_with_its_shard_only(
    out: Path, undisturbed: xai.Run, folder: str, damage: Damage
) -> None:
    damage(out, folder)
    kept, model = path(out, "rows", FIRST).read_bytes(), Counted()
    resumed = work(out, model)
    assert equal(resumed, undisturbed)
    assert not resumed.missing
    assert path(out, "rows", FIRST).read_bytes() == kept
    assert 2 in model.forward_passes
    model.forward_passes.clear()
    work(out, model)
    assert model.forward_passes == []


@pytest.mark.parametrize("folder", ["rows", "checksums"])
@pytest.mark.parametrize("damage", [cut, flipped, copied])
def test_a_report_names_the_damaged_file_in_one_line(out: Path, folder: str, damage: Damage) -> None:
    damage(out, folder)
    refused(Command("report", out), str(path(out, "rows")), "repeat the benchmark command to recompute its images")


@pytest.mark.parametrize("folder", ["rows", "checksums"])
def test_a_shard_without_rows_or_checksums_is_unfinished(out: Path, folder: str) -> None:
    missing(out, folder)
    said = Did("report", out)
    assert said.code == 0
    assert "2 of 4 images" in said.out
    assert xai.Run.read(out).finished == xai.Run.read(out).shards[:1]


def forge(out: Path, folder: str = "rows") -> None:
    """Write the checksum of a changed file."""
    checksums = decode_checksums(path(out, "checksums").read_text())
    name = str(path(Path(), folder))
    path(out, "checksums").write_text(encode_checksums(checksums | {name: checksum((out / name).read_bytes())}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.slice(1), "contains 3 rows; expected 4"),
        (lambda table: table.take([1, 0, 2, 3]), "column 'metric' does not match the manifest"),
        (lambda table: table.take([0, 1, 0, 1]), "column 'index' does not match the manifest"),
        (lambda table: table.replace_schema_metadata(None), "notes"),
        (lambda table: table.drop_columns(["score"]), "score"),
    ],
)
def test_rows_are_those_of_the_manifest(
    out: Path, undisturbed: xai.Run, change: Callable[..., object], message: str
) -> None:
    pq.write_table(change(pq.read_table(path(out, "rows"))), path(out, "rows"))
    forge(out)
    refused(Command("report", out), str(path(out, "rows")), message)
    assert equal(work(out), undisturbed)
    assert Did("report", out).code == 0


def test_a_whole_shard_of_another_place_or_run_is_detected(out: Path, undisturbed: xai.Run, tmp_path: Path) -> None:
    other = run(tmp_path / "other", Speckles(4, seed=1), methods="grad-cam", batch=2, shard=2, maps=True)
    for folder in FILES:
        shutil.copy(path(other.path, folder), path(out, folder))
    with pytest.raises(FileError, match=f"{SECOND}.parquet is damaged.*it belongs to another run"):
        xai.Run.read(out).rows()
    assert equal(work(out), undisturbed)
    for folder in FILES:
        shutil.copy(path(out, folder, FIRST), path(out, folder))
    with pytest.raises(FileError, match=f"{SECOND}.parquet is damaged"):
        xai.Run.read(out).rows()
    assert equal(work(out), undisturbed)


def test_every_flipped_bit_of_rows_is_detected(out: Path) -> None:
    content, found = path(out, "rows").read_bytes(), xai.Run.read(out)
    for place in range(0, len(content), 97):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path(out, "rows").write_bytes(changed)
        with pytest.raises(FileError, match="is damaged"):
            found.rows_of(found.shards[1])


def test_checksums_are_those_of_sha256sum(out: Path) -> None:
    lines = path(out, "checksums").read_text().splitlines()
    paths = [line.partition("  ")[2] for line in lines]
    assert paths == ["manifest.json", *(str(path(Path(), folder)) for folder in ("curves", "maps", "rows"))]
    for line, name in zip(lines, paths, strict=True):
        assert line.partition("  ")[0] == hashlib.sha256((out / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("shard", [2, 10**9])
def test_a_manifest_that_claims_many_images_is_read_at_once(undisturbed: xai.Run, tmp_path: Path, shard: int) -> None:
    claimed = xai.Run(tmp_path, replace(undisturbed.manifest, images=10**9, shard=shard))
    (tmp_path / "manifest.json").write_text(claimed.manifest.json())
    first = undisturbed.shards[0]
    claimed.write(ShardFiles(first, path(undisturbed.path, "rows", FIRST).read_bytes()))
    if shard == 2:
        assert summarize(claimed).finished == 2
        assert len(claimed) == len([*claimed]) == 4
        assert repr(claimed).startswith(f"<Run {tmp_path}: 1 of 500000000 shards finished")
        assert Did("report", tmp_path).code == 0
    else:
        refused(Command("report", tmp_path), "contains 4 rows; expected 2000000000")


@pytest.mark.parametrize(
    "change",
    [
        {"images": -1},
        {"images": "4"},
        {"images": 1e9},
        {"data": 3},
        {"device": None},
        {"skipped": ["rollout"]},
        {"versions": {"torch": 2.9}},
        {"shard": 0},
        {"metrics": [{"metric": "drop", "higher_is_better": "yes"}]},
        {"models": [{"spec": None, "weights": "0", "methods": ["a"], "skipped": {}}]},
        {"models": [{"spec": "m", "weights": "0", "methods": [1], "skipped": {}}]},
    ],
)
def test_a_manifest_with_wrong_values_is_one_line(out: Path, change: dict[str, object]) -> None:
    file = out / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refused(Command("report", out), "is not a manifest of this xai-core version")


def test_a_manifest_that_is_too_deep_or_no_file_is_one_line(out: Path) -> None:
    (out / "manifest.json").write_text("[" * 100_000)
    refused(Command("report", out), "is not a manifest of this xai-core version")
    (out / "manifest.json").unlink()
    os.mkfifo(out / "manifest.json")
    refused(Command("report", out), "contains no run (not a regular file: manifest.json)")


@pytest.mark.parametrize("folder", ["rows", "curves", "maps"])
def test_a_pipe_in_place_of_a_file_is_recomputed(out: Path, undisturbed: xai.Run, folder: str) -> None:
    path(out, folder).unlink()
    os.mkfifo(path(out, folder))
    assert equal(work(out), undisturbed)


def test_other_files_in_the_folders_are_no_shards(out: Path) -> None:
    expected = xai.Run.read(out).finished
    for name in ("000-000000001", "000-000000004", "001-000000000", "000-0000000000", "copy", "000-00000000x"):
        for folder in ("rows", "checksums"):
            shutil.copy(path(out, folder), path(out, folder, name))
    assert xai.Run.read(out).finished == expected
    assert Did("report", out).code == 0
    path(out, "rows").unlink()
    os.mkfifo(path(out, "rows"))
    assert xai.Run.read(out).finished == expected[:1]
    assert not work(out).missing
