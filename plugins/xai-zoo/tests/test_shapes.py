"""Shapes on textures: the masks are the truth, and nothing but the object, or the mark, tells the class."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import xai_core as xai
from support import subprocesses as fresh
from xai_core.errors import OptionError, UnknownDatasetError
from xai_zoo import outlines
from xai_zoo.painting import Figure, paint
from xai_zoo.shapes import SPLITS, Scene, ShapesDataset
from xai_zoo.shapes_shortcut import ShapesShortcutDataset

CLASSES = len(outlines.CLASSES)


def shapes(**options: object) -> ShapesDataset:
    dataset = xai.load_dataset("shapes", **options)
    assert isinstance(dataset, ShapesDataset)
    return dataset


def shortcut(**options: object) -> ShapesShortcutDataset:
    dataset = xai.load_dataset("shapes-shortcut", **options)
    assert isinstance(dataset, ShapesShortcutDataset)
    return dataset


def picture(sample: xai.Sample) -> Tensor:
    assert isinstance(sample.image, Tensor)
    return sample.image


def same(ours: list[Figure], theirs: list[Figure]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(np.array_equal(a.outline, b.outline) and np.array_equal(a.color, b.color) for a, b in pairs)


@pytest.mark.parametrize("spec", ["shapes", "shapes-shortcut", "shapes:size=96", "shapes:size=33"])
def test_a_sample_holds_the_picture_and_its_truth(spec: str) -> None:
    sample = xai.load_dataset(f"{spec}")[7]
    size = {"shapes:size=96": 96, "shapes:size=33": 33}.get(spec, 64)
    assert picture(sample).shape == (3, size, size)
    assert picture(sample).dtype == torch.float32
    assert 0 <= picture(sample).min() < picture(sample).max() <= 1
    assert (sample.id, sample.target) == ("train-7", 7)
    assert sample.mask is not None
    assert sample.boxes is not None
    assert sample.distractors is not None
    assert (sample.mask.shape, sample.mask.dtype) == ((size, size), torch.bool)
    assert sample.distractors.shape[1:] == (size, size)
    assert not (sample.distractors & sample.mask).any()
    assert (sample.distractors.sum(0) <= 1).all()
    [(left, top, right, bottom)] = sample.boxes.int().tolist()
    inside = torch.zeros_like(sample.mask)
    inside[top:bottom, left:right] = True
    assert not (sample.mask & ~inside).any()
    assert sample.mask[top].any()
    assert sample.mask[bottom - 1].any()
    assert sample.mask[:, left].any()
    assert sample.mask[:, right - 1].any()


def seen_at(scene: Scene, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks [H,W]: pixels that the figure's color influences, and pixels that it dominates."""

    def painted(color: int) -> np.ndarray:
        figures = list(scene.figures)
        figures[place] = figures[place]._replace(color=np.full(3, color, np.uint8))
        return paint(scene.background, figures).image

    change = (painted(255) - painted(0))[0]
    return change > 0, change > 0.5


@pytest.mark.parametrize("index", range(20))
def test_masks_are_where_the_figures_are_painted(index: int) -> None:
    for dataset in (shapes(), shortcut(), shortcut(mark="moved")):
        sample, scene = dataset[index], dataset.scene(index, index % CLASSES)
        assert sample.mask is not None
        assert sample.distractors is not None
        assert scene.truth is not None
        touched, mostly = seen_at(scene, scene.truth)
        assert np.array_equal(sample.mask.numpy(), mostly)
        without = [figure for place, figure in enumerate(scene.figures) if place != scene.truth]
        changed = picture(sample).numpy() != paint(scene.background, without).image
        assert not changed[:, ~touched].any(), "the picture differs where the object is not"
        assert changed.any(0)[mostly].mean() > 0.95
        for mask, place in zip(sample.distractors, scene.distractors, strict=True):
            assert np.array_equal(mask.numpy(), seen_at(scene, place)[1])


def test_edges_mix_colors_by_the_part_that_is_covered() -> None:
    square = Figure(np.array([[0.125, 0.25], [0.625, 0.25], [0.625, 0.75], [0.125, 0.75]]), np.full(3, 255, np.uint8))
    painted = paint(np.zeros((3, 32, 32), np.uint8), [square])
    assert np.array_equal(painted.visible[0], painted.image[1])
    assert painted.visible.sum() == pytest.approx(16 * 16, rel=0.05)
    triangle = paint(np.zeros((3, 32, 32), np.uint8), [square._replace(outline=square.outline[:3])])
    assert 0 < np.mean((triangle.visible > 0) & (triangle.visible < 1)) < 0.1
    nothing = paint(np.full((3, 32, 32), 51, np.uint8), [])
    np.testing.assert_allclose(nothing.image, 0.2, rtol=1e-6)


def test_no_object_is_hidden_by_more_than_a_quarter_or_leaves_the_picture() -> None:
    dataset = shapes(seed=1)
    for index in range(400):
        scene = dataset.scene(index, index % CLASSES)
        assert scene.truth is not None
        thing = scene.figures[scene.truth]
        assert thing.outline.min() >= 0
        assert thing.outline.max() <= 1
        whole = paint(scene.background, [thing]).visible[0].sum()
        assert paint(scene.background, scene.figures).visible[scene.truth].sum() >= 0.75 * whole


