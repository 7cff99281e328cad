"""Occlusion and RISE on volumes equal loops over patches and masks."""

import itertools

import torch
import torch.nn.functional as F

import xai_core as xai
from support.volume_models import SIZE, SmallCNN3d, built, two_clips

CLASS = 2


def test_occlusion_equals_a_loop_over_patches() -> None:
    model, clips = built(SmallCNN3d), two_clips()
    [maps] = xai.Engine(model).explain(clips, "occlusion:size=12,stride=6,score=logit", CLASS).values()
    total, count = torch.zeros(2, *SIZE), torch.zeros(SIZE)
    for y, x in itertools.product(range(0, 26, 6), repeat=2):
        hidden = clips.clone()
        hidden[..., y : y + 12, x : x + 12] = 0  # the patch is as deep as the clip
        total[..., y : y + 12, x : x + 12] += (model(clips) - model(hidden))[:, CLASS].detach().view(-1, 1, 1, 1)
        count[..., y : y + 12, x : x + 12] += 1
    torch.testing.assert_close(maps.raw, total / count, rtol=1e-3, atol=1e-6)


def test_the_default_patch_covers_a_fifth_of_each_side() -> None:
    explainer = xai.create_explainer("occlusion")
    assert explainer.patch(SIZE) == (2, 7, 7)
    assert [*map(len, explainer.starts(SIZE))] == [7, 8, 8]


def test_rise_equals_a_loop_over_masks() -> None:
    model, clips = built(SmallCNN3d), two_clips()
    [maps] = xai.Engine(model).explain(clips, "rise:masks=6,cells=3", CLASS).values()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(6, 3 + 27, generator=generator, dtype=torch.float64)
    sides = [3, 11, 11]  # of a cell: 8 and 32 divided by 3, rounded up
    expected = torch.zeros(2, *SIZE)
    for numbers in drawn:
        offset = (numbers[:3] * torch.tensor(sides)).floor().long().tolist()
        grid = F.pad((numbers[3:] < 0.5).float().view(1, 1, 3, 3, 3), [1] * 6, "reflect")
        # each cell of the grid has (s + 1) C / s pixels, as in the authors' code
        lines = [
            (torch.arange(side) + start + 0.5) * (3 / (4 * cell)) + 0.5
            for side, start, cell in zip(SIZE, offset, sides, strict=True)
        ]
        points = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1).flip(-1) / 2 - 1  # 0 to 4 becomes -1 to 1
        mask = F.grid_sample(grid, points[None], align_corners=True)[0, 0]
        score = model(clips * mask).softmax(1)[:, CLASS].detach()
        expected += score.view(-1, 1, 1, 1) * mask
    torch.testing.assert_close(maps.raw, expected / (6 * 0.5), rtol=1e-3, atol=1e-5)
