"""Metrics that compare a map with a mask of the truth."""
