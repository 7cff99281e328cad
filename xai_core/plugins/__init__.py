"""Finds and loads plugins, and looks up the classes that they provide by name."""
