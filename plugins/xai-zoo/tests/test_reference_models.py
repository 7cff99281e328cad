"""The reference models: their modules are their papers', they run, are explained, and come back from files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import xai_core as xai
from support.models import settled
from xai_core.errors import CheckpointError, MissingDependencyError, OptionError, UnknownModelError
from xai_zoo.bam import BAM
from xai_zoo.cbam import CBAM

SPECS = {
    "cifar-vit": "cifar-vit:dim=32,heads=4,depth=3",
    "resnet-cbam": "resnet-cbam:num_classes=4,size=64",
    "resnet-bam": "resnet-bam:num_classes=4,size=64,dilation=2",
    "frozen-resnet": "frozen-resnet:trunk=none,num_classes=4,size=64",
}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, dilation: int = 1) -> np.ndarray:
    """[C,H,W] with zeros around it, term by term."""
    kernel = weight.shape[-1]
    padding = dilation * (kernel // 2)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    height, width = x.shape[1:]
    out = np.zeros((len(weight), height, width))
    for i in range(kernel):
        for j in range(kernel):
            window = padded[:, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            out += np.tensordot(weight[:, :, i, j], window, 1)
    return out if bias is None else out + bias[:, None, None]


def cbam(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    def mlp(pooled: np.ndarray) -> np.ndarray:
        return w["channel.mlp.2.weight"][..., 0, 0] @ np.maximum(w["channel.mlp.0.weight"][..., 0, 0] @ pooled, 0)

    x = sigmoid(mlp(x.mean((1, 2))) + mlp(x.max((1, 2))))[:, None, None] * x
    return sigmoid(convolve(np.stack([x.mean(0), x.max(0)]), w["spatial.conv.weight"], None)) * x


def bam(x: np.ndarray, w: dict[str, np.ndarray], dilation: int) -> np.ndarray:
    def norm(x: np.ndarray, name: str) -> np.ndarray:
        mean, var, weight, bias = (
            w[f"{name}.{of}"][:, None, None] for of in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    def layer(x: np.ndarray, name: str, dilation: int = 1) -> np.ndarray:
        return convolve(x, w[f"{name}.weight"], w[f"{name}.bias"], dilation)

    hidden = np.maximum(layer(x.mean((1, 2), keepdims=True), "channel.1"), 0)
    channel = norm(layer(hidden, "channel.3"), "channel.4")
    hidden = np.maximum(layer(x, "spatial.0"), 0)
    for name in ("spatial.2", "spatial.4"):
        hidden = np.maximum(layer(hidden, name, dilation), 0)
    return x + sigmoid(channel + norm(layer(hidden, "spatial.6"), "spatial.7")) * x


@pytest.mark.parametrize(("reduction", "kernel"), [(4, 7), (16, 3)])
def test_cbam_is_its_paper(reduction: int, kernel: int) -> None:
    module = settled(CBAM(16, reduction, kernel)).double()
    x = torch.randn(2, 16, 9, 7, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    with torch.no_grad():
        np.testing.assert_allclose(module(x), np.stack([cbam(image, weights) for image in x.numpy()]), atol=1e-12)


@pytest.mark.parametrize(("reduction", "dilation"), [(4, 4), (16, 2)])
def test_bam_is_its_paper(reduction: int, dilation: int) -> None:
    module = settled(BAM(16, reduction, dilation)).double()
    x = torch.randn(2, 16, 12, 10, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    with torch.no_grad():
        expected = np.stack([bam(image, weights, dilation) for image in x.numpy()])
        np.testing.assert_allclose(module(x), expected, atol=1e-12)


def test_cbam_is_timms() -> None:
    """timm's rounds the hidden channels to a divisor and has a batch norm after the convolution; both are set aside."""
    from timm.layers.cbam import CbamModule

    ours, theirs = settled(CBAM(32, 4)), CbamModule(32, rd_ratio=1 / 4, rd_divisor=1).eval()
    state = ours.state_dict()
    names = {"channel.fc1": "channel.mlp.0", "channel.fc2": "channel.mlp.2", "spatial.conv.conv": "spatial.conv"}
    missing, unexpected = theirs.load_state_dict(
        {f"{their}.weight": state[f"{our}.weight"] for their, our in names.items()}, strict=False
    )
    assert not unexpected
    assert all(name.startswith("spatial.conv.bn") for name in missing)
    theirs.spatial.conv.bn.eps = 0.0
    x = torch.randn(2, 32, 11, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("name", SPECS)
def test_a_model_runs_is_explained_and_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    loaded = xai.load_model(SPECS[name])
    assert name in xai.list_models()
    assert not any(module.training for module in loaded.model.modules())
    settled(loaded.model)
    images = torch.stack([loaded.preprocess(sample.image) for sample in xai.load_dataset("shapes:count=2")])
    methods = ["grad-cam", "rollout"] if name == "cifar-vit" else ["grad-cam"]
    for method, saliency in xai.Engine(loaded).explain(images, methods).items():
        assert saliency.values.shape == (2, *images.shape[-2:]), method
        assert (saliency.raw.flatten(1).std(1) > 0).all(), method
    file = tmp_path / "weights.safetensors"
    save_file(loaded.model.state_dict(), file)
    again = xai.load_model(loaded.spec, weights=file)
    with torch.no_grad():
        torch.testing.assert_close(again.model(images), loaded.model(images), atol=0, rtol=0)
    assert xai.load_model(again.spec).spec == again.spec
    with pytest.raises(CheckpointError, match="does not match"):
        xai.load_model(SPECS[name].replace("=4", "=2").replace("depth=3", "depth=2"), weights=file)


def test_gates_stand_after_the_chosen_stages() -> None:
    def gates(spec: str, kind: type[nn.Module]) -> list[str]:
        model = xai.load_model(spec).model
        return [name for name, module in model.named_modules() if isinstance(module, kind)]

    assert gates("resnet-cbam", CBAM) == [f"layer{stage}.1" for stage in (1, 2, 3, 4)]
    assert gates("resnet-bam:depth=50", BAM) == [f"layer{stage}.1" for stage in (1, 2, 3)]
    assert gates("resnet-cbam:stages=2+4", CBAM) == ["layer2.1", "layer4.1"]
    assert gates("resnet-bam:stages=3", BAM) == ["layer3.1"]


@pytest.mark.parametrize("pool", ["class", "mean", "max"])
def test_cifar_vit_pools(pool: str) -> None:
    model = xai.load_model(f"cifar-vit:dim=32,heads=4,depth=2,pool={pool}").model
    images = torch.randn(2, 3, 32, 32)
    kept: list[Tensor] = []
    model.norm.register_forward_hook(lambda module, args, output: kept.append(output))
    scores = model(images)
    [tokens] = kept
    assert tokens.shape[1] == 64 + (pool == "class")
    pooled = {"class": tokens[:, 0], "mean": tokens.sum(1) / 64, "max": tokens.max(1).values}[pool]
    torch.testing.assert_close(scores, model.head(pooled))
    readout = xai.Engine(model).adapter(images).readout
    assert readout == pytest.approx([1] + [0] * 64 if pool == "class" else [1 / 64] * 64)


def test_cifar_vit_is_of_the_usual_size() -> None:
    model = xai.load_model("cifar-vit").model
    patches, block = 3 * 4 * 4 * 256 + 256, 4 * 256 * 256 + 4 * 256 + 2 * 256 * 512 + 512 + 256 + 4 * 256
    rest = 256 + 65 * 256 + 2 * 256 + 10 * 256 + 10
    assert sum(parameter.numel() for parameter in model.parameters()) == patches + 6 * block + rest
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.2}
    images: Tensor = torch.randn(2, 3, 32, 32)
    assert model(images).shape == (2, 10)


@pytest.mark.parametrize(
    "spec",
    [
        *("cifar-vit:size=30", "cifar-vit:heads=3", "cifar-vit:dropout=1", "cifar-vit:mlp=0", "cifar-vit:depth=none"),
        *("resnet-cbam:depth=19", "resnet-cbam:kernel=4", "resnet-cbam:stages=5", "resnet-cbam:dilation=2"),
        *("frozen-resnet:depth=20,trunk=none", "frozen-resnet:num_classes=0,trunk=none", "dino:vits16,size=100"),
        *("unet:size=40", "unet:encoder=resnet17", "unet:attention=cbam", "cifar-vit:stem=pool", "cifar-vit:pool=sum"),
        *("cifar-vit:size=36,patch=6,stem=convolutions", "cifar-vit:stem=convolutions,dim=10,heads=2,patch=8"),
        *("resnet-bam:reduction=0", "resnet-bam:stages=1+", "resnet-bam:stages=1+1", "resnet-bam:kernel=7"),
    ],
)
def test_options_that_make_no_model_are_refused(spec: str) -> None:
    with pytest.raises(OptionError):
        xai.load_model(spec)


@pytest.mark.parametrize("name", SPECS)
def test_each_is_one_model(name: str) -> None:
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model(f"{name}:large")


