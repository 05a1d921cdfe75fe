import pickle

import numpy as np
import pytest
import sep
from astropy.table import Table
from helpers.paths import DATA, needs_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from skyduel.baseline import DetectionError, SepDetector, SepSettings, sep_default, sep_matched
from skyduel.baseline.filters import (
    DEFAULT_CONV,
    gaussian_kernel,
    peak_snr,
    resolve_fwhm,
    snr_map,
)
from skyduel.baseline.sep.extraction import extract
from skyduel.baseline.shapes import (
    classify,
    extendedness,
    kind_columns,
    segment_length,
    star_size,
    stellar_sigma,
    wrap_angle,
)
from skyduel.core.defaults import UNKNOWN_FWHM_FILTER_PX
from skyduel.core.detector import Detector
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.frames import read_frame
from skyduel.core.wcs import pixel_positions
from skyduel.evaluation import pair
from skyduel.simulation import SceneSettings, simulate

NY, NX, SKY, NOISE, FWHM, ZERO_POINT = 140, 210, 400.0, 5.0, 2.8, 25.0
SIGMA = FWHM / 2.3548
BOTH = pytest.mark.parametrize("make", [sep_default, sep_matched])


def stars(positions, fluxes, shape=(NY, NX), sigma=SIGMA):
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for (x0, y0), flux in zip(positions, fluxes, strict=True):
        r2 = (x - x0) ** 2 + (y - y0) ** 2
        image += flux / (2 * np.pi * sigma**2) * np.exp(-r2 / (2 * sigma**2))
    return image


def make_frame(image, seed=1, mask=None, **facts):
    noise = np.random.default_rng(seed).normal(SKY, NOISE, image.shape)
    facts = {"fwhm": FWHM, "zero_point": ZERO_POINT, **facts}
    return Frame(data=image + noise, mask=mask, name="made", **facts)


@pytest.fixture(scope="module")
def grid():
    """27 stars on a loose grid, from faint to bright."""
    random = np.random.default_rng(5)
    xs, ys = np.meshgrid(np.arange(15, NX, 22), np.arange(20, NY, 45))
    positions = np.column_stack([xs.ravel(), ys.ravel()]) + random.uniform(-1, 1, (xs.size, 2))
    fluxes = np.geomspace(300, 60_000, xs.size)
    return positions, fluxes, make_frame(stars(positions, fluxes))


# --- what is found ------------------------------------------------------------------------


@BOTH
def test_every_star_is_found_once_where_it_is(make, grid):
    positions, fluxes, frame = grid
    found = make()(frame)
    separation, row = cKDTree(found.xy).query(positions)
    assert separation.max() < 0.5
    assert separation[fluxes > 3000].max() < 0.06
    assert len(set(row)) == len(positions)
    bright = fluxes > 3000
    assert np.abs(found["flux"][row[bright]] / fluxes[bright] - 1).max() < 0.1
    expected = ZERO_POINT - 2.5 * np.log10(fluxes[bright])
    assert np.abs(found["mag"][row[bright]] - expected).max() < 0.1
    assert (found["kind"] == "point").all()


def test_score_is_the_ideal_signal_to_noise_for_both_ways_of_thresholding(grid):
    positions, fluxes, frame = grid
    # The filter that matches the star: S/N = flux sqrt(sum(psf^2)) / noise.
    expected = fluxes / (2 * np.sqrt(np.pi) * SIGMA * NOISE)
    scores = []
    for make in (sep_default, sep_matched):
        found = make()(frame)
        score = found["score"][cKDTree(found.xy).query(positions)[1]]
        assert np.median(score / expected) == pytest.approx(1, abs=0.05)
        scores.append(score)
    assert np.array_equal(*scores)


