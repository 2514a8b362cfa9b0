"""Small data folders of drawn faces, for newcomers have no other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from convert.data import LABELS, TILE
from convert.golden import draw_face
from convert.layouts.sheets import TILES_A_ROW


def draw_tiles(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([draw_face(random) for _ in range(count)])


def write_data(folder: Path, *, train: int = 140, val: int = 35) -> Path:
    """Write a data folder whose labels take turns; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    total = train + val
    places = -(-total // TILES_A_ROW) * TILES_A_ROW
    tiles = np.zeros((places, TILE, TILE), np.uint8)
    tiles[:total] = draw_tiles(total)
    sheet = (
        tiles.reshape(-1, TILES_A_ROW, TILE, TILE).swapaxes(1, 2).reshape(-1, TILES_A_ROW * TILE)
    )
    # Beyond 100, OpenCV's WebP is lossless.
    cv2.imwrite(str(folder / "sheet-0.webp"), sheet, [cv2.IMWRITE_WEBP_QUALITY, 101])
    rows = ["sheet,row,col,split,label"]
    for index in range(total):
        split = "train" if index < train else "val"
        row, col = divmod(index, TILES_A_ROW)
        rows.append(f"0,{row},{col},{split},{LABELS[index % len(LABELS)]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder
