"""Solids in volumes: equal volumes, exact masks, and a benchmark of a 3-D network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from xai_core.cli.actions.report_page import write_report_page
from xai_zoo import solids

GRID = np.stack(np.meshgrid(*[(np.arange(100) + 0.5) / 40 - 1.25] * 3, indexing="ij"))


def volume(sample: xai.Sample) -> Tensor:
    assert isinstance(sample.image, Tensor)
    return sample.image


@pytest.mark.parametrize("solid", [*solids.CLASSES.values(), solids.torus])
def test_solids_have_a_volume_of_one(solid: solids.Solid) -> None:
    assert solid(GRID).mean() * 2.5**3 == pytest.approx(1, rel=0.02)


def test_rotations_keep_lengths_and_orientation() -> None:
    for seed in range(5):
        matrix = solids.rotation(np.random.default_rng(seed))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)


def test_the_object_and_the_distractor_are_bright() -> None:
    data = xai.load_dataset("shapes3d")
    for sample in (data[i] for i in range(5)):
        assert volume(sample).shape == (1, 24, 48, 48)
        assert sample.mask is not None
        assert sample.distractors is not None
        assert sample.mask.shape == (24, 48, 48)
        assert not (sample.mask & sample.distractors[0]).any()
        rest = ~sample.mask & ~sample.distractors[0]
        for inside in (sample.mask, sample.distractors[0]):
            assert volume(sample)[0, inside].mean() > volume(sample)[0, rest].mean() + 0.15
    assert [data[i].target for i in range(7)] == [0, 1, 2, 3, 4, 0, 1]
    assert not torch.equal(volume(data[0]), volume(xai.load_dataset("shapes3d:split=test")[0]))


def test_a_benchmark_of_volumes_has_a_page(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv3d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5)]
    loaded = xai.LoadedModel(nn.Sequential(*layers).eval(), preprocess=nn.Identity(), restore=nn.Identity())
    run = xai.benchmark(
        loaded,
        "shapes3d:split=test",
        out=tmp_path,
        methods=["grad-cam", "saliency"],
        metrics=["deletion:steps=2", "pointing-game", "iou"],
        limit=4,
        maps=True,
        controls=False,
        in_process=True,
    )
    assert len(run) == 4 * 2 * 3
    assert {row.error for row in run} == {None}
    write_report_page(tmp_path, None, overwrite=False)
    assert "The middle slice of each volume is shown." in (tmp_path / "report" / "index.html").read_text()
