"""A benchmark of a folder as folders are: what can be shown is scored, what cannot is a row with the reason."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import subprocesses as fresh

RUN = """
    import json, resource, sys
    from pathlib import Path
    import numpy as np, torch
    from PIL import Image
    import xai_core as xai
    from support.benchmark_runs import Counted
    from xai_core.benchmarking.summary import summarize

    torch.set_num_threads(1)
    small = lambda picture: torch.from_numpy(np.array(picture.resize((32, 32)))).permute(2, 0, 1) / 255
    used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    loaded = xai.LoadedModel(Counted(), small, restore=lambda image: image, spec="counted")
    settings = dict(methods="grad-cam", metrics="deletion:steps=4", device="cpu", controls=False, batch=4, shard=4)
    settings["in_process"] = True
    rows, errors, most = {}, 0, [used()]
    for kind in ("pictures", "huge"):
        run = xai.benchmark(loaded, f"folder:FOLDER/{kind}", out=f"FOLDER/{kind}-run", **settings)
        rows |= {row["image"]: [row["score"], row["error"]] for row in run.rows().to_pylist()}
        errors += sum(summarize(run).errors.values())
        most.append(used())
    print(json.dumps([rows, errors, most]))
"""


@pytest.mark.slow
def test_every_kind_of_file_is_a_counted_row_within_bounded_memory(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    for name, mode in (("cmyk.jpg", "CMYK"), ("palette.gif", "P"), ("gray.png", "L"), ("alpha.png", "RGBA")):
        picture.convert(mode).save(folder / name)
    Image.fromarray(random.integers(0, 2**16, (60, 80)).astype(np.uint16)).save(folder / "sixteen-bits.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    Image.new("RGB", (1, 1), (200, 10, 10)).save(folder / "one.png")
    good = {path.name for path in folder.iterdir()}
    (folder / "empty.jpg").touch()
    (folder / "cut.jpg").write_bytes((folder / "cmyk.jpg").read_bytes()[:500])
    (folder / "text.png").write_text("no picture\n" * 20)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    bad = {path.name for path in folder.iterdir()} - good
    (tmp_path / "huge").mkdir()
    Image.new("L", (12_000, 12_000), 100).save(tmp_path / "huge" / "huge.png", compress_level=1)
    good.add("huge.png")
    code = RUN.replace("\n    ", "\n").replace("FOLDER", str(tmp_path))
    rows, errors, most = json.loads(fresh.printed(code, *sys.path).splitlines()[-1])
    assert {*rows} == good | bad
    assert all(0 <= score <= 1 and error is None for score, error in (rows[name] for name in good))
    failed = {name: error for name, (score, error) in rows.items() if score is None}
    assert {*failed} == bad
    assert all(name in error for name, error in failed.items())
    assert errors == len(bad)
    assert most[2] - most[1] < 500  # MiB; it is 137 in its own mode, and 549 in the four bytes a pixel of a color file
