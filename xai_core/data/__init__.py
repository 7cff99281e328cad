"""Samples, sources of models and datasets, image files, and ground-truth masks."""
