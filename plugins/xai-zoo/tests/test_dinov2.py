"""DINOv2's small vision transformer: names of weights, position embeddings, outputs and attention."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import xai_core as xai
from support.packages import requires
from xai_core.errors import CheckpointError, OptionError, UnknownModelError
from xai_zoo.dino_transformer import interpolated
from xai_zoo.dinov2 import FILE, timm_state
from xai_zoo.onnx_file import read_onnx

SIZE, GRID = 224, 16
PHOTOS = ("photos:astronaut", "photos:chelsea")
installed = requires(FILE.package)


def timm_model(state: Mapping[str, Tensor], size: int | tuple[int, int]) -> torch.nn.Module:
    import timm

    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=size)
    model.load_state_dict(state)
    return model.eval()


def exporters_positions(positions: Tensor) -> Tensor:
    """Resize position embeddings as transformers does, and the ONNX file, which differs from the authors' rule."""
    square = positions[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    resized = F.interpolate(square, (GRID, GRID), mode="bicubic").flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :1], resized], 1)


def in_file(key: str) -> str:
    """Return the name of an entry in the file, which transformers 4 wrote. Version 5 has other names for attention."""
    for new, old in zip("qkvo", ("attention.query", "attention.key", "attention.value", "output.dense"), strict=True):
        key = key.replace(f".attention.{new}_proj.", f".attention.{old}.")
    return key


def test_its_weights_have_the_names_of_timm() -> None:
    """A model of transformers with random weights equals a model of timm with the weights under timm's names."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14)
    reference = Dinov2Model(config).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    own = {in_file(key): value for key, value in reference.state_dict().items() if "mask_token" not in key}
    positions = own.pop("embeddings.position_embeddings")
    tensors = {f"backbone.{key}": value for key, value in own.items()}
    tensors |= {"onnx::Concat_1957": positions[:, :1], "onnx::Reshape_1962": positions[:, 1:]}
    tensors["decoder.final_conv.bias"] = torch.zeros(1)
    state = timm_state(tensors)
    state["pos_embed"] = exporters_positions(state["pos_embed"])
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        tokens = timm_model(state, SIZE).forward_features(images)
        torch.testing.assert_close(tokens, reference(images).last_hidden_state, atol=1e-4, rtol=1e-4)
    del tensors["backbone.encoder.layer.3.attention.attention.key.bias"]
    with pytest.raises(CheckpointError, match=r"contains no 'blocks\.3\.attention\.attention\.key\.bias'"):
        timm_state(tensors)


def test_its_size_is_a_multiple_of_the_patch_size() -> None:
    with pytest.raises(OptionError, match=r"multiple of the patch size \(14\), got 225"):
        xai.load_model("dinov2-small:size=225")
    with pytest.raises(OptionError, match="size must be"):
        xai.load_model("dinov2-small:size=none")
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model("dinov2-small:large")


@pytest.fixture(scope="module")
def graph() -> Any:
    """Session that returns the last tokens and the attention of each layer, computed by ONNX Runtime."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    graph = onnx.load(FILE.find())
    names = ["/backbone/layernorm/Add_1_output_0"]
    names += [f"/backbone/encoder/layer.{layer}/attention/attention/Softmax_output_0" for layer in range(12)]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: [torch.from_numpy(array) for array in session.run(names, {"input_image": images.numpy()})]


@installed
def test_it_equals_the_onnx_graph(graph: Any) -> None:
    loaded = xai.load_model("dinov2-small")
    images = torch.stack([loaded.preprocess(xai.load_dataset(photo)[0].image) for photo in PHOTOS])
    state = timm_state(read_onnx(FILE.find()))
    state["pos_embed"] = exporters_positions(state["pos_embed"])
    model = timm_model(state, SIZE)
    tokens, *attention = graph(images)
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(images), tokens, atol=1e-4, rtol=1e-4)
    record = xai.Engine(model).attention(images)
    assert len(record.layers) == len(attention) == 12
    for layer, expected in zip(record.layers, attention, strict=True):
        torch.testing.assert_close(layer.weights, expected, atol=1e-4, rtol=1e-4)
    heads = xai.Engine(model).explain(images, "head-attention")["head-attention"].parts
    assert heads is not None
    expected = attention[-1][:, :, 0, 1:].unflatten(2, (GRID, GRID))
    torch.testing.assert_close(heads, expected, atol=1e-4, rtol=1e-4)


@installed
def test_it_equals_the_model_of_timm_at_another_size() -> None:
    loaded = xai.load_model("dinov2-small:size=56x84")
    assert loaded.spec == "dinov2-small:size=56x84"
    assert not any(module.training for module in loaded.model.modules())
    [sample] = xai.load_dataset("photos:chelsea")
    image = loaded.preprocess(sample.image)
    assert image.shape == (3, 56, 84)
    state = timm_state(read_onnx(FILE.find()))
    assert state.keys() == loaded.model.state_dict().keys()
    state["pos_embed"] = interpolated(state["pos_embed"], (37, 37), (4, 6))
    with torch.no_grad():
        expected = timm_model(state, (56, 84))(image[None])
        assert expected.shape == (1, 384)
        torch.testing.assert_close(loaded.model(image[None]), expected)