def test_classes_are_balanced_and_named() -> None:
    dataset = shapes(count=40)
    assert len(dataset) == 40
    assert len(set(dataset.class_names)) == CLASSES >= 8
    assert [sample.target for sample in dataset] == list(range(CLASSES)) * 4
    assert dataset[-1].id == "train-39"
    with pytest.raises(IndexError):
        dataset[40]


def test_classes_have_one_area_and_differ() -> None:
    drawn = {}
    for name, outline in outlines.CLASSES.items():
        figure = Figure(0.5 + 0.3 * outline, np.full(3, 255, np.uint8))
        drawn[name] = paint(np.zeros((3, 64, 64), np.uint8), [figure]).visible[0]
        assert drawn[name].sum() == pytest.approx((0.3 * 64) ** 2, rel=0.06), name
    for one in drawn:
        for other in drawn:
            overlap = np.minimum(drawn[one], drawn[other]).sum() / np.maximum(drawn[one], drawn[other]).sum()
            assert one == other or overlap < 0.85, (one, other)


@pytest.mark.parametrize("index", range(0, 50, 7))
def test_only_the_outline_of_the_object_depends_on_the_class(index: int) -> None:
    dataset = shapes()
    scenes = [dataset.scene(index, target) for target in range(CLASSES)]
    for scene in scenes[1:]:
        assert scene.truth == scenes[0].truth
        assert np.array_equal(scene.background, scenes[0].background)
        others = [[s.figures[place] for place in s.distractors] for s in (scene, scenes[0])]
        assert same(*others)
        assert np.array_equal(paint(scene.background, others[0]).image, paint(scene.background, others[1]).image)
        ours, theirs = (s.figures[s.truth] for s in (scene, scenes[0]) if s.truth is not None)
        assert np.array_equal(ours.color, theirs.color)
        assert not np.array_equal(ours.outline, theirs.outline)


def test_color_says_nothing_of_what_is_the_object() -> None:
    dataset = shapes()
    scenes = [dataset.scene(index, 0) for index in range(500)]
    objects = np.array([scene.figures[scene.truth or 0].color for scene in scenes], float)
    distractors = np.array([scene.figures[place].color for scene in scenes for place in scene.distractors], float)
    assert abs(objects.mean(0) - distractors.mean(0)).max() < 15
    assert abs(objects.std(0) - distractors.std(0)).max() < 10


def test_the_mark_is_all_that_the_shortcut_adds() -> None:
    plain, shown, moved, removed = (
        shapes(),
        *(shortcut(**({} if mark == "shown" else {"mark": mark})) for mark in ("shown", "moved", "removed")),
    )
    marks = [shown.scene(target, target).figures[-1] for target in range(CLASSES)]
    for index in range(3 * CLASSES):
        target = index % CLASSES
        base, with_mark, elsewhere = (dataset.scene(index, target) for dataset in (plain, shown, moved))
        assert same(list(with_mark.figures), [*base.figures, marks[target]])
        assert same(list(elsewhere.figures[:-1]), list(base.figures))
        [other] = [i for i, mark in enumerate(marks) if same([mark], [elsewhere.figures[-1]])]
        assert other != target
        assert torch.equal(picture(removed[index]), picture(plain[index]))
        assert (removed[index].mask, removed[index].boxes) == (None, None)
    where = torch.stack([mask for target in range(CLASSES) if (mask := shown[target].mask) is not None])
    assert where.any((1, 2)).all()
    assert (where.sum(0) <= 1).all(), "two marks share a place"
    assert len({tuple(mark.color) for mark in marks}) == CLASSES


def test_splits_and_seeds_share_no_picture() -> None:
    datasets = [shapes(count=30, split=split, seed=seed) for split in SPLITS for seed in (0, 1)]
    pictures = {picture(sample).numpy().tobytes() for dataset in datasets for sample in dataset}
    assert len(pictures) == 30 * len(datasets)


def digest(spec: str) -> str:
    dataset = xai.load_dataset(spec)
    held = hashlib.sha256()
    for index in (3, 11, 28):
        sample = dataset[index]
        assert sample.mask is not None
        held.update(picture(sample).numpy().tobytes() + sample.mask.numpy().tobytes())
    return held.hexdigest()


def test_an_item_is_the_same_in_every_process_and_order() -> None:
    spec = "shapes-shortcut:seed=5,split=test,mark=moved"
    code = f"from test_shapes import digest; print(digest({spec!r}))"
    path = (str(Path(__file__).parent), *sys.path)
    assert fresh.printed(code, *path).strip() == digest(spec)
    shorter = replace(shortcut(seed=5), count=12)
    assert torch.equal(picture(shorter[11]), picture(shortcut(seed=5)[11]))


@pytest.mark.parametrize("source", ["shapes", "shapes-shortcut"])
@pytest.mark.parametrize(
    "options", ["size=16", "size=large", "size=64.5", "count=0", "count=true", "seed=-1", "split=dev", "color=red"]
)
def test_options_that_make_no_data_set_are_refused(source: str, options: str) -> None:
    with pytest.raises(OptionError, match=options.partition("=")[0]):
        xai.load_dataset(f"{source}:{options}")


def test_other_names_are_refused() -> None:
    with pytest.raises(OptionError, match="shown, moved, removed"):
        xai.load_dataset("shapes-shortcut:mark=hidden")
    for source in ("shapes", "shapes-shortcut"):
        with pytest.raises(UnknownDatasetError, match="one dataset"):
            xai.load_dataset(f"{source}:circles")
