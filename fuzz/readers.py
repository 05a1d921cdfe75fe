"""The readers under test: valid files to damage, and the function that reads a file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS

from skyduel.core import Catalog, Frame, open_dataset, read_catalog, read_frame, write_catalog
from skyduel.core.io.fits_frames import write_frame

__all__ = ["READERS", "Reader"]

_BYTES = ("flip", "cut", "drop", "insert", "repeat")
_TEXT = (*_BYTES, "number", "number", "word", "word")
_FITS = (*_BYTES, "card", "card", "card", "value", "value")


@dataclass(frozen=True)
class Reader:
    """A reader under test.

    Parameters
    ----------
    seeds : callable
        Function of a folder that returns valid files: name to content. A seed ``a.gz`` is
        packed either before or after the damage.
    read : callable
        Function that reads one damaged file.
    kinds : sequence of str
        Kinds of damage (`edits`).
    slow_s : float
        Time limit of a case on these small files [s of processor time].
    """

    seeds: Callable[[Path], Mapping[str, bytes]]
    read: Callable[[Path], Any]
    kinds: Sequence[str]
    slow_s: float = 10.0


@cache
def _frame() -> Frame:
    rng = np.random.default_rng(5)
    data = rng.normal(100, 5, (21, 34)).astype(np.float32)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [10, 20], [17, 10], [-3e-4, 3e-4]
    mask = np.zeros((21, 34), bool)
    mask[3, 4] = True
    facts: dict[str, Any] = {"gain": 1.5, "saturation": 6e4, "fwhm": 2.5, "zero_point": 25.0}
    return Frame(data=data, mask=mask, wcs=wcs, name="f", header={"OBJECT": "M 1"}, **facts)


@cache
def _catalog() -> Catalog:
    rng = np.random.default_rng(6)
    n = 7
    return Catalog.build(
        x=rng.uniform(0, 30, n),
        y=rng.uniform(0, 20, n),
        flux=rng.uniform(10, 1e4, n),
        mag=[18.5, np.nan, 20, 21, 17, 16, 22],
        score=rng.uniform(0, 1, n),
        kind=["point"] * 5 + ["streak"] * 2,
        length=[0.0] * 5 + [12.0, 9.0],
        ignore=[False, True] + [False] * 5,
        note=["a", "b c", "", "d", "e", "f", "g"],
        meta={"program": "x", "number": 3},
    )


def _frames(folder: Path) -> dict[str, bytes]:
    frame = _frame()
    made = {}
    for name, dtype in (
        ("a.fits", "f4"),
        ("b.fits", "i2"),
        ("c.fits.fz", "f4"),
        ("d.fits.fz", "i2"),
    ):
        write_frame(frame, folder / name, dtype=dtype)
        made[name] = (folder / name).read_bytes()
    made["e.fits.gz"], made["g.fits.bz2"] = made["a.fits"], made["b.fits"]
    made["h.fits.xz"] = made["b.fits"]
    return made


def _tables(*names: str) -> Callable[[Path], dict[str, bytes]]:
    def seeds(folder: Path) -> dict[str, bytes]:
        catalog, made = _catalog(), {}
        for name in names:
            plain = Catalog(catalog.table.copy(), "seed")
            if name.endswith((".cat", ".reg", ".ldac")):
                plain.table.remove_column("note")
            if "missing" in name:
                plain = Catalog(_masked(plain), "seed")
            write_catalog(plain, folder / name)
            made[name] = (folder / name).read_bytes()
        return made

    return seeds


def _masked(catalog: Catalog) -> Any:
    from astropy.table import Table

    table = Table(catalog.table, masked=True)
    table["flux"].mask[2] = True
    return table


def _text_tables(folder: Path) -> dict[str, bytes]:
    made = _tables("a.csv")(folder)
    lines = made["a.csv"].decode()
    made["b.tsv"] = lines.replace(",", "\t").encode()
    made["c.csv"] = lines.replace(",", ";").encode()
    made["d.txt"] = b"# ra dec mag\n10.0 20.0 18\n10.001 20.001 19\n"
    made["e.csv.gz"] = made["a.csv"]
    made["f.csv.xz"] = made["a.csv"]
    return made


def _votables(folder: Path) -> dict[str, bytes]:
    made = {}
    for form in ("tabledata", "binary", "binary2"):
        path = folder / f"{form}.vot"
        _catalog().table.write(path, format="votable", tabledata_format=form, overwrite=True)
        made[path.name] = path.read_bytes()
    return made


def _read_table(path: Path) -> None:
    from skyduel.core import BadInputError

    try:
        catalog = read_catalog(path, frame=_frame())
    except BadInputError:
        catalog = read_catalog(path, on_sky=True)
    repr(catalog)
    len(catalog.select(np.arange(min(2, len(catalog)))))


def _manifests(folder: Path) -> dict[str, bytes]:
    text = "name,frame,truth,split,group,mask,mask_bits\na,a.fits,a.csv,test,g,m.fits,3\nb,b.fits,,calibration,,,\n"
    table = (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: frame, datatype: string}\n"
        "# - {name: split, datatype: string}\n# schema: astropy-2.0\nframe split\na.fits test\n"
    )
    return {"manifest.csv": text.encode(), "other.ecsv": table.encode()}


def _sex(path: Path) -> None:
    from skyduel.baseline.sextractor_files import read_sex

    read_sex(path)


def _sep_from_sex(path: Path) -> None:
    from skyduel.baseline.sep.detector import sep_default

    sep_default(config=path)


def _conv(path: Path) -> None:
    from skyduel.baseline.sextractor_files import read_conv

    read_conv(path)


def _param(path: Path) -> None:
    from skyduel.baseline.sextractor_files import read_param

    read_param(path)


def _toml(path: Path) -> None:
    from skyduel.cli.commands.options import detector_specs, read_config
    from skyduel.runner.detector_specs import build

    for one in detector_specs(read_config(path), None, None, ["sep"]):
        build(one)


def _weights(folder: Path) -> dict[str, bytes]:
    from skyduel.detect.model.backbones import ResNetSettings
    from skyduel.detect.model.network import Network, NetworkSettings
    from skyduel.detect.model.weights import Calibration, save_weights

    s = NetworkSettings(
        backbone=ResNetSettings(stem=4, blocks=(1, 1, 1, 1), planes=(4, 4, 4, 4)),
        pyramid=8,
        proposals=8,
        head=16,
        roi_size=3,
    )
    save_weights(folder / "w.safetensors", Network(s).state_dict(), s, Calibration(), {"steps": 1})
    return {"w.safetensors": (folder / "w.safetensors").read_bytes()}


def _read_weights(path: Path) -> None:
    from skyduel.detect.model.weights import read_weights

    read_weights(path)


def _run_parts(folder: Path) -> dict[str, bytes]:
    from skyduel.evaluation import ScoringRules
    from skyduel.runner.builtin_dataset import make_frames
    from skyduel.runner.detector_specs import parse_specs
    from skyduel.runner.run import RunPlan, run

    kept = folder / "finished"
    if not (kept / "report").exists():
        plan = [("field_000", "field", "test"), ("cal_000", "field", "calibration")]
        make_frames(folder / "sky", plan, 3, ny=64, nx=80)
        dataset = open_dataset(folder / "sky")
        specs = parse_specs(["sep"], ())
        run(RunPlan(dataset, specs, ScoringRules(n_bootstrap=20), kept))
        (kept / "report").mkdir()
    names = ("run.json", "counts.parquet", "scores.parquet", "sweep.parquet", "limits.parquet",
             "comparisons.parquet", "truth/field_000.parquet", "catalogs/sep/field_000.parquet",
             "pairs/sep/default/field_000.parquet", "previews/field_000.png")  # fmt: skip
    made = {name: (kept / name).read_bytes() for name in names}
    return {**{f"run.json#{i}": made["run.json"] for i in range(6)}, **made}


def _read_run(path: Path) -> None:
    """Read the run folder of `path`, with everything the report needs."""
    from rich.console import Console

    from skyduel.cli.terminal_summary import run_summary
    from skyduel.run_folder import load_run

    folder = next(p for p in path.parents if (p / "counts.parquet").exists())
    run = load_run(folder)
    with open("/dev/null", "w") as nowhere:
        Console(file=nowhere).print(run_summary(run))
    for frame in run.scored_frames:
        run.frame(frame), run.truth(frame), run.preview(frame)
        for detector in run.detectors:
            run.catalog(detector, frame)
            for point in run.points:
                run.pairs(detector, point, frame)
    len(run.comparisons), len(run.analysis("mistakes")), run.name, run.groups, run.failures


def _draw_run(path: Path) -> None:
    from skyduel.reports import write_report

    write_report(next(p for p in path.parents if (p / "counts.parquet").exists()))


def _compare_run(path: Path) -> None:
    """Compare the damaged run with itself, and its one detector with that of the undamaged run."""
    from skyduel.run_folder.compare_runs import compare_detectors, run_detector

    folder = next(p for p in path.parents if (p / "counts.parquet").exists())
    damaged = run_detector(folder, "sep")
    for other in (damaged, run_detector(folder.parent / "made" / "finished", "sep")):
        compare_detectors(damaged, other, ["default", "purity95"])


def _asdf_images(folder: Path) -> dict[str, bytes]:
    """Return a Roman-like and a plain tree, plain and compressed."""
    import asdf

    frame = _frame()
    meta = {"exposure": {"exposure_time": 139.8}, "gain": 1.5, "fwhm": 2.5}
    data, mask = np.array(frame.data), frame.bad.astype(np.uint32)
    header = dict(frame.wcs.to_header()) if frame.wcs is not None else {}
    trees = {
        "roman.asdf": ({"roman": {"data": data, "dq": mask, "meta": meta}}, None),
        "plain.asdf": ({"data": data, "mask": mask, "meta": meta, "header": header}, None),
        "zlib.asdf": ({"data": data, "dq": mask, "meta": meta}, "zlib"),
    }
    for name, (tree, packing) in trees.items():
        asdf.AsdfFile(tree).write_to(folder / name, all_array_compression=packing)
    return {name: (folder / name).read_bytes() for name in trees}


def _fixed(**files: str) -> Callable[[Path], dict[str, bytes]]:
    named = {re.sub("__", ".", name): text.encode() for name, text in files.items()}
    return lambda folder: dict(named)


_TOML_SEED = """detectors = ["sep", "deep"]
workers = 2
[rules]
radius_px = 2.0
bins = "16:22:0.5"
[detector.deep]
use = "sep"
DETECT_THRESH = 2.5
"""
_SEX_SEED = """# settings
DETECT_MINAREA 5
DETECT_THRESH  1.5,2.0
FILTER Y
BACK_SIZE 64
PHOT_APERTURES 5.0
SATUR_LEVEL 50000.0
WEIGHT_TYPE NONE
"""

READERS: Mapping[str, Reader] = {
    "fits-image": Reader(_frames, read_frame, _FITS),
    "asdf-image": Reader(_asdf_images, read_frame, _TEXT),
    "fits-table": Reader(_tables("a.fits", "missing.fits"), _read_table, _FITS),
    "ldac": Reader(_tables("a.ldac"), _read_table, _FITS),
    "ecsv": Reader(_tables("a.ecsv", "missing.ecsv"), _read_table, _TEXT),
    "votable": Reader(_votables, _read_table, _TEXT),
    "text": Reader(_text_tables, _read_table, _TEXT),
    "sextractor": Reader(_tables("a.cat"), _read_table, _TEXT),
    "parquet": Reader(_tables("a.parquet", "missing.parquet"), _read_table, _BYTES),
    "coco": Reader(_tables("a.json"), _read_table, (*_TEXT, "node", "node", "node", "node")),
    "manifest": Reader(_manifests, open_dataset, _TEXT),
    "sex": Reader(_fixed(a__sex=_SEX_SEED), _sex, _TEXT),
    "sep-from-sex": Reader(
        _fixed(a__sex=_SEX_SEED.replace("1.5,2.0", "1.5")),  # of two thresholds it takes none
        _sep_from_sex,
        _TEXT,
    ),
    "conv": Reader(_fixed(a__conv="CONV NORM\n# 3x3\n1 2 1\n2 4 2\n1 2 1\n"), _conv, _TEXT),
    "param": Reader(_fixed(a__param="NUMBER\nX_IMAGE\nFLUX_APER(3)\nVIGNET(35,35)\n"), _param, _TEXT),
    "toml": Reader(_fixed(a__toml=_TOML_SEED), _toml, _TEXT),
    "weights": Reader(_weights, _read_weights, (*_BYTES, "header", "header", "header", "number")),
    "run": Reader(_run_parts, _read_run, (*_BYTES, "node", "node", "node", "node", "node", "node")),
    "compare": Reader(_run_parts, _compare_run, (*_BYTES, "node", "node", "node", "node", "node", "node")),
    "report": Reader(_run_parts, _draw_run, (*_BYTES, "node", "node", "node", "node", "node", "node"), slow_s=60),
}  # fmt: skip


def packed(name: str, content: bytes) -> bytes:
    """Pack the content according to the ending of the name."""
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(Path(name).suffix)
    return content if pack is None else pack(content)


__all__ += ["packed"]
