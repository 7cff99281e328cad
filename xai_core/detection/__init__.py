"""Detections in the outputs of object detectors: how they are read, listed, and compared with a box."""