@BOTH
def test_a_streak_has_its_length_and_angle(make):
    length, theta, x0, y0 = 36.0, -0.7, 100.3, 64.8
    along = np.linspace(-length / 2, length / 2, 200)
    beads = np.column_stack([x0 + along * np.cos(theta), y0 + along * np.sin(theta)])
    random = np.random.default_rng(2)
    field = np.column_stack([random.uniform(10, NX - 10, 12), random.uniform(8, 30, 12)])
    image = stars(beads, np.full(200, 200.0)) + stars(field, np.full(12, 4000.0))
    found = make(DEBLEND_MINCONT=1.0)(make_frame(image))
    streaks = found.select(found.is_streak)
    assert len(streaks) == 1
    assert np.hypot(streaks["x"] - x0, streaks["y"] - y0) < 0.5
    assert streaks["length"] == pytest.approx([length], rel=0.08)
    assert streaks["theta"] == pytest.approx([theta], abs=0.02)
    points = found.select(~found.is_streak)
    assert (points["length"] == 0).all()
    assert (points["theta"] == 0).all()


@BOTH
def test_empty_sky_gives_a_valid_nearly_empty_catalogue(make):
    detector = make(DETECT_THRESH=6.0)
    found = detector(make_frame(np.zeros((61, 83))))
    assert len(found) == 0
    assert {"x", "y", "score", "kind"} <= set(found.table.colnames)


@BOTH
@pytest.mark.parametrize("value", [0.0, 7.0, 30_000.0])
def test_a_constant_frame_holds_nothing(make, value):
    assert len(make()(Frame(data=np.full((70, 50), value), name="flat"))) == 0


@BOTH
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 5), (20, 7), (65, 9)])
def test_frames_smaller_than_mesh_and_filter(make, shape):
    image = np.random.default_rng(0).normal(10, 2, shape)
    found = make(DETECT_THRESH=30.0)(Frame(data=image, name="tiny"))
    assert len(found) == 0


def test_false_detections_on_noise_are_as_rare_as_stated():
    frame = make_frame(np.zeros((500, 700)), fwhm=2.5)
    assert len(sep_default()(frame)) < 30
    deep = sep_matched()(frame)
    assert len(deep) > 200
    assert np.count_nonzero(deep["score"] >= 4.0) < 30


# --- thresholds ---------------------------------------------------------------------------


def test_thresholds_of_the_ways_differ_by_the_norm_of_the_filter():
    ratio = float(np.sqrt(np.sum(DEFAULT_CONV.astype(float) ** 2)))
    assert ratio == pytest.approx(0.375)
    frame = make_frame(np.zeros((300, 400)))
    same = {"DETECT_MINAREA": 1, "CLEAN": False, "DEBLEND_MINCONT": 1.0, "BACK_SIZE": 400}

    def detect(thresh, thresholding):
        chosen = SepSettings(DETECT_THRESH=thresh, thresholding=thresholding, **same)
        return SepDetector("any", chosen)(frame)

    convolved = detect(3.2 * ratio, "convolved")
    matched = detect(3.2, "matched")
    whitened = detect(3.2, "whitened")
    assert len(matched) > 60
    # Away from the edges, where SEP's map knows that its filter is cut off, one set.
    for other in (convolved, whitened):
        assert cKDTree(other.xy).query(matched.xy)[0][inner(matched)].max() < 1
        assert cKDTree(matched.xy).query(other.xy)[0][inner(other)].max() < 1
    assert len(detect(3.2, "convolved")) == 0


def inner(found):
    return (found["x"] > 3) & (found["x"] < 396) & (found["y"] > 3) & (found["y"] < 296)


def test_whitened_thresholding_follows_the_local_noise_and_keeps_fluxes():
    random = np.random.default_rng(4)
    noise = np.where(np.arange(320) < 192, 2.0, 20.0) * np.ones((128, 1))
    places = [(50.0, 64.0), (270.0, 64.0)]
    image = stars(places, [30_000.0, 30_000.0], noise.shape)
    image += random.normal(size=noise.shape) * noise
    frame = Frame(data=image, name="two halves", fwhm=FWHM)
    for flux in ("iso", "auto"):
        found = sep_matched(DETECT_THRESH=5.0, flux=flux)(frame)
        two = found.select(cKDTree(found.xy).query(places)[1])
        assert two["flux"] == pytest.approx([30_000.0, 30_000.0], rel=0.1)
        assert two["score"][0] > 5 * two["score"][1]
    # One noise for the whole frame is too low for half of it.
    noisy = [np.count_nonzero(make()(frame)["x"] > 240) for make in (sep_default, quiet)]
    assert noisy[0] > 10 * noisy[1] > 0


