"""The names of ImageNet's classes."""

from collections.abc import Sequence


def class_names(subset: str = "imagenet-1k") -> Sequence[str]:
    """Name the classes of `subset`, as `timm.data.infer_imagenet_subset` calls it.

    The thousand have torchvision's names: WordNet's, which timm gives for the larger sets, calls two of them crane.
    """
    if subset == "imagenet-1k":
        from torchvision import models

        return models.resnet.ResNet18_Weights.DEFAULT.meta["categories"]
    from timm.data.imagenet_info import ImageNetInfo

    return list(ImageNetInfo(subset).label_descriptions())
