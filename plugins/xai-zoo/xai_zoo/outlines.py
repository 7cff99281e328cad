"""Outlines of shapes: closed polygons [N,2] with an area of one, centered on the origin."""

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
_TURN = 2 * np.pi


def moved(outline: Outline, center: Outline, side: float, turn: float) -> Outline:
    """Rotate an outline by `turn` radians, scale it by `side`, and move it to `center` [2]."""
    cos, sin = np.cos(turn), np.sin(turn)
    return side * outline @ np.array([[cos, sin], [-sin, cos]]) + center


def clover(random: np.random.Generator) -> Outline:
    """Return an outline with three uneven lobes, which belongs to no class."""
    angles = np.linspace(0, _TURN, 64, endpoint=False)
    uneven = 0.2 * np.cos(2 * angles + random.uniform(0, _TURN))
    return _unit(_polar(angles, 1 + 0.45 * np.cos(3 * angles) + uneven))


def wave(random: np.random.Generator) -> Outline:
    """Return a wavy stroke, which belongs to no class."""
    along = np.linspace(-1, 1, 32)
    spine = np.stack([along, 0.35 * np.sin(random.uniform(4, 7) * along + random.uniform(0, _TURN))], 1)
    return _unit(_band(spine, 0.2))


def bar(length: float, width: float) -> Outline:
    """Return a straight stroke of this length and width. Its area is not one."""
    return _band(np.array([[-length, 0], [length, 0]]) / 2, width / 2)


def _unit(points: Outline) -> Outline:
    """Center on the middle of the bounding box, and scale to an area of one."""
    points = points - (points.min(0) + points.max(0)) / 2
    x, y = points.T
    return points / np.sqrt(abs(x[:-1] @ y[1:] - y[:-1] @ x[1:] + x[-1] * y[0] - y[-1] * x[0]) / 2)


def _polar(angles: Outline, radius: Outline | float = 1) -> Outline:
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)


def _polygon(corners: int, *radii: float) -> Outline:
    return _polar(np.arange(corners) * _TURN / corners, np.resize(radii, corners))


def _band(spine: Outline, half: float) -> Outline:
    aside = np.array([0, half])
    return np.concatenate([spine + aside, spine[::-1] - aside])


def _cross(arm: float) -> Outline:
    quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
    return np.concatenate([moved(quarter, np.zeros(2), 1, k * _TURN / 4) for k in range(4)])


def _ring(hole: float) -> Outline:
    around = np.linspace(0, _TURN, 64)
    return np.concatenate([_polar(around), _polar(around[::-1], hole)])


def _crescent(horn: float, depth: float) -> Outline:
    outer = _polar(np.linspace(horn, _TURN - horn, 48))
    across = np.linspace(-np.pi / 2, np.pi / 2, 32)
    return np.concatenate([outer, np.stack([np.cos(horn) - depth * np.cos(across), np.sin(horn) * np.sin(across)], 1)])


def _heart() -> Outline:
    t = np.linspace(0, _TURN, 64, endpoint=False)
    return np.stack([16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)], 1)


_ARROW = np.array([[-1, -0.25], [0.1, -0.25], [0.1, -0.75], [1, 0], [0.1, 0.75], [0.1, 0.25], [-1, 0.25]])
_HOURGLASS = np.array([[-0.8, -1], [0.8, -1], [0.15, 0], [0.8, 1], [-0.8, 1], [-0.15, 0]])

# All areas are equal, so that size does not reveal the class.
CLASSES = {
    "arrow": _unit(_ARROW),
    "circle": _unit(_polygon(64, 1)),
    "crescent": _unit(_crescent(0.9, 0.9)),
    "cross": _unit(_cross(0.32)),
    "heart": _unit(_heart()),
    "hourglass": _unit(_HOURGLASS),
    "ring": _unit(_ring(0.6)),
    "square": _unit(_polygon(4, 1)),
    "star": _unit(_polygon(10, 1, 0.45)),
    "triangle": _unit(_polygon(3, 1)),
}
REACH = max(float(np.hypot(*outline.T).max()) for outline in CLASSES.values())
"""Largest distance of a class outline's points from its center."""