def quiet():
    return sep_matched(DETECT_THRESH=4.5)


def test_faint_companions_are_parted_by_whitening_and_lost_by_seps_own_map():
    xs, ys = np.meshgrid(np.arange(30, NX - 20, 30.0), np.arange(20, NY - 10, 24.0))
    primaries = np.column_stack([xs.ravel(), ys.ravel()])
    companions = primaries + np.array([8.0, 0.0])
    fluxes = np.repeat([2000.0, 300.0], len(primaries))
    frame = make_frame(stars(np.vstack([primaries, companions]), fluxes))

    def recovered(**changes):
        found = sep_matched(**changes)(frame)
        return np.mean(cKDTree(found.xy).query(companions)[0] < 1.5)

    assert recovered() > 0.9
    assert recovered(thresholding="matched") < 0.2
    assert recovered(thresholding="matched", CLEAN=True) < 0.2


def test_minimum_area_and_filter_are_obeyed(grid):
    frame = grid[2]
    counts = [len(sep_default(DETECT_MINAREA=n)(frame)) for n in (1, 3, 5, 30)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert len(sep_default(FILTER=False, DETECT_MINAREA=1)(frame)) > counts[0]
    assert len(sep_matched(FILTER=False)(frame)) > 0


def test_the_operating_points():
    assert sep_default().settings.score_threshold is None
    assert sep_matched().settings.score_threshold == 4.0
    assert sep_matched().settings.DETECT_THRESH < 4.0


# --- masks, saturation, what the frame does not know ---------------------------------------


@BOTH
@pytest.mark.parametrize("y0", [0.0, 2.0, 60.0, NY - 2.0])
def test_masked_stars_are_not_found_not_even_in_the_first_rows(make, y0):
    # SEP itself forgets its mask in the first rows, half the filter's height.
    masked, kept = (50.0, y0), (130.0, 70.0)
    image = stars([masked, kept], [40_000.0, 40_000.0])
    y, x = np.indices(image.shape)
    mask = np.hypot(x - masked[0], y - masked[1]) < 12
    frame = make_frame(image, mask=mask)
    found = make(DETECT_THRESH=8.0)(frame)
    assert len(found) == 1
    assert np.hypot(found["x"] - kept[0], found["y"] - kept[1]) < 0.1
    unmasked = make(DETECT_THRESH=8.0)(make_frame(image))
    assert len(unmasked) >= 2


@BOTH
def test_blended_stars_beside_a_bad_column_are_still_parted(make):
    # A noise of 1e30 in masked pixels would make SEP's deblending give up here.
    image = stars([(60.0, 40.0), (67.0, 40.0)], [20_000.0, 20_000.0])
    mask = np.zeros(image.shape, dtype=bool)
    mask[:, 57] = True
    found = make()(make_frame(image, mask=mask))
    bright = found.select(found["score"] > 50)
    assert len(bright) == 2


@BOTH
def test_nan_pixels_are_masked_pixels(make, grid):
    _, fluxes, frame = grid
    data = frame.data.copy()
    data[:, 100:110] = np.nan
    found = make()(Frame(data=data, name="holes", fwhm=FWHM))
    assert len(found) >= len(fluxes) - 4
    assert np.isfinite(found["flux"]).all()
    assert np.isfinite(found["score"]).all()


def test_saturation_is_flagged_from_the_frame_or_the_setting():
    image = stars([(40.0, 50.0), (120.0, 50.0)], [80_000.0, 8_000.0])
    peak = image.max()
    with_level = make_frame(image, saturation=SKY + peak / 2)
    flags = sep_default()(with_level)
    bright = flags["flux"] > 40_000
    assert (flags["flags"][bright] & 4).all()
    assert not (flags["flags"][~bright] & 4).any()
    assert not (sep_default()(make_frame(image))["flags"] & 4).any()
    assert (sep_default(SATUR_LEVEL=SKY + peak / 2)(make_frame(image))["flags"] & 4).any()


def test_truncated_by_the_edge_is_flagged():
    found = sep_default()(make_frame(stars([(0.5, 60.0), (90.0, 60.0)], [9000.0, 9000.0])))
    left = found["x"] < 5
    assert (found["flags"][left] & 8).all()
    assert left.any()
    assert not (found["flags"][~left] & 8).any()


def test_no_zero_point_no_magnitude(grid):
    found = sep_default()(grid[2].with_(zero_point=None))
    assert len(found) > 0
    assert np.isnan(found["mag"]).all()


def test_unknown_fwhm_is_stated():
    frame = make_frame(np.zeros((40, 50)), fwhm=None)
    assert resolve_fwhm(frame) == UNKNOWN_FWHM_FILTER_PX == 2.5
    assert resolve_fwhm(frame.with_(fwhm=3.5)) == 3.5
    assert resolve_fwhm(frame.with_(fwhm=3.5), 2.0) == 2.0


@pytest.mark.parametrize("flux", ["auto", "iso", "aper"])
def test_every_kind_of_flux_with_an_error_that_grows_with_the_source(flux):
    image = stars([(50.0, 70.0), (150.0, 70.0)], [40_000.0, 2_000.0])
    found = sep_default(flux=flux)(make_frame(image, gain=1.5))
    bright, faint = np.argsort(found["flux"])[::-1][:2]
    assert found["flux"][bright] == pytest.approx(40_000, rel=0.15 if flux != "aper" else 0.4)
    assert found["flux_err"][bright] > np.sqrt(0.8 * found["flux"][bright] / 1.5)
    assert found["flux_err"][faint] < found["flux_err"][bright]


# --- purity of the call --------------------------------------------------------------------


@BOTH
def test_the_frame_is_unchanged_and_two_calls_agree_to_the_bit(make):
    random = np.random.default_rng(11)
    n = 250  # crowded, so that deblending draws its random numbers
    positions = np.column_stack([random.uniform(0, NX, n), random.uniform(0, NY, n)])
    frame = make_frame(stars(positions, random.uniform(500, 5_000, n)))
    before = frame.data.copy()
    detector = make()
    first = detector(frame)
    make(DETECT_THRESH=2.0)(frame)  # something else in between
    second = pickle.loads(pickle.dumps(detector))(frame)
    assert len(first) > 100
    assert (first["flags"] & 2).any()
    for name in first.table.colnames:
        assert np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
    assert np.array_equal(frame.data, before)
    assert not frame.data.flags.writeable


@BOTH
@pytest.mark.parametrize("exponent", [-90, -3, 60])
def test_the_unit_of_the_data_changes_nothing_but_the_flux(make, exponent, grid):
    frame = grid[2].with_(gain=2.0)
    unit = 2.0**exponent
    other = frame.with_(data=frame.data * np.float32(unit), gain=2.0 / unit)
    first, second = make()(frame), make()(other)
    for name in ("x", "y", "score", "flags", "kind"):
        assert np.array_equal(first[name], second[name])
    for name in ("flux", "flux_err"):
        assert second[name] / unit == pytest.approx(first[name], rel=1e-6)


@BOTH
def test_a_detector_keeps_the_contract(make):
    detector = make()
    assert isinstance(detector, Detector)
    assert SepSettings.model_validate_json(detector.settings.model_dump_json()) == detector.settings


# --- SEP's limits --------------------------------------------------------------------------


def test_limits_are_raised_recorded_and_put_back():
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    random = np.random.default_rng(3)
    positions = np.column_stack([random.uniform(60, 110, 60), random.uniform(60, 110, 60)])
    frame = make_frame(stars(positions, np.full(60, 60_000.0)))
    reference = sep_default()(frame)
    low = sep_default(MEMORY_PIXSTACK=1_000, sub_object_limit=2)(frame)
    assert low.table.meta["pixstack"] > 1_000
    assert low.table.meta["sub_objects"] > 2
    assert np.array_equal(low["x"], reference["x"])
    assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == before


def test_the_pixel_stack_may_grow_to_the_whole_frame():
    image = np.full((200, 300), 9.0, dtype=np.float32)
    got = extract("full", image, 1.0, pixstack=1_000, sub_objects=16, err=1.0, filter_kernel=None)
    assert len(got.objects) == 1
    assert got.pixstack == 200 * 300 + 2
    assert got.attempts > 1


@pytest.mark.parametrize(
    ("text", "attempts"),
    [("use set_extract_pixstack", 5), ("use sep.set_sub_object_limit()", 4), ("no memory", 1)],
)
def test_limits_have_a_cap_and_then_the_frame_fails_by_name(monkeypatch, text, attempts):
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    calls = []

    def fails(*args, **options):
        calls.append((sep.get_extract_pixstack(), sep.get_sub_object_limit()))
        raise Exception(text)

    monkeypatch.setattr(sep, "extract", fails)
    with pytest.raises(DetectionError, match=r"^bad night: detection failed: .*attempt") as caught:
        extract(
            "bad night", np.zeros((400, 400), np.float32), 1.0, pixstack=1_000, sub_objects=1_024
        )
    assert len(calls) == attempts
    assert max(calls)[0] <= 400 * 400 + 2
    assert max(c[1] for c in calls) <= 32_767
    assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == before
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.frame) == (str(caught.value), "bad night")


