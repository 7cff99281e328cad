"""Samples, model and dataset sources, image files and ground truth."""
