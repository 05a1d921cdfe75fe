"""Tests of frames in ASDF files, as of JWST and Roman, and of hostile ones."""

from __future__ import annotations

import builtins
import resource
import zlib
from pathlib import Path
from typing import Any

import asdf
import numpy as np
import pytest
from astropy.wcs import WCS
from helpers.asdf_files import array, block, write

from skyduel.cli.main import main
from skyduel.core import (
    BadInputError,
    Sectioning,
    entry_of,
    frame_name,
    open_dataset,
    open_large_image,
    read_catalog,
    read_frame,
    write_catalog,
    write_frame,
)
from skyduel.core.io.images.fits_metadata import IGNORED_KEY
from skyduel.simulation import SceneSettings, simulate

NY, NX = 40, 70
META = {
    "exposure": {"exposure_time": 140.0, "effective_exposure_time": 139.8},
    "photometry": {"conversion_megajanskys": 0.5, "pixel_area": 2.8e-13},
}


def pixels() -> np.ndarray:
    return np.random.default_rng(1).normal(5, 1, (NY, NX)).astype(np.float32)


def flags() -> np.ndarray:
    dq = np.zeros((NY, NX), np.uint32)
    dq[3, 4], dq[5, 6], dq[7, 8] = 1, 4, 5  # DO_NOT_USE, JUMP_DET, both
    return dq


def put(path: Path, tree: dict[str, Any], **how: Any) -> Path:
    asdf.AsdfFile(tree).write_to(path, **how)
    return path


def roman(path: Path, **how: Any) -> Path:
    return put(path, {"roman": {"data": pixels(), "dq": flags(), "meta": META}}, **how)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(a) for a in arguments])
    return int(leaving.value.code or 0)


@pytest.mark.parametrize("how", [{}, {"all_array_compression": "zlib"}])
def test_a_roman_image_with_its_facts(tmp_path: Path, how: dict[str, Any]) -> None:
    frame = read_frame(roman(tmp_path / "r0001.asdf", **how))
    np.testing.assert_array_equal(frame.data[~frame.bad], pixels()[~frame.bad])
    assert np.argwhere(frame.bad).tolist() == [[3, 4], [7, 8]]
    assert (frame.name, frame.exposure_s, frame.gain, frame.wcs) == ("r0001", 139.8, None, None)
    # 1 DN/s over a pixel is 0.5 MJy/sr times its area: 1.4e-7 Jy.
    assert frame.zero_point == pytest.approx(8.90 - 2.5 * np.log10(1.4e-7), abs=1e-9)
    assert frame.pixel_scale_arcsec == pytest.approx(0.10915, abs=1e-4)


def test_bits_and_other_arrays_may_be_chosen(tmp_path: Path) -> None:
    path = roman(tmp_path / "a.asdf")
    assert np.argwhere(read_frame(path, mask_bits=4).bad).tolist() == [[5, 6], [7, 8]]
    dq = f"{path}[roman/dq]"
    assert read_frame(path, mask=dq).bad.sum() == 3
    chosen = read_frame(dq)
    assert (chosen.name, chosen.data[7, 8]) == ("a_roman_dq", 5)
    assert not chosen.bad.any()
    assert entry_of(dq).name == "a_roman_dq" == frame_name(dq)
    for wanted, got in (("roman/err", "roman"), ("0", "roman"), ("roman/meta", "roman")):
        with pytest.raises(BadInputError, match=f"an image at {wanted}; got a tree with {got}"):
            read_frame(f"{path}[{wanted}]")


def test_a_plain_tree_with_a_header(tmp_path: Path) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [10, 20], [35, 20], [-1e-4, 1e-4]
    header = dict(wcs.to_header()) | {"SATURATE": 6e4, "OBJECT": "M 31", "MAGZERO": "24.5"}
    mask = np.zeros((NY, NX), np.uint8)
    mask[1, 2] = 2
    tree = {
        "data": pixels()[None].astype(">f8"), "mask": mask, "header": header,
        "meta": {"fwhm": 2.5, "gain": 1.6, "read_noise": 5.0, "saturation": "many"},
    }  # fmt: skip
    frame = read_frame(put(tmp_path / "p.asdf", tree))
    assert np.argwhere(frame.bad).tolist() == [[1, 2]]
    assert (frame.fwhm, frame.gain, frame.read_noise) == (2.5, 1.6, 5.0)
    assert (frame.saturation, frame.zero_point, frame.exposure_s) == (None, 24.5, None)
    assert "SATURATE = 'many'" in frame.header[IGNORED_KEY][0]
    assert frame.header["OBJECT"] == "M 31"
    assert frame.pixel_scale_arcsec == pytest.approx(0.36)
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.pixel_to_world_values(34, 19), [10, 20], atol=1e-9)
    assert read_frame(tmp_path / "p.asdf", gain=3.0, wcs=None, name="n").gain == 3.0


