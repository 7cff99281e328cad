"""Constants of ImageNet: class names, and the mean and standard deviation of its channels."""

from collections.abc import Sequence

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def class_names(subset: str = "imagenet-1k") -> Sequence[str]:
    """Return the class names of `subset`, a name of `timm.data.infer_imagenet_subset`.

    The 1,000 classes have the names of torchvision, because two of timm's names are equal (crane).
    """
    if subset == "imagenet-1k":
        from torchvision import models

        return models.resnet.ResNet18_Weights.DEFAULT.meta["categories"]
    from timm.data.imagenet_info import ImageNetInfo

    return list(ImageNetInfo(subset).label_descriptions())
