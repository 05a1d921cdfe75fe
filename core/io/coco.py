"""Catalogues in COCO's JSON, the format of object detection's data sets and tools."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.table import MaskedColumn, Table

from skyduel.core.catalog import KINDS, MATCHED_KINDS, SCHEMA, Catalog
from skyduel.core.errors import PATH, BadInputError, one_line, require_kind, takes
from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.images.image_formats import COMPRESSION_ENDINGS, IMAGE_ENDINGS
from skyduel.core.io.tabular.column_values import KIND_ALIASES
from skyduel.core.io.tabular.given_table import plain_meta

__all__ = ["coco_table", "write_coco"]

#: Side of a point's box [px] where nobody says otherwise.
BOX_PX: Final = 8.0
# Under this key of an annotation stands what COCO has no place for, digit by digit.
_OWN: Final = "skyduel"
# What an image's file name may end in, one behind the other: frames, and other tools' pictures.
_ENDINGS: Final = frozenset(
    (*IMAGE_ENDINGS, *COMPRESSION_ENDINGS, ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
)


@takes(catalogs=Mapping, path=PATH, shapes=Mapping, box_px=Real)
def write_coco(
    catalogs: Mapping[str, Catalog],
    path: str | os.PathLike[str],
    *,
    shapes: Mapping[str, tuple[int, int]] | None = None,
    box_px: float = BOX_PX,
) -> None:
    """Write catalogues of one or more images as one COCO file.

    Parameters
    ----------
    catalogs : mapping of str to Catalog
        By the image's file name.
    path : path
        Replaced whole or not at all.
    shapes : mapping of str to (int, int), optional
        Rows and columns (ny, nx) of each image; otherwise what the sources span.
    box_px : float
        Side of a point's box; a streak's box is that of its segment, larger
        by half of it on every side [px].

    Raises
    ------
    BadInputError
        If a column has more than one value a row, or the file cannot be written.

    Notes
    -----
    ``bbox`` is COCO's: left, top edge, width, height, where a pixel's centre is
    at a half. The keypoint ``centre`` is the position itself, 0-based with the
    integer at the pixel's centre as COCO has its keypoints. ``iscrowd`` is 1
    for ignored truths. Every column stands besides under ``skyduel``, so that
    reading it back loses nothing; NaN is null.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, catalog) in enumerate(catalogs.items(), start=1):
        require_kind(f"write_coco: catalogs[{name!r}]", catalog, Catalog)
        shape = (shapes or {}).get(name) or _span(catalog)
        if np.shape(shape) != (2,):
            required = "(ny, nx), two whole numbers"
            raise BadInputError(f"write_coco: shapes[{name!r}]", required, repr(shape))
        ny, nx = shape
        images.append({"id": number, "file_name": name, "width": int(nx), "height": int(ny)})
        boxes = _boxes(catalog, box_px)
        columns = {n: _plain(catalog, n) for n in catalog.table.colnames}
        crowd = catalog["ignore"] if "ignore" in catalog else np.zeros(len(catalog), bool)
        for row in range(len(catalog)):
            own = {name: values[row] for name, values in columns.items()}
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": KINDS.index(own["kind"]) + 1,
                "bbox": boxes[row].tolist(),
                "area": float(boxes[row, 2] * boxes[row, 3]),
                "iscrowd": int(crowd[row]),
                "keypoints": [own["x"], own["y"], 2],
                "num_keypoints": 1,
            }
            if own["score"] is not None:
                annotation["score"] = own["score"]
            annotations.append(annotation | {_OWN: own})
    # Without galaxies the file is that of versions that knew none.
    galaxies = any(catalog.is_galaxy.any() for catalog in catalogs.values())
    kinds = [
        {"id": i, "name": kind, "supercategory": "source", "keypoints": ["centre"], "skeleton": []}
        for i, kind in enumerate(KINDS if galaxies else MATCHED_KINDS, start=1)
    ]
    dtypes = {
        name: catalog.table[name].dtype.str[1:]
        for catalog in catalogs.values()
        for name in catalog.table.colnames
        if name not in SCHEMA and catalog.table[name].dtype.kind in "biuf"
    }
    document = {
        "info": {
            "description": "sources; positions 0-based, integer at the pixel's centre",
            "skyduel_dtypes": dtypes,
            "skyduel_meta": {n: _finite(plain_meta(c.table)) for n, c in catalogs.items()},
        },
        "images": images,
        "categories": kinds,
        "annotations": annotations,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")


def coco_table(content: bytes, image: str | int | None, file: Path) -> Table:
    """Return the sources of one image of a COCO file.

    Parameters
    ----------
    content : bytes
        The file's content: a data set, or a list of results as pycocotools
        takes it.
    image : str or int, optional
        File name (with or without folders and endings) or id; not needed where
        the file has one image.
    file : Path
        For messages.

    Returns
    -------
    Table
        Our own columns where they are there. Of others' files: the keypoint,
        or the middle of the box, as position; the category as kind, of which
        those that name no kind are points, as are all results of a list, which
        does not name its categories; ``iscrowd`` as ignore. A streak's
        length and angle cannot be told from a box and stay 0.

    Raises
    ------
    BadInputError
        If the file is no COCO file, or several images are there and none is
        chosen.
    """
    try:
        document = json.loads(content)
        if isinstance(document, list):
            return _results_table(document, image, file)
        images = document["images"]
        names = {c["id"]: str(c["name"]).lower() for c in document["categories"]}
        chosen = _image_id(images, image, file)
        rows = [a for a in document["annotations"] if a["image_id"] == chosen]
        if rows and all(_OWN in row for row in rows):
            info = document.get("info", {})
            table = _own_table([r[_OWN] for r in rows], dict(info.get("skyduel_dtypes", {})))
            name = next(str(i["file_name"]) for i in images if i["id"] == chosen)
            table.meta.update(dict(info.get("skyduel_meta", {}).get(name, {})))
            return table
        return _foreign_table(rows, names)
    except BadInputError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError,
            OverflowError) as error:  # fmt: skip
        raise BadInputError(
            str(file),
            "COCO's JSON with images, categories and annotations",
            f"{type(error).__name__}: {one_line(error, 120)}",
        ) from error


