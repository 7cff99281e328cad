"""Constant channels in the example photographs, which Score-CAM skips, and the time per image: prints a table."""

import time

import torch
from torch import nn

import xai_core as xai


def last_activation(model: nn.Module, layer: str, images: torch.Tensor) -> torch.Tensor:
    """Return the output of a layer."""
    outputs: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad():
        model(images)
    handle.remove()
    return outputs[0]


def seconds(engine: xai.Engine, images: torch.Tensor) -> float:
    """Return the time of Score-CAM for one image."""
    start = time.perf_counter()
    engine.explain(images, "score-cam")
    return time.perf_counter() - start


def main() -> None:
    """Print the number of constant channels and the time of each photograph."""
    loaded = xai.load_model("efficientnet-lite0")
    engine, photos = xai.Engine(loaded), xai.load_dataset("photos")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| photo | channels | constant channels | seconds | seconds per scored channel |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for i in range(len(photos)):
        images = loaded.preprocess(photos[i].image)[None]
        activation = last_activation(loaded.model, engine.adapter(images).default_layer, images)
        constant = int((activation.amax((2, 3)) == activation.amin((2, 3))).sum())
        channels, duration = activation.shape[1], seconds(engine, images)
        per_channel = duration / max(1, channels - constant)
        print(f"| {photos[i].id} | {channels} | {constant} | {duration:.1f} | {per_channel:.4f} |")


if __name__ == "__main__":
    main()
