"""Architectures for images: VGG, ResNet and GoogLeNet. Weights trained by others are not included; ``pretrained_model`` names
an npz file."""
from hybridnn.links.vision.googlenet import GoogLeNet
from hybridnn.links.vision.resnet import (
    BottleneckA,
    BottleneckB,
    BuildingBlock,
    ResNet50Layers,
    ResNet101Layers,
    ResNet152Layers,
    ResNetLayers,
)
from hybridnn.links.vision.vgg import VGG16Layers, VGG19Layers, VGGLayers

__all__ = ["BottleneckA", "BottleneckB", "BuildingBlock", "GoogLeNet", "ResNet50Layers", "ResNet101Layers", "ResNet152Layers",
           "ResNetLayers", "VGG16Layers", "VGG19Layers", "VGGLayers"]