def test_units_and_coordinates_that_cannot_be_read(tmp_path: Path) -> None:
    meta = META | {"gain": 2.0, "wcs": {"steps": []}}
    quantity = {"unit": "DN / s", "value": pixels()}
    frame = read_frame(put(tmp_path / "q.asdf", {"data": quantity, "meta": meta}))
    np.testing.assert_array_equal(frame.data, pixels())
    assert frame.gain == pytest.approx(2.0 * 139.8)  # electrons per DN/s
    assert frame.header["BUNIT"] == "DN / s"
    assert frame.wcs is None
    assert "gwcs" in frame.header[IGNORED_KEY][0]
    untimed = {"data": quantity, "meta": {"gain": 2.0}}
    assert read_frame(put(tmp_path / "u.asdf", untimed)).gain is None
    sky = {"data": quantity | {"unit": "MJy/sr"}, "meta": META}
    zero = read_frame(put(tmp_path / "s.asdf", sky)).zero_point
    assert zero == pytest.approx(8.90 - 2.5 * np.log10(2.8e-7), abs=1e-9)
    plain = read_frame(put(tmp_path / "n.asdf", {"data": pixels(), "meta": META}))
    assert plain.zero_point is None  # in unknown units


def test_masked_arrays_are_masked(tmp_path: Path) -> None:
    values = np.ma.masked_array(pixels(), np.arange(NY * NX).reshape(NY, NX) < 5)
    frame = read_frame(put(tmp_path / "m.asdf", {"data": values}))
    assert np.argwhere(frame.bad).tolist() == [[0, k] for k in range(5)]