def _results_table(rows: list[Any], image: str | int | None, file: Path) -> Table:
    """Return the results of one image of a list of results."""
    ids = list(dict.fromkeys(row["image_id"] for row in rows))
    images = [{"id": i, "file_name": str(i)} for i in ids]
    chosen = None
    if image is not None and len(ids) > 1:
        # COCO's own file names are the ids with leading zeros.
        digits = _stem(image)
        if digits.isdecimal() and int(digits) in ids:
            chosen = int(digits)
    if chosen is None:
        chosen = _image_id(images, image, file)
    return _foreign_table([row for row in rows if row["image_id"] == chosen], {})


def _image_id(images: list[dict[str, Any]], image: str | int | None, file: Path) -> Any:
    """Return the id of the image that was meant."""
    if not images:
        return None
    if image is not None:
        # First the id, then the name as it stands, without its folder, without its endings.
        by_id = [i["id"] for i in images if i["id"] == image]
        if len(by_id) == 1:
            return by_id[0]
        for shorten in (str, lambda name: Path(str(name)).name, _stem):
            wanted = shorten(image)
            fitting = [i["id"] for i in images if shorten(i.get("file_name", "")) == wanted]
            if len(fitting) == 1:
                return fitting[0]
    if len(images) == 1:
        return images[0]["id"]
    raise BadInputError(
        str(file),
        "one image, or the frame's name or [NAME] to choose one",
        f"{len(images)} images, none called {image!r}" if image else f"{len(images)} images",
    )


def _stem(name: str | int) -> str:
    """Return a file's name without folders and the endings of images; other dots stay."""
    stem = Path(str(name)).name
    while Path(stem).suffix.lower() in _ENDINGS:
        stem = Path(stem).stem
    return stem


