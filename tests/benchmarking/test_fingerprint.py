"""What a run takes for another method, model or data set, where these are objects of one's own."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import xai_core as xai
from support.benchmark_runs import Breaking, Brightness, Counted, Speckles, Tuned, by_key, prepared, run
from xai_core.benchmarking.fingerprint import code_hash
from xai_core.benchmarking.hashes import dataset_hash
from xai_core.errors import FileError


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def instead(*args: Any) -> Any:
        return function(*args)

    return instead


def by_constant(number: int) -> type[Breaking]:
    class Mine(Breaking):
        FACTOR = number

    return Mine


def by_list(number: int) -> type[Breaking]:
    class Mine(Breaking):
        FACTORS: ClassVar[list[float]] = [1, number]

    return Mine


def by_table(number: int) -> type[Breaking]:
    class Mine(Breaking):
        TABLE = torch.arange(2000.0) + torch.arange(2000).eq(700) * number

    return Mine


def by_default(number: int) -> type[Breaking]:
    class Mine(Breaking):
        def scaled(self, maps: Tensor, by: float = number, *, power: int = 1) -> Tensor:
            return maps * by**power

    return Mine


def by_closure(number: int) -> type[Breaking]:
    class Mine(Breaking):
        def scaled(self, maps: Tensor) -> Tensor:
            return maps * number

    return Mine


def by_kind(kind: Callable[[Any], Any]) -> Callable[[int], type[Breaking]]:
    """Classes with one method of a kind, of which two do the same and the third does not."""

    def made(number: int) -> type[Breaking]:
        class Once(Breaking):
            @kind
            def scaled(self) -> int:
                return 1

        class Twice(Breaking):
            """Scales more."""

            @kind
            def scaled(self) -> int:
                """Scale."""
                return 2  # not 1

        return Once if number == 1 else Twice

    return made


WAYS = {
    "constant": by_constant,
    "list": by_list,
    "table": by_table,
    "default": by_default,
    "closure": by_closure,
    "static": by_kind(staticmethod),
    "class": by_kind(classmethod),
    "property": by_kind(property),
    "cached": by_kind(functools.cached_property),
    "no_grad": by_kind(torch.no_grad()),
    "lru_cache": by_kind(functools.cache),
    "decorated": by_kind(decorated),
    "plain": by_kind(lambda function: function),
}


@pytest.mark.parametrize("way", WAYS)
def test_another_class_is_another_wherever_it_differs(way: str) -> None:
    made = WAYS[way]
    assert code_hash(made(1)()) == code_hash(made(1)())
    assert code_hash(made(1)()) != code_hash(made(2)())


def test_how_a_class_is_written_does_not_matter() -> None:
    class One(Breaking):
        """One."""

        LIMIT = 0.5

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            """Say what."""
            return super().needs(adapter)

        @staticmethod
        def inside(maps: Tensor) -> Tensor:
            return (lambda what: what + 1)(maps)

    class Other(Breaking):
        LIMIT = 0.5

        @staticmethod
        def inside(maps: Tensor) -> Tensor:
            """Add one."""
            return (lambda what: what + 1)(maps)  # one

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            return super().needs(adapter)

    assert code_hash(One()) == code_hash(Other())


def test_what_a_class_keeps_as_it_works_is_not_its_code() -> None:
    class Keeping(Breaking):
        kept: ClassVar[list[Tensor]] = []
        of: ClassVar[dict[str, Tensor]] = {}

    before = code_hash(Keeping())
    Keeping.kept.append(torch.zeros(3))
    Keeping.of["a"] = torch.zeros(3)
    assert code_hash(Keeping()) == before


@pytest.mark.parametrize("kind", [torch.tensor, np.array, lambda numbers: [torch.tensor(numbers)]])
def test_options_count_by_their_content(tmp_path: Path, kind: Callable[[list[float]], object]) -> None:
    numbers = [0.0] * 2000
    run(tmp_path / "run", Speckles(2), methods=Tuned(kind(numbers)), metrics=Brightness())
    numbers[700] = 1
    assert len(run(tmp_path / "run", Speckles(2), methods=Tuned(kind([0.0] * 2000)), metrics=Brightness()).rows()) == 2
    with pytest.raises(FileError, match=r"another manifest \(code\.tuned"):
        run(tmp_path / "run", Speckles(2), methods=Tuned(kind(numbers)), metrics=Brightness())


def test_what_an_object_is_made_of_counts() -> None:
    class Around(Breaking):
        def __init__(self, explainer: xai.Explainer) -> None:
            self.explainer = explainer

    assert code_hash(Around(by_constant(1)())) == code_hash(Around(by_constant(1)()))
    assert code_hash(Around(by_constant(1)())) != code_hash(Around(by_constant(2)()))


class Halving(Counted):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


def smooth() -> nn.Module:
    model = Counted()
    for module in [*model.modules()]:
        for name, inner in module.named_children():
            if isinstance(inner, nn.ReLU):
                setattr(module, name, nn.SiLU())
    return model


@pytest.mark.parametrize(
    ("model", "preprocess"),
    [
        (Counted(), lambda image: image * 2),
        (Counted(), functools.partial(torch.add, other=1)),
        (Halving(), lambda image: image),
        (smooth(), lambda image: image),
    ],
    ids=["preprocess", "partial", "forward", "activation"],
)
def test_a_model_that_computes_otherwise_is_another(model: nn.Module, preprocess: Callable[..., Any]) -> None:
    mine = xai.LoadedModel(Counted(), lambda image: image, spec="mine")
    again = xai.LoadedModel(Counted(), lambda image: image, spec="mine")
    other = xai.LoadedModel(model, preprocess, spec="mine")
    [weights] = {one.weights for one in prepared(models=(mine,)).models}
    assert prepared(models=(other,)).models[0].weights == weights
    assert prepared(models=(mine,)).code == prepared(models=(again,)).code != prepared(models=(other,)).code


class Labelled(TensorDataset):
    def __init__(self, targets: list[int]) -> None:
        self.targets, self.images = targets, torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


def test_other_labels_are_other_data_where_they_are_explained() -> None:
    one, other, first = Labelled([0, 1, 2]), Labelled([0, 1, 3]), Labelled([4, 1, 2])
    assert prepared(one).data_content == prepared(other).data_content == prepared(first).data_content
    content = {prepared(data, target="label").data_content for data in (one, other, first)}
    assert len(content) == 3


@pytest.mark.parametrize("kind", [Tensor.bfloat16, Tensor.requires_grad_])
def test_any_tensor_names_the_data(kind: Callable[[Tensor], Tensor]) -> None:
    first, second = (xai.Sample(kind(torch.full((3, 4, 4), value)), "0") for value in (0.5, 0.25))
    data = Speckles(3)
    assert dataset_hash(data, 3, first) == dataset_hash(data, 3, first) != dataset_hash(data, 3, second)


def test_class_folders_that_shift_numbers_are_other_data(tmp_path: Path) -> None:
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")

    def content(labeled: bool) -> str:
        data = xai.load_dataset(f"folder:{tmp_path}")
        return dataset_hash(data, 2, data[0], labeled)

    before = content(True), content(False)
    (tmp_path / "a").mkdir()
    assert content(True) != before[0]
    assert content(False) == before[1]


def test_an_image_that_cannot_be_read_is_called_by_its_id(tmp_path: Path) -> None:
    class Named(Labelled):
        ids = ("first", "second", "third")

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            if index == 1:
                raise OSError("gone: caf\udce9.png")
            return super().__getitem__(index)

    rows = by_key(run(tmp_path / "run", Named([0, 1, 2]), methods="grad-cam", metrics=Brightness()).rows())
    assert [image for image, *_ in rows] == ["first", "second", "third"]
    assert (
        rows["second", "grad-cam", "brightness"]["error"] == r"OSError: gone: caf\udce9.png (raised by dataset 'Named')"
    )
