"""Targets: a class, several classes, a contrast of classes, a region of a segmentation, or a similarity."""