def _finite(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata without the numbers that JSON does not have."""
    return {k: v for k, v in meta.items() if not isinstance(v, float) or np.isfinite(v)}


def _own_table(rows: list[dict[str, Any]], dtypes: Mapping[str, str]) -> Table:
    """Return our columns as they were written."""
    table = Table()
    for name in rows[0]:
        values = [row[name] for row in rows]
        missing = np.array([v is None for v in values])
        kind = SCHEMA[name].dtype if name in SCHEMA else dtypes.get(name)
        if kind is None and missing.any():
            there = {type(v) for v in values if v is not None}
            kind = "i8" if there == {int} else "bool" if there == {bool} else None
            kind = "U" if there == {str} else kind or "f8"
        if missing.any():
            fill = np.nan if kind and kind.startswith("f") else "" if kind == "U" else 0
            values = [fill if v is None else v for v in values]
        column = np.array(values, dtype=None if kind and kind.startswith("U") else kind)
        masked = missing.any() and column.dtype.kind in "biuU"
        table[name] = MaskedColumn(column, mask=missing) if masked else column
    return table


def _foreign_table(rows: list[dict[str, Any]], names: Mapping[Any, str]) -> Table:
    """Return positions and kinds of anybody's annotations."""
    xy = np.zeros((len(rows), 2))
    for index, row in enumerate(rows):
        points = row.get("keypoints")
        if points and len(points) == 3 and points[2]:
            xy[index] = points[:2]
        else:
            left, top, width, height = map(float, row["bbox"])
            xy[index] = left + width / 2 - 0.5, top + height / 2 - 0.5
    table = Table({"x": xy[:, 0], "y": xy[:, 1]})
    table["score"] = np.array([float(row.get("score", np.nan)) for row in rows], dtype=float)
    if names:
        kinds = [KIND_ALIASES.get(names[row["category_id"]], "point") for row in rows]
        table["kind"] = np.array(kinds, dtype="U6")
    if any(row.get("iscrowd") for row in rows):
        table["ignore"] = np.array([bool(row.get("iscrowd")) for row in rows])
    return table


def _boxes(catalog: Catalog, box_px: float) -> npt.NDArray[np.float64]:
    """Return left, top, width and height [px] of every source, shape (n, 4), pixel edges."""
    half_x = 0.5 * (np.abs(catalog["length"] * np.cos(catalog["theta"])) + box_px)
    half_y = 0.5 * (np.abs(catalog["length"] * np.sin(catalog["theta"])) + box_px)
    half_x, half_y = np.nan_to_num(half_x, nan=box_px / 2), np.nan_to_num(half_y, nan=box_px / 2)
    left, top = catalog["x"] + 0.5 - half_x, catalog["y"] + 0.5 - half_y
    return np.column_stack([left, top, 2 * half_x, 2 * half_y])


def _span(catalog: Catalog) -> tuple[int, int]:
    """Return rows and columns that hold every source."""
    if not len(catalog):
        return 1, 1
    return max(1, int(catalog["y"].max()) + 2), max(1, int(catalog["x"].max()) + 2)


def _plain(catalog: Catalog, name: str) -> list[Any]:
    """Return a column as JSON has it, None for what is missing."""
    column = catalog.table[name]
    values, missing = np.asarray(np.ma.getdata(column)), np.ma.getmaskarray(column)
    if values.ndim != 1 or values.dtype.kind not in "biufU":
        raise BadInputError(
            catalog.source, "one number or word a row for COCO", f"{name} of type {values.dtype}"
        )
    if values.dtype.kind == "f":
        if np.isinf(values[~missing]).any():
            raise BadInputError(catalog.source, "finite values or NaN for COCO", f"inf in {name}")
        missing = missing | np.isnan(values)
    pairs = zip(values.tolist(), missing.tolist(), strict=True)
    return [None if none else value for value, none in pairs]