# --- settings ------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("DETECT_TRESH", 2.0, "did you mean DETECT_THRESH"),
        ("detect_minarea", 3, "did you mean DETECT_MINAREA"),
        ("DETECT_THRESH", -1.0, "DETECT_THRESH: required .*greater than 0"),
        ("DETECT_THRESH", float("nan"), "DETECT_THRESH"),
        ("DETECT_MINAREA", 0, "DETECT_MINAREA: required .*greater than or equal to 1"),
        (
            "thresholding",
            "both",
            "thresholding: required .*'convolved', 'matched' or 'whitened'.*got 'both'",
        ),
        ("sub_object_limit", 40_000, "32767"),
        ("PHOT_AUTOPARAMS", (2.5,), "PHOT_AUTOPARAMS"),
        ("score_threshold", float("nan"), "score_threshold"),
    ],
)
def test_bad_settings_say_what_is_wrong(make, key, value, message):
    with pytest.raises(BadInputError, match=message):
        make(**{key: value})


def test_settings_are_frozen_and_take_sextractors_words():
    chosen = sep_default(CLEAN="N", FILTER="Y").settings
    assert chosen.CLEAN is False
    assert chosen.FILTER is True
    with pytest.raises(ValueError, match="frozen"):
        chosen.CLEAN = True