def test_overlapping_patches_halve_the_picture_and_double_the_channels() -> None:
    model = xai.load_model("cifar-vit:size=64,patch=8,dim=32,heads=2,depth=1,stem=convolutions").model
    stem = [module for module in model.get_submodule("patches") if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels, conv.stride) for conv in stem] == [
        (3, 8, (2, 2)),
        (8, 16, (2, 2)),
        (16, 32, (2, 2)),
        (32, 32, (1, 1)),
    ]
    maps = xai.Engine(model).explain(torch.randn(1, 3, 64, 64), ["rollout", "grad-cam"])
    assert all(saliency.raw.shape == (1, 8, 8) for saliency in maps.values())


def test_only_the_head_of_a_frozen_resnet_learns() -> None:
    model = xai.load_model(SPECS["frozen-resnet"]).model.train()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    model(torch.randn(4, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_the_trunk_of_a_frozen_resnet_comes_from_a_file(tmp_path: Path) -> None:
    trunk = xai.load_model("torchvision:resnet18,weights=none").model
    save_file(trunk.state_dict(), file := tmp_path / "trunk.safetensors")
    loaded = xai.load_model("frozen-resnet", trunk=file)
    assert torch.equal(loaded.model.get_submodule("trunk.conv1").weight, trunk.get_submodule("conv1").weight)
    assert xai.load_model(loaded.spec).spec == loaded.spec


@pytest.mark.parametrize(
    ("encoder", "named"),
    [("tu-none", "'tu-none'"), ("tu-", "'tu-'"), ("18", "18"), ("none", "None"), ('""', "''")],
)
def test_unet_names_the_encoder_that_it_cannot_use(encoder: str, named: str) -> None:
    with pytest.raises(OptionError, match=rf"encoder.* {named}"):
        xai.load_model(f"unet:encoder={encoder}")


def test_unet_scores_pixels_and_explains_regions(tmp_path: Path) -> None:
    loaded = xai.load_model("unet:num_classes=3,size=64,attention=scse")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert loaded.model(images).shape == (2, 3, 64, 64)
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[:32, :32] = True
    saliency = xai.Engine(loaded).explain(images, "grad-cam", target=xai.Region(1, region))["grad-cam"]
    assert saliency.values.shape == (2, 64, 64)
    save_file(loaded.model.state_dict(), file := tmp_path / "unet.safetensors")
    assert xai.load_model(loaded.spec, weights=file).spec.endswith(f"weights={file}")


def test_unet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingDependencyError, match="pip install segmentation-models-pytorch"):
        xai.load_model("unet")
