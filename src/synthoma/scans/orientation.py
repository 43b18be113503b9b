"""Headers whose orientation contradicts that of the other cases.

Cases of one atlas lie in one box. A header that has the shape, spacing and origin of the others and other directions
turns the array about its first voxel, out of that box: a case that was reoriented in truth has its origin at another
corner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from synthoma.records import Grid

__all__ = ["contradiction", "contradicts", "trusted_grids"]

_SAME_MM = 0.5
"""Origins and lengths of axes that differ by no more are one."""
_ALONG = 0.9
"""Cosine of axes that point one way."""


def trusted_grids(grids: Mapping[str, Grid], known: Sequence[Grid] = ()) -> dict[str, Grid]:
    """Case → the grid that cases of its origin, shape and spacing have.

    That is one of ``known``, the grids of atlases, or else that of most cases; where as many say one thing as another,
    nothing is told.
    """
    groups: list[dict[str, Grid]] = []
    for name, grid in grids.items():
        group = next((group for group in groups if _one_place(next(iter(group.values())), grid)), None)
        if group is None:
            groups.append({name: grid})
        else:
            group[name] = grid
    trusted: dict[str, Grid] = {}
    for group in groups:
        first = next(iter(group.values()))
        right = next((grid for grid in known if _one_place(grid, first)), None) or _most(group.values())
        if right is not None:
            trusted |= dict.fromkeys(group, right)
    return trusted


def _most(grids: Iterable[Grid]) -> Grid | None:
    """A grid of the orientation that most of ``grids`` have, if there is one."""
    alike: list[list[Grid]] = []
    for grid in grids:
        same = next((same for same in alike if not contradicts(same[0], grid)), None)
        if same is None:
            alike.append([grid])
        else:
            same.append(grid)
    alike.sort(key=len, reverse=True)
    return alike[0][0] if len(alike) == 1 or len(alike[0]) > len(alike[1]) else None


def contradicts(grid: Grid, trusted: Grid) -> bool:
    """Whether a header puts the same array at the same origin, and turns it another way."""
    along = (np.asarray(grid.direction) * np.asarray(trusted.direction)).sum(axis=1)
    return _one_place(grid, trusted) and bool((along < _ALONG).any())


def contradiction(grid: Grid, trusted: Grid, *, corrected: bool) -> str:
    """The note of a case whose header is wrong."""
    origin = ", ".join(f"{value + 0.0:g}" for value in grid.origin_mm)
    done = (
        "read with the orientation of the others (data.orientation=others)"
        if corrected
        else "kept as the header says; data.orientation=others takes theirs"
    )
    return (
        f"the header says {grid.orientation} with the origin ({origin}) mm, where other BraTS cases of that origin are "
        f"{trusted.orientation}: it contradicts them; {done}"
    )


def _one_place(one: Grid, other: Grid) -> bool:
    if one.shape != other.shape:
        return False
    extent = (np.asarray(one.spacing_mm) - np.asarray(other.spacing_mm)) * np.asarray(one.shape)
    origin = np.asarray(one.origin_mm) - np.asarray(other.origin_mm)
    return bool(np.abs(extent).max() <= _SAME_MM and np.abs(origin).max() <= _SAME_MM)
