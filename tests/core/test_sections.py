"""Frames read by sections have the same pixels, and give one catalogue without seams."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

from skyduel.core import (
    PIXEL_FEATURES,
    BadInputError,
    Catalog,
    Entry,
    Frame,
    Sectioning,
    entry_of,
    estimate_background,
    forced_photometry,
    merge_sections,
    open_large_image,
    pixel_features,
    read_catalog,
    read_frame,
    write_catalog,
    write_frame,
)
from skyduel.core.registry import make_detector
from skyduel.core.sections.large_image import PackedMask
from skyduel.evaluation import ScoringRules
from skyduel.run_folder.layout import RunPaths
from skyduel.runner.detect_frame import detect_frame, prepare_truth
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.large_images import detect_by_sections, measure_by_sections
from skyduel.simulation import draw_settings, simulate

CUTTING = Sectioning(512, 128)


@pytest.fixture(scope="module")
def sky(tmp_path_factory) -> Path:
    """One frame of 1 Mpx with truth, plain and in tiles."""
    folder = tmp_path_factory.mktemp("mosaic")
    rng = np.random.default_rng(3)
    frame, truth = simulate(draw_settings("dirty", rng, ny=1100, nx=900), rng, "m")
    mask = np.zeros(frame.shape, bool)
    mask[:400, 620:] = True
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [450, 550]
    wcs.wcs.cdelt, wcs.wcs.crval = [-1e-3, 1e-3], [30.0, 40.0]
    frame = frame.with_(mask=mask, wcs=wcs)
    write_frame(frame, folder / "m.fits", dtype="uint16")
    write_frame(frame, folder / "packed.fits.fz", dtype="uint16")
    (folder / "whole.fits.gz").write_bytes(gzip.compress((folder / "m.fits").read_bytes(), 1))
    for name in ("m", "packed", "whole"):
        write_catalog(truth, folder / f"{name}.ecsv")
    return folder


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.integers(200, 900),
    st.sampled_from([0, 1, 64, 65]),
)
def test_cores_cover_a_frame_once(ny, nx, section_px, overlap_px) -> None:
    if section_px < 2 * Sectioning(4096, overlap_px).margin_px + 64:
        with pytest.raises(BadInputError, match="section_px"):
            Sectioning(section_px, overlap_px)
        return
    sectioning = Sectioning(section_px, overlap_px)
    seen = np.zeros((ny, nx), dtype=np.uint8)
    for s in sectioning.sections((ny, nx)):
        seen[s.core_y0 : s.core_y1, s.core_x0 : s.core_x1] += 1
        assert max(s.y1 - s.y0, s.x1 - s.x0) <= section_px
        assert s.y0 % 64 == s.x0 % 64 == s.core_y0 % 64 == s.core_x0 % 64 == 0
        for start, core_start, core_stop, stop, n in (
            (s.y0, s.core_y0, s.core_y1, s.y1, ny),
            (s.x0, s.core_x0, s.core_x1, s.x1, nx),
        ):
            assert start == max(0, core_start - sectioning.margin_px)
            assert stop == min(n, core_stop + sectioning.margin_px)
    assert (seen == 1).all()


@pytest.mark.parametrize("name", ["m.fits", "packed.fits.fz", "whole.fits.gz"])
def test_sections_are_the_pixels_of_the_whole(sky, name) -> None:
    entry = entry_of(sky / name)
    whole = entry.read()
    mosaic = open_large_image(entry, CUTTING)
    assert mosaic is not None
    assert (mosaic.shape, mosaic.name) == (whole.shape, whole.name)
    empty = 0
    for section in mosaic.sections:
        box = (slice(section.y0, section.y1), slice(section.x0, section.x1))
        frame = mosaic.read(section)
        if frame is None:
            empty += 1
            assert whole.bad[box].all()
            continue
        assert np.array_equal(frame.data, whole.data[box])
        assert np.array_equal(frame.bad, whole.bad[box])
        assert (frame.gain, frame.saturation, frame.fwhm, frame.zero_point) == (
            whole.gain, whole.saturation, whole.fwhm, whole.zero_point,
        )  # fmt: skip
        assert np.allclose(
            frame.wcs.all_pix2world([[3, 5]], 0),
            whole.wcs.all_pix2world([[3 + section.x0, 5 + section.y0]], 0),
            rtol=0, atol=1e-12,
        )  # fmt: skip
    assert empty >= 1
    assert (
        open_large_image(entry, Sectioning(1000)) is None
    )  # 0.99 Mpx are not more than 1000 squared
    assert open_large_image(entry, Sectioning(990)) is not None


def test_masks_and_weights_beside_a_mosaic_are_read_by_sections(tmp_path) -> None:
    rng = np.random.default_rng(1)
    ny, nx = 500, 700
    fits.writeto(tmp_path / "a.fits", rng.normal(9, 2, (ny, nx)).astype(np.float32))
    fits.writeto(tmp_path / "mask.fits", rng.integers(0, 8, (ny, nx)).astype(np.int16))
    fits.writeto(tmp_path / "w.fits", rng.integers(0, 5, (ny, nx)).astype(np.float32))
    entry = Entry(
        "a", tmp_path / "a.fits", mask=tmp_path / "mask.fits", weight=tmp_path / "w.fits",
        mask_bits=4,
    )  # fmt: skip
    whole, mosaic = entry.read(), open_large_image(entry, Sectioning(400, 64))
    for s, frame in mosaic.frames():
        assert np.array_equal(frame.bad, whole.bad[s.y0 : s.y1, s.x0 : s.x1])
    fits.writeto(tmp_path / "short.fits", np.ones((ny, nx - 1), np.float32))
    other = Entry("a", tmp_path / "a.fits", weight=tmp_path / "short.fits")
    with pytest.raises(BadInputError, match=r"weight map of the image's shape \(500, 700\)"):
        open_large_image(other, Sectioning(400, 64))


def test_faults_of_a_mosaic_are_told_as_those_of_a_frame(tmp_path) -> None:
    constant = np.full((500, 700), 7, np.float32)
    fits.writeto(tmp_path / "flat.fits", constant)
    with pytest.raises(BadInputError, match="pixels vary"):
        list(open_large_image(entry_of(tmp_path / "flat.fits"), Sectioning(400, 64)).frames())
    fits.writeto(tmp_path / "nan.fits", constant * np.nan)
    with pytest.raises(BadInputError, match="at least one usable pixel"):
        list(open_large_image(entry_of(tmp_path / "nan.fits"), Sectioning(400, 64)).frames())
    cut = tmp_path / "cut.fits"
    cut.write_bytes((tmp_path / "flat.fits").read_bytes()[:-9000])
    with pytest.raises(BadInputError, match="cut short"):
        open_large_image(entry_of(cut), Sectioning(400, 64))


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_packed_mask_reads_like_an_array(seed, value) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((333, 501)) < 0.3
    packed = PackedMask(mask.shape, value)
    y, x = rng.integers(0, 333, 99), rng.integers(0, 501, 99)
    assert (packed[y, x] == value).all()
    for s in Sectioning(200, 64).sections(mask.shape):
        packed.put(s, mask[s.y0 : s.y1, s.x0 : s.x1])
    assert np.array_equal(packed[y, x], mask[y, x])


def parts_of(shape, xy, *, rng, jitter, **columns):
    """What sections would report if each saw these sources, a little off."""
    parts = []
    for s in CUTTING.sections(shape):
        near = s.reads(*xy.T)
        seen = xy[near] + rng.uniform(-jitter, jitter, (int(near.sum()), 2)) - [s.x0, s.y0]
        extra = {k: np.asarray(v)[near] for k, v in columns.items()}
        parts.append((s, Catalog.build(x=seen[:, 0], y=seen[:, 1], **extra)))
    return parts


@given(st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_points_are_neither_doubled_nor_lost(seed) -> None:
    rng = np.random.default_rng(seed)
    shape = (1100, 900)
    lattice = np.stack(np.meshgrid(np.arange(1, 899, 6.0), np.arange(2, 1098, 4.0)), -1)
    xy = lattice.reshape(-1, 2) + rng.uniform(-0.9, 0.9, (lattice.size // 2, 2))
    number = np.arange(len(xy))
    found = merge_sections(parts_of(shape, xy, rng=rng, jitter=0.3, flags=number))
    assert sorted(found["flags"]) == list(number)  # each once
    assert np.abs(found.xy - xy[found["flags"]]).max() <= 0.3
    # Where all sections agree, the owner's row is the one that stays.
    exact = merge_sections(parts_of(shape, xy, rng=rng, jitter=0.0, flags=number))
    assert np.array_equal(exact.xy, xy[exact["flags"]])


def test_close_points_of_one_section_stay_two() -> None:
    rng = np.random.default_rng(0)
    seam = CUTTING.sections((1100, 900))[0].core_x1
    xy = np.array([[seam - 0.9, 100.0], [seam - 0.1, 100.0], [300.0, 300.0]])
    found = merge_sections(parts_of((1100, 900), xy, rng=rng, jitter=0.0))
    assert sorted(map(tuple, found.xy)) == sorted(map(tuple, xy))


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, 1.5])
@pytest.mark.parametrize("length", [30.0, 300.0, 800.0])
def test_a_streak_across_seams_is_reported_once_and_whole(angle, length) -> None:
    shape = (1100, 900)
    centre, step = np.array([449.0, 551.0]), np.array([np.cos(angle), np.sin(angle)])
    ends = centre + step * length / 2 * np.array([[-1], [1]])
    parts = []
    for s in CUTTING.sections(shape):
        along = np.linspace(-length / 2, length / 2, 20001)
        at = centre + along[:, None] * step
        seen = along[s.reads(*at.T)]
        if seen.size < 2 or np.ptp(seen) < 4:
            parts.append((s, Catalog.empty()))
            continue
        x, y = centre + step * seen[[0, -1]].mean() - [s.x0, s.y0]
        parts.append(
            (s, Catalog.build(x=[x], y=[y], length=[np.ptp(seen)], theta=[angle],
                              kind=["streak"], score=[np.ptp(seen)], flux=[2 * np.ptp(seen)],
                              flags=[1 << len(parts)]))
        )  # fmt: skip
    found = merge_sections(parts, zero_point=25.0)
    assert len(found) == 1
    assert found["length"][0] == pytest.approx(length, abs=8.1)
    got = found.xy[0] + step * found["length"][0] / 2 * np.array([[-1], [1]])
    assert np.abs(np.sort(got, axis=0) - np.sort(ends, axis=0)).max() < 8.1
    assert found["flux"][0] == pytest.approx(2 * found["length"][0], rel=1e-6)
    assert found["theta"][0] == pytest.approx(angle, abs=1e-3)


def test_two_streaks_beside_each_other_stay_two_and_a_stub_is_not_a_point() -> None:
    shape = (600, 900)
    a, b, *_ = CUTTING.sections(shape)
    seam = float(a.core_x1)
    # A sees one streak leave it; B, in whose core it ends, takes that end for a point.
    first = Catalog.build(
        x=[seam - 20, seam - 20], y=[50.0, 62.0], length=[60.0, 60.0], theta=[0, 0],
        kind=["streak", "streak"],
    )  # fmt: skip
    second = Catalog.build(
        x=np.array([seam + 7, seam + 40, seam - 20]) - b.x0, y=[50.5, 50.0, 62.0],
        length=[0, 0, 60.0], theta=[0, 0, 0], kind=["point", "point", "streak"],
    )  # fmt: skip
    found = merge_sections([(a, first), (b, second)])
    assert sorted(found["y"][found.is_streak]) == [50.0, 62.0]
    assert found["x"][~found.is_streak].tolist() == [seam + 40]


def both(sky: Path):
    entry = entry_of(sky / "m.fits")
    return entry.read(), open_large_image(entry, CUTTING)


def test_the_background_of_a_section_is_nearly_that_of_the_whole(sky) -> None:
    whole, mosaic = both(sky)
    sky_all = estimate_background(whole)
    for section, frame in mosaic.frames():
        part = estimate_background(frame)
        core = (
            slice(section.core_y0, section.core_y1),
            slice(section.core_x0, section.core_x1),
        )
        good = ~whole.bad[core]
        if not good.any():
            continue
        level = (part.level[section.core] - sky_all.level[core])[good]
        ratio = (part.rms[section.core] / sky_all.rms[core])[good]
        assert np.abs(level).max() < 0.05 * sky_all.global_rms
        assert np.abs(ratio - 1).max() < 0.03


@pytest.mark.parametrize("name", ["sep-matched", "sep"])
def test_sections_find_what_the_whole_frame_gives(sky, name) -> None:
    whole, mosaic = both(sky)
    detector = make_detector(name, {})
    one, other = detector(whole), detect_by_sections(detector, mosaic)
    sure = 1.2 * 4.0  # what lies at the floor may fall either way
    for a, b in ((one, other), (other, one)):
        apart, _ = KDTree(b.xy).query(a.xy[a["score"] > sure])
        assert (apart > 1).mean() < 0.02
    apart, _ = KDTree(other.xy).query(one.xy)
    assert np.median(apart) < 1e-3
    assert len(other) == pytest.approx(len(one), rel=0.02)
    # No two detections on a seam that the whole frame has once.
    lonely, _ = KDTree(other.xy).query(other.xy, k=2)
    assert (lonely[:, 1] < 1).sum() <= (KDTree(one.xy).query(one.xy, k=2)[0][:, 1] < 1).sum()


def test_the_network_finds_by_sections_of_a_packed_frame_what_it_finds_on_the_whole(sky) -> None:
    entry = entry_of(sky / "packed.fits.fz")
    mosaic = open_large_image(entry, CUTTING)
    detector = build(DetectorSpec(name="neural", use="neural"))
    one, other = detector(entry.read()), detect_by_sections(detector, mosaic)
    assert len(mosaic.sections) >= 20
    assert len(one) > 500
    for a, b in ((one, other), (other, one)):
        points = ~a.is_streak
        apart, at = KDTree(b.xy[~b.is_streak]).query(a.xy[points])
        score, same = a["score"][points], b["score"][~b.is_streak][at]
        # Sections this small have profiles of their own: what is doubtful crosses the floor.
        assert (apart > 1).mean() < 0.08
        assert (apart[score > 0.5] > 1).mean() < 0.005
        assert np.median(apart) < 0.01
        assert np.median(np.abs(score - same)) < 0.006
        assert np.quantile(np.abs(score - same), 0.95) < 0.1
        assert np.quantile(np.abs(score - same)[score > 0.9], 0.95) < 0.005
    assert len(other) == pytest.approx(len(one), rel=0.05)
    # None is doubled on a seam: no more are as near to each other as on the whole.
    close = []
    for c in (one, other):
        xy = c.xy[~c.is_streak & (c["score"] > 0.2)]
        close.append(int((KDTree(xy).query(xy, k=2)[0][:, 1] < 1).sum()))
    assert close[1] <= close[0]
    sure = [c.xy[c.is_streak & (c["score"] > 0.5)] for c in (one, other)]
    assert len(sure[0]) == len(sure[1])


def test_common_measurements_by_section_are_those_of_the_frame(sky) -> None:
    whole, mosaic = both(sky)
    truth = read_catalog(sky / "m.ecsv", frame=whole)
    long = Catalog.build(
        x=[450.0, 200.0, -30.0], y=[700.0, 560.0, 40.0], kind=["streak"] * 3,
        length=[900.0, 40.0, 100.0], theta=[0.7, -1.0, 0.2],
    )  # fmt: skip
    for catalog in (truth, long):
        back = estimate_background(whole)
        one = forced_photometry(whole, catalog, background=back)
        one = pixel_features(whole, one, background=back)
        seen = measure_by_sections(mosaic, catalog, preview=True)
        other, error = seen.catalog, one["aper_flux_err"]
        assert np.array_equal(np.isnan(other["aper_flux"]), np.isnan(one["aper_flux"]))
        off = np.abs(other["aper_flux"] - one["aper_flux"]) / error
        assert np.nanmax(off) < 0.1
        assert np.allclose(other["aper_flux_err"], error, rtol=0.02, equal_nan=True)
        np.testing.assert_allclose(other["mask_distance"], one["mask_distance"], atol=1e-6)
        for name in set(PIXEL_FEATURES) - {"mask_distance"}:
            both_known = np.isfinite(one[name]) & np.isfinite(other[name])
            # A section without a usable pixel is not even read.
            assert both_known.sum() >= 0.96 * np.isfinite(one[name]).sum()
            scale = np.nanmedian(one["line_flux_err"]) if name.startswith("line") else 1.0
            assert np.median(np.abs(one[name] - other[name])[both_known]) < 0.05 * scale
    assert seen.mpix == np.count_nonzero(~whole.bad) / 1e6
    y, x = np.mgrid[0 : whole.shape[0], 0 : whole.shape[1]]
    assert np.array_equal(seen.bad[y.ravel(), x.ravel()], whole.bad.ravel())
    assert np.array_equal(seen.saturated[y.ravel(), x.ravel()] & ~whole.bad.ravel(),
                          (whole.saturated() & ~whole.bad).ravel())  # fmt: skip


def test_a_worker_takes_a_mosaic_as_it_takes_a_frame(sky, tmp_path) -> None:
    from PIL import Image

    entry, rules = entry_of(sky / "packed.fits.fz"), ScoringRules(edge_px=5)
    done = {}
    for name, sectioning in (("whole", Sectioning()), ("cut", CUTTING)):
        place = tmp_path / name
        paths = RunPaths(place)
        truth = prepare_truth(entry, rules, paths, sectioning)
        found = detect_frame(
            DetectorSpec(name="sep", use="sep"),
            entry,
            rules,
            place / "c.parquet",
            sectioning=sectioning,
        )
        assert (truth.reason, found.reason) == (None, None)
        written = [read_catalog(path) for path in (paths.truth("packed"), place / "c.parquet")]
        pictures = [Image.open(path) for path in (paths.preview("packed"), paths.mask("packed"))]
        done[name] = (truth.facts, found.facts, *written, *map(np.asarray, pictures))
    one, other = done["whole"], done["cut"]
    assert one[0] == other[0]
    assert (one[1]["sections"], other[1]["sections"]) == (1, len(CUTTING.sections((1100, 900))))
    for column in ("x", "y", "ignore", "ignore_reason"):
        assert np.array_equal(one[2][column], other[2][column]), column
    assert set(one[3].table.colnames) == set(other[3].table.colnames)
    assert other[3]["ignore"].sum() == pytest.approx(one[3]["ignore"].sum(), abs=3)
    assert np.isfinite(other[3]["ra"]).all()
    shared = ~read_frame(entry.frame).bad[::-1]
    assert np.array_equal(one[5], other[5])
    assert np.array_equal(one[5], read_frame(entry.frame).bad[::-1])
    apart = np.abs(one[4].astype(int) - other[4].astype(int))[shared]
    assert np.median(apart) <= 3  # another sample says what the sky is


def test_catalogues_from_files_need_no_sections(sky, tmp_path) -> None:
    truth = read_catalog(sky / "m.ecsv")
    write_catalog(truth.with_columns(score=truth["snr"]), tmp_path / "m.csv")
    detector = make_detector("file", {"folder": str(tmp_path)})
    _, mosaic = both(sky)
    assert np.allclose(detect_by_sections(detector, mosaic).xy, truth.xy)


def test_what_is_no_catalogue_is_refused(sky) -> None:
    class Rubbish:
        name, settings = "rubbish", None

        def __call__(self, frame: Frame) -> object:
            return []

    with pytest.raises(BadInputError, match="a Catalog returned"):
        detect_by_sections(Rubbish(), both(sky)[1])
