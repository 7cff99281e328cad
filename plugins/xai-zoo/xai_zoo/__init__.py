"""Model and data sources for xai-core."""

import xai_core as xai
from xai_core.plugin import DatasetSource, ModelSource
from xai_zoo.cifar10 import Cifar10
from xai_zoo.cifar_vit import CifarViTSource
from xai_zoo.coco import Coco
from xai_zoo.dino import Dino
from xai_zoo.dinov2 import DINOv2Small
from xai_zoo.efficientnet_lite import EfficientNetLite0, EfficientNetLite2
from xai_zoo.folder import Folder
from xai_zoo.frozen_resnet import FrozenResNetSource
from xai_zoo.hugging_face import HuggingFace
from xai_zoo.hugging_face_models import HuggingFaceModels
from xai_zoo.imagenet_images import ImageNet
from xai_zoo.mobilenet_v2 import MobileNetV2
from xai_zoo.mtcnn import MTCNN
from xai_zoo.own_models import PythonModels
from xai_zoo.photos import Photos
from xai_zoo.resnet_attention import ResNetBAM, ResNetCBAM
from xai_zoo.shapes import Shapes
from xai_zoo.shapes3d import Shapes3d
from xai_zoo.shapes3d_cnn import Shapes3dCNN
from xai_zoo.shapes_clip import ShapesCLIP
from xai_zoo.shapes_detector import ShapesDetector
from xai_zoo.shapes_models import ShapesCBAM, ShapesViT
from xai_zoo.shapes_shortcut import ShapesShortcut
from xai_zoo.shapes_text import ShapesText
from xai_zoo.shapes_unet import ShapesUNet
from xai_zoo.timm_models import TimmModels
from xai_zoo.torchvision_models import TorchvisionModels
from xai_zoo.unet import UNet
from xai_zoo.voc import Voc

__all__ = [
    "MTCNN",
    "Cifar10",
    "CifarViTSource",
    "Coco",
    "DINOv2Small",
    "Dino",
    "EfficientNetLite0",
    "EfficientNetLite2",
    "Folder",
    "FrozenResNetSource",
    "HuggingFace",
    "HuggingFaceModels",
    "ImageNet",
    "MobileNetV2",
    "Photos",
    "PythonModels",
    "ResNetBAM",
    "ResNetCBAM",
    "Shapes",
    "Shapes3d",
    "Shapes3dCNN",
    "ShapesCBAM",
    "ShapesCLIP",
    "ShapesDetector",
    "ShapesShortcut",
    "ShapesText",
    "ShapesUNet",
    "ShapesViT",
    "TimmModels",
    "TorchvisionModels",
    "UNet",
    "Voc",
]


@xai.hookimpl
def xai_models() -> list[type[ModelSource]]:
    """Return the model sources of this plugin."""
    return [
        CifarViTSource,
        DINOv2Small,
        Dino,
        EfficientNetLite0,
        EfficientNetLite2,
        FrozenResNetSource,
        HuggingFaceModels,
        MTCNN,
        MobileNetV2,
        PythonModels,
        ResNetBAM,
        ResNetCBAM,
        Shapes3dCNN,
        ShapesCBAM,
        ShapesCLIP,
        ShapesDetector,
        ShapesUNet,
        ShapesViT,
        TimmModels,
        TorchvisionModels,
        UNet,
    ]


@xai.hookimpl
def xai_datasets() -> list[type[DatasetSource]]:
    """Return the dataset sources of this plugin."""
    return [Cifar10, Coco, Folder, HuggingFace, ImageNet, Photos, Shapes, Shapes3d, ShapesShortcut, ShapesText, Voc]
