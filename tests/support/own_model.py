"""A model that a file of the user builds, and that imports a module beside the file."""

from pathlib import Path

NET = """
from torch import nn
from parts import head

SCALE = 2


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.Conv2d(width, width, 3, 2), nn.ReLU())
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), head(width)

    def forward(self, images):
        return scaled(self.head(self.pool(self.features(images)).flatten(1)))


def scaled(scores):
    return SCALE * scores


def build(width=4):
    return Net(width)
"""
PARTS = """
from torch import nn


def head(width):
    return nn.Linear(width, 5)
"""


def write(folder: Path) -> None:
    """Write the file `net.py` with the function `build`, and the module that it imports."""
    (folder / "net.py").write_text(NET)
    (folder / "parts.py").write_text(PARTS)
