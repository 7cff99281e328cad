"""Runs whose folder is damaged, closed or moved away from, and parts that are done again."""

import os
from pathlib import Path

import pytest

import xai_core as xai
from support.benchmark_runs import Breaking, Brightness, Counted, Speckles, StopError, run, same
from support.command_line import Did
from xai_core import files
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.summary import summarize
from xai_core.errors import FileError


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_part_is_named_and_done_again(tmp_path: Path, damage: str) -> None:
    undisturbed = run(tmp_path / "run")
    first, second = sorted((tmp_path / "run" / "rows").iterdir())
    whole = second.read_bytes()
    second.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "other": b"x" * 99}[damage])
    for read in (lambda found: found.rows(), lambda found: found.notes(), summarize):
        with pytest.raises(FileError, match=rf"{second} is damaged.*repeat the benchmark command to recompute"):
            read(xai.Run.read(tmp_path / "run"))
    said = Did("report", tmp_path / "run")
    assert said.code == 2
    assert said.err.count(str(second)) == 1
    kept, model = first.read_bytes(), Counted()
    assert same(run(tmp_path / "run", model=model), undisturbed)
    assert first.read_bytes() == kept
    assert sum(model.forward_passes) > 1


@pytest.mark.parametrize("said", ["null", "3", "[]", '{"subjects": [null], "metrics": []}', "\udce9"])
def test_what_is_no_manifest_is_one_error(tmp_path: Path, said: str) -> None:
    (tmp_path / "manifest.json").write_bytes(said.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileError, match="is not a manifest of this xai-core version"):
        xai.Run.read(tmp_path)


def test_what_is_retried_is_there_until_it_is_done_again(tmp_path: Path) -> None:
    failed = run(tmp_path / "run", methods=["grad-cam", Breaking()])
    assert summarize(failed).errors
    missing: list[int] = []

    def stop(going: xai.Run, part: ShardFiles | None) -> None:
        missing.append(len(going.missing))
        raise StopError

    with pytest.raises(StopError):
        run(tmp_path / "run", methods=["grad-cam", Breaking()], retry_errors=True, progress=stop)
    assert missing == [1]
    assert same(xai.Run.read(tmp_path / "run"), failed)


def test_a_run_is_where_it_was_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def away(going: xai.Run, part: ShardFiles | None) -> None:
        os.chdir(tmp_path / "elsewhere")

    found = run(Path("run"), Speckles(4), metrics=Brightness(), shard=2, progress=away)
    assert len(found.rows()) == len(xai.Run.read(str(tmp_path / "run")).rows()) == 4 * 2
    assert not [*(tmp_path / "elsewhere").iterdir()]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("mode", [0o500, 0o300])
def test_a_folder_that_may_not_be_used_is_one_error(tmp_path: Path, mode: int) -> None:
    (tmp_path / "run").mkdir(mode=mode)
    with pytest.raises(FileError, match=r"cannot (read|write to) .*run: .*pass another --out"):
        run(tmp_path / "run", Speckles(2), metrics=Brightness())
    (tmp_path / "run").chmod(0o700)


def test_a_folder_that_the_system_refuses_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "run").mkdir()
    for name in ("iterdir", "open"):
        with monkeypatch.context() as patched:
            if name == "open":
                patched.setattr("filelock.FileLock._acquire", refused)
            else:
                patched.setattr(Path, name, refused)
            with pytest.raises(FileError, match=r"cannot (read|write to) .*run: Permission denied; pass another --out"):
                run(tmp_path / "run", Speckles(2), metrics=Brightness())


def test_file_and_folder_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []

    def told(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    if not Path("/proc/self/fd").exists():
        pytest.skip("nothing here says which file a descriptor is of")
    monkeypatch.setattr(os, "fsync", told)
    files.write_file(tmp_path / "a.txt", "a")
    assert [path.parent for path in flushed] == [tmp_path, tmp_path.parent]
    assert flushed[0].name.startswith(".a.txt")