# --- pieces --------------------------------------------------------------------------------


def test_snr_map_equals_its_definition():
    random = np.random.default_rng(8)
    data = random.normal(size=(17, 23)).astype(np.float32)
    rms = random.uniform(1, 3, data.shape).astype(np.float32)
    bad = random.random(data.shape) < 0.1
    kernel = gaussian_kernel(2.2).astype(float)
    half = kernel.shape[0] // 2
    got = snr_map(data, rms, bad, 2.2)
    for j, i in [(0, 0), (0, 22), (16, 3), (8, 11), (5, 20)]:
        numerator = information = 0.0
        for dj in range(-half, half + 1):
            for di in range(-half, half + 1):
                y, x = j + dj, i + di
                if 0 <= y < 17 and 0 <= x < 23 and not bad[y, x]:
                    k = kernel[half + dj, half + di]
                    numerator += k * data[y, x] / rms[y, x] ** 2
                    information += k**2 / rms[y, x] ** 2
        assert got[j, i] == pytest.approx(numerator / np.sqrt(information), rel=1e-4, abs=1e-5)


def test_snr_map_has_unit_variance_on_noise_and_no_nan_on_holes():
    data = np.random.default_rng(1).normal(0, 4, (300, 350))
    bad = np.zeros(data.shape, dtype=bool)
    bad[100:160, 200:270] = True
    snr = snr_map(data, np.full(data.shape, 4.0), bad, 3.0)
    assert np.std(snr[~bad]) == pytest.approx(1, abs=0.03)
    assert np.isfinite(snr).all()
    assert snr[130, 235] == 0


