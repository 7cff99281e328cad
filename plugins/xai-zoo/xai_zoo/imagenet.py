"""What is known of ImageNet: the names of its classes, and the mean and deviation of its channels."""

from collections.abc import Sequence

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def class_names(subset: str = "imagenet-1k") -> Sequence[str]:
    """Name the classes of `subset`, as `timm.data.infer_imagenet_subset` calls it.

    The thousand have torchvision's names: WordNet's, which timm gives for the larger sets, calls two of them crane.
    """
    if subset == "imagenet-1k":
        from torchvision import models

        return models.resnet.ResNet18_Weights.DEFAULT.meta["categories"]
    from timm.data.imagenet_info import ImageNetInfo

    return list(ImageNetInfo(subset).label_descriptions())