@pytest.mark.parametrize("how", [{}, {"all_array_compression": "bzp2"}])
def test_a_large_image_is_read_by_sections(tmp_path: Path, how: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(5, 1, (420, 610)).astype(np.float32)
    dq = (rng.random(data.shape) < 0.01).astype(np.uint32) * 3
    path = put(tmp_path / "l.asdf", {"roman": {"data": data, "dq": dq, "meta": META}}, **how)
    whole = read_frame(path)
    large = open_large_image(entry_of(path), Sectioning(448, 64))
    assert large is not None
    assert (large.name, large.shape, large.zero_point) == ("l", (420, 610), whole.zero_point)
    seen = 0
    for section, frame in large.frames():
        box = np.s_[section.y0 : section.y1, section.x0 : section.x1]
        np.testing.assert_array_equal(frame.data[~frame.bad], data[box][~frame.bad])
        np.testing.assert_array_equal(frame.bad, whole.bad[box])
        seen += 1
    assert seen == 2


def test_a_box_of_a_huge_image_takes_no_more_memory_than_itself(tmp_path: Path) -> None:
    side = 15_000
    n_bytes = side * side * 4
    path = write(
        tmp_path / "huge.asdf",
        f"data: {array([side, side])}",
        block(b"", size=n_bytes, used=n_bytes),
    )
    start = path.stat().st_size
    with path.open("r+b") as file:  # a hole but for its last row
        file.truncate(start + n_bytes)
        file.seek(start + n_bytes - side * 4)
        file.write(np.arange(side, dtype="<f4").tobytes())
    large = open_large_image(entry_of(path), Sectioning())
    assert large is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    box = large.image.read_box(slice(side - 2, side), slice(side - 3, side))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert box.tolist() == [[0, 0, 0], [side - 3, side - 2, side - 1]]
    assert grown < 200 * 1024  # of 0.8 GiB


def test_detect_and_run_take_a_set_of_asdf_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = tmp_path / "night"
    night.mkdir()
    fits_twin = tmp_path / "field.fits"
    for k in range(2):
        s = SceneSettings(ny=150, nx=170, density=2e-3, min_snr=8)
        frame, truth = simulate(s, np.random.default_rng(k), f"field_{k}")
        facts = ("gain", "read_noise", "saturation", "exposure_s", "zero_point", "fwhm")
        meta = {name: float(getattr(frame, name)) for name in facts if getattr(frame, name)}
        put(night / f"field_{k}.asdf", {"data": np.array(frame.data), "meta": meta})
        write_catalog(truth, night / f"field_{k}.ecsv")
        write_frame(frame, fits_twin)
    mask = np.zeros((150, 170), np.uint8)
    mask[:, :40] = 1
    put(night / "field_1_mask.asdf", {"data": mask})
    dataset = open_dataset(night)
    assert [e.name for e in dataset] == ["field_0", "field_1"]
    assert dataset.entries[1].mask == night / "field_1_mask.asdf"
    assert run("detect", night / "field_1.asdf", "--with", "sep", "--out", tmp_path / "c.ecsv") == 0
    assert run("detect", fits_twin, "--with", "sep", "--out", tmp_path / "f.ecsv") == 0
    found, twin = (read_catalog(tmp_path / f"{k}.ecsv") for k in "cf")
    assert found["x"].min() > 39
    assert 0 < len(found) < len(twin)
    assert run("run", night, "--out", tmp_path / "out", "--with", "sep") == 0
    capsys.readouterr()


def test_files_without_an_image_are_no_frames(tmp_path: Path) -> None:
    put(tmp_path / "sources.asdf", {"catalog": {"x": np.arange(3.0)}})
    roman(tmp_path / "a.asdf")
    assert [e.name for e in open_dataset(tmp_path)] == ["a"]
    with pytest.raises(BadInputError, match="an image at roman/data or data; got a tree with cat"):
        read_frame(tmp_path / "sources.asdf")


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = roman(tmp_path / "a.asdf")
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "asdf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(BadInputError, match=r"pip install 'skyduel\[asdf\]'"):
        read_frame(path)


ROW = np.zeros(NX * NY, "<f4").tobytes()
HOSTILE = {
    "promises too much": (
        f"data: {array([2**16, 2**16])}", [block(ROW)], "a block of 17179869184 bytes"
    ),
    "more pixels than any": (f"data: {array([2**30, 2**30])}", [block(ROW)], "at most 8589934592"),
    "cut short": (f"data: {array([NY, NX])}", [block(ROW, used=2**40)], "a complete block 0"),
    "bomb": (
        f"data: {array([30_000, 30_000])}",
        [block(zlib.compress(ROW), size=3_600_000_000, packing=b"zlib")],
        "30000 pixels of at most 512 MiB",
    ),
    "a larger block than it says": (
        f"data: {array([4, 4])}",
        [block(zlib.compress(bytes(10**6)), size=64, packing=b"zlib")],
        "a readable ASDF image",
    ),
    "an unknown packing": (
        f"data: {array([NY, NX])}", [block(ROW, packing=b"what")], "a readable ASDF image"
    ),
    "another file": (
        f"data: {array([NY, NX], 'http://localhost/a.asdf')}", [block(ROW)], "a binary block"
    ),
    "another file by a number in quotes": (
        f"data: {array([NY, NX], chr(39) + '0' + chr(39))}", [block(ROW)], "a binary block"
    ),
    "a mask in another file": (
        f"data: {array([NY, NX], more=', mask: ' + array([NY, NX], 'x.asdf'))}",
        [block(ROW)], "a binary block",
    ),
    "no such block": (f"data: {array([NY, NX], 7)}", [block(ROW)], "among the 1 of the file"),
    "three dimensions": (f"data: {array([3, NY, NX])}", [block(ROW)], "two-dimensional"),
    "no size": (f"data: {array([0, NX])}", [block(ROW)], "two-dimensional"),
    "an unlimited axis": (f"data: {array(['*', NX])}", [block(ROW)], "two-dimensional"),
    "complex": (f"data: {array([4, 4], kind='complex64')}", [block(ROW)], "real pixel values"),
    "a record": (f"data: {array([4, 4], kind='[int8, int8]')}", [block(ROW)], "real pixel values"),
    "an offset before the block": (
        f"data: {array([4, 4], more=', offset: -8')}", [block(ROW)], "a block of 64 bytes"
    ),
    "strides out of the block": (
        f"data: {array([4, 4], more=', strides: [99999, 4]')}", [block(ROW)], "a readable ASDF"
    ),
    "a list": ("- 1", [], "a tree with an image"),
    "no YAML": ("data: [", [], "a readable ASDF image"),
    "an object of Python": (
        f"x: !!python/object/apply:os.mkdir ['made']\ndata: {array([NY, NX])}",
        [block(ROW)], "an image whose pixels vary",  # the object is never made
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree, blocks, message = HOSTILE[name]
    path = write(tmp_path / "h.asdf", tree, *blocks)
    with pytest.raises(BadInputError, match=message) as refusal:
        read_frame(path)
    assert len(str(refusal.value).splitlines()) == 1
    assert not (tmp_path / "made").exists()


def test_text_cut_or_foreign_is_refused(tmp_path: Path) -> None:
    path = roman(tmp_path / "a.asdf")
    content = path.read_bytes()
    for content_, message in (
        (content[:300], "a tree of at most 16 MiB; got no end of it"),
        (content[:-9000], "a complete block"),
        (b"hello", "an ASDF file; got a file that starts with b'hello'"),
    ):
        (tmp_path / "b.asdf").write_bytes(content_)
        with pytest.raises(BadInputError, match=message):
            read_frame(tmp_path / "b.asdf")
    # The content counts, not the ending.
    (tmp_path / "c.fits").write_bytes(content)
    assert read_frame(tmp_path / "c.fits").exposure_s == 139.8
