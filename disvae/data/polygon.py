"""Exact fill of polygons with integer vertices: a pixel is on if its centre is inside, without rounding errors."""

import numpy as np

UNIT = 256  # vertices are integers in 1/256 of a pixel; the centre of pixel (r, c) is at (256 c + 128, 256 r + 128)
SIDE = 64  # rows and columns of the raster; each row is a 64-bit word
_FROM = np.array([2**SIDE - 1 >> c for c in range(SIDE)] + [0], dtype=np.uint64)  # columns c, c + 1, ... of a row


def fill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return one outline at P x Q places as rows (P, Q, 64) of 64-bit words, with column 0 in the highest bit.

    `x` (P, V) and `y` (Q, V) are the vertices for each horizontal and vertical place. A pixel whose centre is exactly
    on the outline is on at a left or bottom edge and off at a right or top edge.
    """
    dx = np.roll(x, -1, axis=1) - x
    dy = np.roll(y, -1, axis=1) - y
    above = (np.minimum(y, y + dy) - UNIT // 2) // UNIT  # the last row whose centre is not below the edge's upper end
    rows = (np.maximum(y, y + dy) - UNIT // 2) // UNIT - above  # (Q, V): rows that each edge crosses

    place, edge = np.nonzero(rows)
    n = rows[place, edge]
    nth = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    place, edge = np.repeat(place, n), np.repeat(edge, n)  # from here on one entry for each crossing: (M,)
    row = above[place, edge] + 1 + nth
    order = np.argsort(place * SIDE + row, kind="stable")
    place, edge, row = place[order], edge[order], row[order]

    # x of the crossing is x + drop * dx / height; the first column at or right of it is its ceiling on the pixel grid.
    height = np.abs(dy[place, edge])
    drop = (UNIT * row + UNIT // 2 - y[place, edge]) * np.sign(dy[place, edge])
    column = -((UNIT // 2 * height - x[:, edge] * height - drop * dx[:, edge]) // (UNIT * height))  # (P, M)

    # Each crossing flips every pixel from its column on, so the pixels between two crossings are on.
    first = np.flatnonzero(np.diff(place * SIDE + row, prepend=-1))
    words = np.bitwise_xor.reduceat(_FROM[np.clip(column, 0, SIDE)], first, axis=1)
    image = np.zeros((len(x), len(y), SIDE), dtype=np.uint64)
    image[:, place[first], row[first]] = words
    return image
