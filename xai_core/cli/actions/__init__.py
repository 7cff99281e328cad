"""Implementations of the commands.

These modules import PyTorch. The modules of the commands declare the options only, and import these modules when a
command runs, so that `xai --help` and `xai --version` stay fast.
"""
