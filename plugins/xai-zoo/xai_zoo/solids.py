"""Solids: functions that return which points [3,...] (z, y, x) are inside, with a volume of one, around the origin."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Solid = Callable[[Points], NDArray[np.bool_]]
_BALL = (3 / (4 * np.pi)) ** (1 / 3)
_CYLINDER = (1 / (3.6 * np.pi)) ** (1 / 3)  # radius of a cylinder, whose height is 3.6 times as large
_CONE = (3 / (2 * np.pi)) ** (1 / 3)  # radius of the base, and half of the height
_ARM = (1 / 1.728) ** (1 / 3)  # half-length of the bars of a cross, which are 0.3 times as thick
_TORUS = (1 / (2 * np.pi**2 * 0.35**2)) ** (1 / 3)  # radius of a torus, which is 0.35 times as thick


def ball(points: Points) -> NDArray[np.bool_]:
    """Return the points inside a ball."""
    return np.square(points).sum(0) <= _BALL**2


def cone(points: Points) -> NDArray[np.bool_]:
    """Return the points inside a cone."""
    radius = (_CONE - points[0]) / 2
    return (abs(points[0]) <= _CONE) & (np.hypot(points[1], points[2]) <= radius)


def cross(points: Points) -> NDArray[np.bool_]:
    """Return the points inside three bars that cross at right angles."""
    _, middle, large = np.sort(abs(points), 0)
    return (middle <= 0.3 * _ARM) & (large <= _ARM)


def cube(points: Points) -> NDArray[np.bool_]:
    """Return the points inside a cube."""
    return abs(points).max(0) <= 0.5


def cylinder(points: Points) -> NDArray[np.bool_]:
    """Return the points inside a cylinder."""
    return (abs(points[0]) <= 1.8 * _CYLINDER) & (np.hypot(points[1], points[2]) <= _CYLINDER)


def torus(points: Points) -> NDArray[np.bool_]:
    """Return the points inside a torus, which belongs to no class."""
    return np.hypot(points[0], np.hypot(points[1], points[2]) - _TORUS) <= 0.35 * _TORUS


# All volumes are equal, so that size does not reveal the class.
CLASSES: dict[str, Solid] = {"ball": ball, "cone": cone, "cross": cross, "cube": cube, "cylinder": cylinder}


def rotation(random: np.random.Generator) -> Points:
    """Return a random rotation matrix [3,3], uniformly distributed (Shoemake, 1992)."""
    w, x, y, z = (quaternion := random.normal(size=4)) / np.sqrt(np.square(quaternion).sum())
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
