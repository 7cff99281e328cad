"""Visualization of results: overlays of maps, attention panels, curves, and grids of images."""
