"""The U-Net trained on shapes: its accuracy on unseen images, its classes, and how its weights were made."""

import torch

import xai_core as xai


def test_most_regions_of_unseen_images_are_those_of_the_object() -> None:
    loaded, count = xai.load_model("shapes-unet"), 100
    data = xai.load_dataset(f"shapes:split=test,count={count}")
    samples = [data[i] for i in range(count)]
    with torch.no_grad():
        scores = loaded.model(torch.stack([loaded.preprocess(sample.image) for sample in samples]))
    assert scores.shape == (count, 11, 64, 64)
    found = scores.argmax(1) == torch.tensor([sample.target for sample in samples])[:, None, None]
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    overlap = (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))
    assert (overlap > 0.5).double().mean() >= 0.85


def test_labels_of_shapes_are_the_first_classes() -> None:
    loaded = xai.load_model("shapes-unet")
    assert loaded.spec == "shapes-unet"
    assert loaded.class_names == (*xai.load_dataset("shapes").class_names, "background")  # type: ignore[attr-defined]
    assert xai.load_model("shapes-unet:weights=none").spec == "shapes-unet:weights=none"