def test_peak_snr_looks_one_pixel_around_and_stays_in_the_frame():
    snr = np.zeros((6, 9), np.float32)
    snr[2, 5] = 7
    x, y = np.array([5.4, 6.4, 7.0, -3.0, 5.0]), np.array([2.0, 3.4, 2.0, 20.0, 0.0])
    assert peak_snr(snr, x, y).tolist() == [7, 7, 0, 0, 0]


@given(st.floats(0.2, 12))
def test_kernels_are_normalised_odd_and_symmetric(fwhm):
    kernel = gaussian_kernel(fwhm)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert np.array_equal(kernel, kernel.T)
    assert np.array_equal(kernel, kernel[::-1])


@pytest.mark.parametrize("fwhm", [0.0, -1.0, float("nan"), float("inf")])
def test_kernel_of_no_width_is_refused(fwhm):
    with pytest.raises(BadInputError, match="kernel FWHM: required a positive number"):
        gaussian_kernel(fwhm)


@given(st.floats(-50, 50))
def test_wrapped_angles_name_the_same_axis(theta):
    wrapped = wrap_angle(theta)
    assert -np.pi / 2 <= wrapped < np.pi / 2
    assert abs(np.sin(float(wrapped) - theta)) < 1e-9


def test_wrap_angle_at_its_ends():
    assert wrap_angle([np.pi / 2, -np.pi / 2, 0.0]).tolist() == [-np.pi / 2, -np.pi / 2, 0.0]


@given(st.floats(0, 200), st.floats(0.5, 5))
@settings(deadline=None)
def test_segment_length_undoes_the_psf(length, sigma):
    a = np.sqrt(length**2 / 12 + sigma**2)
    assert segment_length(a, sigma) == pytest.approx(length, rel=1e-6, abs=1e-5)


def test_streaks_are_long_and_thin_both():
    a, b = np.array([9.0, 9.0, 2.0, 1.3]), np.array([1.2, 5.0, 0.5, 1.2])
    streak = classify(a, b, 1.2, elongation=3.0, length_fwhm=3.0)
    assert streak.tolist() == [True, False, False, False]


def test_stellar_sigma_is_undefined_for_few_stars():
    ones = np.ones(4)
    assert np.isnan(stellar_sigma(ones, ones, 99 * ones, ones.astype(bool)))
    six = np.ones(6)
    assert stellar_sigma(4 * six, six, 99 * six, six.astype(bool)) == 2.0
    assert np.isnan(stellar_sigma(4 * six, six, six, six.astype(bool)))


def test_star_size_is_that_of_the_psf_where_few_stars_are_bright():
    six = np.ones(6)
    clean = np.ones(6, dtype=bool)
    assert star_size(4 * six, six, 99 * six, clean, 3.0) == 2.0
    assert star_size(4 * six, six, six, clean, 3.0) == pytest.approx(3.0 / 2.3548, rel=1e-4)


def test_only_streaks_have_a_length_and_an_angle():
    a, b = np.array([6.0, 6.0]), np.array([1.0, 1.0])
    columns = kind_columns(a, b, [2.0, 2.0], np.array([True, False]))
    assert columns["kind"].tolist() == ["streak", "point"]
    assert columns["length"] == pytest.approx([np.sqrt(12 * 35), 0])
    assert columns["theta"] == pytest.approx([2.0 - np.pi, 0])


# --- real and simulated frames ---------------------------------------------------------------


def shared_frames():
    others = ("photoObj", "coadd", "_mask.")
    paths = sorted(DATA.glob("*/*.fits*"))
    return [path for path in paths if not any(word in path.name for word in others)]


