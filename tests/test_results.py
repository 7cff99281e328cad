"""Results can be saved and loaded, moved, indexed, and printed in one line."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.subprocesses import printed
from xai_core.batched import Batched
from xai_core.errors import InputTypeError, TargetError, UnsuitableError
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget, Target

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
METHOD = "saliency"


def margin(output: Tensor) -> Tensor:
    return output[:, 0] - output[:, 1]


TARGETS: dict[str, Any] = {
    "predicted": None,
    "classes": [1, 2, 1],
    "several": [[0, 1], [2, 1], [1, 3]],
    "contrast": xai.Contrast(torch.tensor([0, 1, 2]), 3),
    "similarity": xai.Similarity(torch.randn(3, 5, generator=torch.Generator().manual_seed(1))),
}


@pytest.fixture(scope="module")
def engine() -> xai.Engine:
    torch.manual_seed(0)
    return xai.Engine(settled(SmallCNN()))


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def tensors(result: Any) -> dict[str, Tensor]:
    return {name: value for name, value in vars(result).items() if isinstance(value, Tensor)}


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    assert tensors(one).keys() == tensors(other).keys()
    for name, value in tensors(one).items():
        assert torch.equal(value, tensors(other)[name]), name


@pytest.fixture(scope="module", params=TARGETS)
def saliency(request: pytest.FixtureRequest, engine: xai.Engine) -> xai.Saliency:
    return engine.explain(IMAGES, METHOD, TARGETS[request.param])[METHOD]


def test_saved_maps_are_scored_and_indexed_as_before(
    engine: xai.Engine, saliency: xai.Saliency, tmp_path: Path
) -> None:
    torch.save(saliency, tmp_path / "maps.pt")
    expected = engine.evaluate(IMAGES, saliency, "deletion:steps=3")["deletion:steps=3"]
    for loaded in (torch.load(tmp_path / "maps.pt"), pickle.loads(pickle.dumps(saliency)), copy.deepcopy(saliency)):
        assert_same(loaded, saliency)
        result = engine.evaluate(IMAGES, loaded, "deletion:steps=3")["deletion:steps=3"]
        assert_same(result, expected)
        assert_same(loaded[1:], saliency[1:])


def test_saved_maps_of_several_methods_still_share_their_target(engine: xai.Engine, tmp_path: Path) -> None:
    torch.save(engine.explain(IMAGES, [METHOD, "center"]), tmp_path / "maps.pt")
    loaded = torch.load(tmp_path / "maps.pt")
    assert loaded[METHOD].target is loaded["center"].target
    assert loaded[METHOD].target.ids.tolist() == engine.explain(IMAGES, "center")["center"].target.ids.tolist()


def test_a_new_process_loads_saved_maps_after_importing_their_class(engine: xai.Engine, tmp_path: Path) -> None:
    path = tmp_path / "maps.pt"
    maps = engine.explain(IMAGES, METHOD, TARGETS["contrast"], costs=True)
    torch.save([maps, engine.evaluate(IMAGES, maps, "deletion:steps=3")], path)
    code = (
        "import torch; from xai_core import MetricResult, Saliency;"
        f"maps, results = torch.load({str(path)!r}); saliency, result = maps[{METHOD!r}], results[{METHOD!r}];"
        "print(len(saliency), saliency.cost.forward_passes, result['deletion:steps=3'].curve.shape)"
    )
    assert printed(code) == "3 1 torch.Size([3, 4])\n"


def test_a_saved_image_of_a_batch_does_not_take_the_others_with_it(engine: xai.Engine) -> None:
    saliency = engine.explain(IMAGES.repeat(20, 1, 1, 1), METHOD)[METHOD]
    assert len(pickle.dumps(saliency[0])) < len(pickle.dumps(saliency)) / 10


def test_saved_maps_cannot_be_recomputed(engine: xai.Engine) -> None:
    saliency = pickle.loads(pickle.dumps(engine.explain(IMAGES, METHOD)[METHOD]))
    with pytest.raises(UnsuitableError, match="not maps that were saved or copied"):
        saliency.explain(IMAGES)
    with pytest.raises(UnsuitableError, match="not maps that were saved or copied"):
        engine.evaluate(IMAGES, saliency, "max-sensitivity:samples=1")


def test_saved_maps_of_a_function_cannot_be_scored(engine: xai.Engine) -> None:
    saliency = engine.explain(IMAGES, METHOD, lambda output: output[:, 0])[METHOD]
    result = engine.evaluate(IMAGES[1:], saliency[1:], "deletion:steps=3")["deletion:steps=3"]
    assert_same(result, engine.evaluate(IMAGES, saliency, "deletion:steps=3")["deletion:steps=3"][1:])
    with pytest.raises(TargetError, match="a function, which is lost when maps are saved"):
        engine.evaluate(IMAGES, pickle.loads(pickle.dumps(saliency)), "deletion:steps=3")


class FirstRow(Target):
    """A target of a plugin whose measure is a plain function that depends on the batch."""

    def bind(self, output: Any, logits: Any, batch: int) -> BoundTarget:
        ids = torch.arange(batch)
        return BoundTarget(
            lambda output, of, kind: output.gather(1, (ids if of is None else ids[of])[:, None])[:, 0], batch
        )


@pytest.mark.parametrize("device", [torch.float16, "gpu", 5, None], ids=str)
def test_results_are_moved_to_devices_only(engine: xai.Engine, device: Any) -> None:
    saliency = engine.explain(IMAGES, METHOD)[METHOD]
    with pytest.raises(InputTypeError, match="expected a device, such as 'cpu'"):
        saliency.to(device)


def test_a_plain_measure_is_lost_when_images_are_selected(engine: xai.Engine) -> None:
    saliency = engine.explain(IMAGES, METHOD, FirstRow())[METHOD]
    engine.evaluate(IMAGES, saliency, "deletion:steps=3")
    assert saliency.to("cpu").target is saliency.target
    with pytest.raises(TargetError, match="a function, which is lost"):
        engine.evaluate(IMAGES[1:], saliency[1:], "deletion:steps=3")


def test_a_saved_target_needs_its_model_to_score(engine: xai.Engine) -> None:
    target = pickle.loads(pickle.dumps(engine.explain(IMAGES, "center", [0, 1, 2])["center"].target))
    output = torch.randn(3, 5)
    with pytest.raises(TargetError, match="saved or copied without its model"):
        target.model_score(output)
    assert torch.equal(target.with_logits(ScoreReader(lambda output: output)).model_score(output), output.diagonal())


def test_selected_images_are_explained_and_scored_as_alone(engine: xai.Engine, saliency: xai.Saliency) -> None:
    assert len(saliency) == 3
    last = saliency[-1]
    assert len(last) == len(last.target if isinstance(last.target, BoundTarget) else last.target[0]) == 1
    assert torch.equal(last.values, saliency.values[2:])
    alone = engine.evaluate(IMAGES[2:], last, "deletion:steps=3")["deletion:steps=3"]
    expected = engine.evaluate(IMAGES, saliency, "deletion:steps=3")["deletion:steps=3"]
    torch.testing.assert_close(alone.values, expected[-1].values)
    torch.testing.assert_close(alone.curve, expected[-1].curve)
    assert alone.fractions is not None
    assert len(expected[:2]) == 2
    assert torch.equal(expected[:2].fractions, alone.fractions)
    for single in last.each:
        torch.testing.assert_close(single.explain(IMAGES[2:]).values, single.values)


@pytest.mark.parametrize("index", [3, -4])
def test_an_image_that_is_not_in_the_batch(saliency: xai.Saliency, index: int) -> None:
    with pytest.raises(IndexError):
        saliency[index]


def test_moved_results_have_all_tensors_on_the_device(saliency: xai.Saliency, engine: xai.Engine) -> None:
    def devices(value: Any) -> set[str]:
        if isinstance(value, Tensor):
            return {value.device.type}
        values = vars(value).values() if isinstance(value, Batched) else value if isinstance(value, tuple) else ()
        return set().union(*map(devices, values))

    result = engine.evaluate(IMAGES, saliency, "deletion:steps=3")["deletion:steps=3"]
    record = xai.Engine(settled(fused_vit())).attention(IMAGES, rows=0)
    for one in (saliency, result, record):
        assert devices(one) == {"cpu"}
        assert devices(one.to("meta")) == {"meta"}
        assert one.to("cpu") is one


def test_moved_maps_are_scored_on_the_device_of_the_model(engine: xai.Engine) -> None:
    maps = engine.explain(IMAGES, METHOD)
    moved = {name: one.to(torch.device("cpu", 0)) for name, one in maps.items()}
    assert_same(engine.evaluate(IMAGES, moved, "complexity")[METHOD]["complexity"],
                engine.evaluate(IMAGES, maps, "complexity")[METHOD]["complexity"])  # fmt: skip


def test_an_attention_record_is_saved_and_indexed(tmp_path: Path) -> None:
    engine = xai.Engine(settled(fused_vit()))
    record = engine.attention(IMAGES, rows=[0, -1])
    assert len(record) == 3
    for layer, alone in zip(record[1].layers, engine.attention(IMAGES[1:2], rows=[0, -1]).layers, strict=True):
        torch.testing.assert_close(layer.weights, alone.weights)
        assert (layer.name, layer.rows, len(layer)) == (alone.name, alone.rows, 1)
    torch.save(record, tmp_path / "attention.pt")
    loaded = torch.load(tmp_path / "attention.pt")
    assert loaded.names == record.names
    assert all(map(torch.equal, loaded.weights, record.weights))
    assert [layer.grid for layer in loaded.layers] == [layer.grid for layer in record.layers]


def test_the_windows_of_an_image_are_selected_together() -> None:
    weights = torch.rand(6, 2, 4, 4)
    layer = xai.AttentionRecord((layer_record(weights, windows=2),))[1:].layers[0]
    assert torch.equal(layer.weights, weights[2:])
    assert len(layer) == 2


def layer_record(weights: Tensor, windows: int) -> Any:
    from xai_core.capture.attention_record import LayerRecord

    return LayerRecord("blocks.0.attn", weights, (0, 1, 2, 3), windows, None, 0)


LONG = "folder/" * 50


def printable() -> dict[str, Any]:
    model, vit = settled(SmallCNN()), settled(fused_vit())
    maps = xai.Engine(model).explain(IMAGES, METHOD, [[0, 1]] * 3)
    record = xai.Engine(vit).attention(IMAGES)
    loaded = xai.LoadedModel(model, lambda image: image, ["class"] * 1000, spec=LONG)  # type: ignore[arg-type, return-value]
    return {
        "Saliency": maps[METHOD],
        "BoundTarget": maps[METHOD].each[0].target,
        "MetricResult": xai.Engine(model).evaluate(IMAGES, maps[METHOD], "deletion:steps=3")["deletion:steps=3"],
        "AttentionRecord": record,
        "LayerRecord": record.layers[0],
        "Engine": xai.Engine(loaded, time_limit=3),
        "LoadedModel": loaded,
        "SmallCNN": xai.LoadedModel(model, lambda image: image),  # type: ignore[arg-type, return-value]
        "ConvolutionalAdapter": xai.Engine(model).adapter(IMAGES),
        "ModelAdapter": xai.Engine(nn.Sequential(nn.Flatten(), nn.Linear(3072, 5))).adapter(IMAGES),
        "Sample": xai.Sample(Image.new("RGB", (640, 480)), LONG, 3, mask=torch.ones(480, 640) > 0),
        "boxes=2": xai.Sample(IMAGES[0], "a", boxes=torch.zeros(2, 4)),
    }


def test_results_are_printed_in_one_line_of_less_than_200_characters() -> None:
    for name, result in printable().items():
        text = repr(result)
        assert name in text
        assert len(text) < 200
        assert "\n" not in text