@needs_data
@pytest.mark.parametrize("path", shared_frames(), ids=lambda path: path.name)
def test_valid_catalogues_on_every_shared_frame(path):
    frame = read_frame(path)
    ny, nx = frame.shape
    for make in (sep_default, sep_matched):
        found = make()(frame)
        assert len(found) > 5
        assert np.isfinite(found["score"]).all()
        assert np.isfinite(found["flux"]).all()
        assert (found["flux_err"] > 0).all()
        assert ((found["x"] > -1) & (found["x"] < nx)).all()
        assert ((found["y"] > -1) & (found["y"] < ny)).all()
        assert (found["length"][found.is_streak] > 0).all()


@needs_data
@BOTH
def test_recall_of_clear_stars_on_simulated_fields(make):
    found_of, total = 0, 0
    for path in sorted((DATA / "skymaker").glob("field_*.fits.fz")):
        truth = Table.read(str(path).replace(".fits.fz", ".ecsv"))
        clear = truth[(truth["snr"] > 15) & (truth["kind"] == "point")]
        found = make()(read_frame(path))
        separation = cKDTree(found.xy).query(np.column_stack([clear["x"], clear["y"]]))[0]
        found_of, total = found_of + np.count_nonzero(separation < 2), total + len(clear)
    assert total > 100
    # The rest are blends with a brighter neighbour.
    assert found_of / total > 0.9


@needs_data
def test_recall_on_a_real_frame_against_deeper_imaging():
    frame = read_frame(DATA / "sdss_s82" / "frame-r-000094-1-0012.fits.bz2")
    deep = Table.read(DATA / "sdss_s82" / "stripe82_coadd_94_1_12.fits")
    x, y = pixel_positions(np.asarray(deep["ra"]), np.asarray(deep["dec"]), frame)
    ny, nx = frame.shape
    bright = (deep["psfmag_r"] >= 16) & (deep["psfmag_r"] < 22)
    inside = (x > 5) & (x < nx - 5) & (y > 5) & (y < ny - 5) & bright
    assert np.count_nonzero(inside) > 400
    for make in (sep_default, sep_matched):
        found = make()(frame)
        separation = cKDTree(found.xy).query(np.column_stack([x, y])[inside])[0]
        # 2.5 px are 1 arcsec: galaxies, and proper motion between the epochs.
        assert np.mean(separation < 2.5) >= 0.97


def test_extended_is_what_is_larger_than_the_stars():
    rng = np.random.default_rng(1)
    # Thirty stars of 1.6 px, five galaxies of 2.4 px, defects of 0.5 px, and what is faint or torn.
    radius = np.concatenate([rng.normal(1.6, 0.03, 30), np.full(5, 2.4), np.full(40, 0.5)])
    radius = np.append(radius, [2.4, np.nan])
    score = np.append(np.full(75, 50.0), [9.0, 50.0])
    clean = np.ones(77, dtype=bool)
    stated = extendedness(radius, score, clean, sigma=1.1)
    assert (stated[:30] == 0).all()
    assert (stated[30:35] == 1).all()
    assert (stated[35:75] == 0).all()
    assert np.isnan(stated[75:]).all()
    few = extendedness(radius[:4], score[:4], clean[:4], sigma=1.1)
    assert np.isnan(few).all()


def test_sep_tells_galaxies_from_stars():
    scene = SceneSettings(
        ny=300, nx=360, sky=200, density=40 / (300 * 360), min_snr=40, max_snr=200,
        galaxies=20 / (300 * 360), galaxy_radius=(2.5, 4), galaxies_count=True,
    )  # fmt: skip
    frame, truth = simulate(scene, np.random.default_rng(3))
    for detector in (sep_default(), sep_matched()):
        found = detector(frame)
        pairs = pair(truth.xy, found.xy, 2.0)
        stated = found["extendedness"][pairs.found_index]
        galaxy, told = truth.is_galaxy[pairs.truth_index], np.isfinite(stated)
        assert (told & galaxy).sum() >= 8
        assert (told & ~galaxy).sum() >= 15
        assert np.mean(stated[told & ~galaxy] == 0) > 0.85
        assert np.mean(stated[told & galaxy] == 1) > 0.85
