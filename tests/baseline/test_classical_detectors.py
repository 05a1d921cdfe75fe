"""Tests of cleaning, of SEP on cleaned frames, and of the matched-filter peaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.baseline import sep_default, sep_matched
from skyduel.baseline.daofind import daofind
from skyduel.baseline.filters import peak_snr, snr_map
from skyduel.baseline.sep.cleaned import sep_cleaned
from skyduel.baseline.sep.cleaning import (
    CleaningSettings,
    clean,
    clean_cosmics,
    clean_lines,
    cleaning_note,
)
from skyduel.core import Frame
from skyduel.core.detector import NOTE_KEY
from skyduel.core.errors import BadInputError
from skyduel.core.search_space import Choice, Range, Tunable, TunesInOnePass
from skyduel.runner.sample_settings import draw_trials

NY, NX = 120, 150
SKY, NOISE, GAIN = 300.0, 6.0, 1.6
STARS = [(20.3, 15.8, 900.0), (70.6, 40.1, 500.0), (120.2, 90.7, 250.0), (40.9, 100.4, 2500.0)]
CONTESTANTS = [
    sep_default,
    sep_matched,
    sep_cleaned,
    daofind,
    lambda: daofind(peaks="matched"),
]


def starry(fwhm: float = 2.6, **changes) -> np.ndarray:
    rng = np.random.default_rng(5)
    yy, xx = np.mgrid[0:NY, 0:NX]
    image = rng.normal(SKY, NOISE, (NY, NX))
    sigma = fwhm / 2.355
    for x, y, peak in STARS:
        image += peak * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


def frame_of(image: np.ndarray, **facts) -> Frame:
    return Frame(
        **{"data": image, "name": "f", "gain": GAIN, "saturation": 60000.0, "fwhm": 2.6, **facts}
    )


def near(catalog, x: float, y: float, radius: float = 2.5) -> np.ndarray:
    return np.flatnonzero(np.hypot(catalog["x"] - x, catalog["y"] - y) <= radius)


def test_smear_and_offsets_are_taken_out_and_bad_lines_masked() -> None:
    image = starry()
    image[33] += 9.0  # smear, a sigma and a half
    image[:, 77] -= 4.0
    image[:, 100] = 12.0  # dead: one value
    image[61] += 400.0  # hot beyond repair
    frame = frame_of(image)
    cleaned = clean_lines(frame, CleaningSettings())
    assert not frame.bad.any()
    assert cleaned.bad[:, 100].all()
    assert cleaned.bad[61].all()
    assert cleaned.bad.sum() == NY + NX - 1
    free = ~cleaned.bad
    row, column = cleaned.data[33][free[33]], cleaned.data[:, 77][free[:, 77]]
    assert np.median(row) == pytest.approx(SKY, abs=1.8)
    assert np.median(column) == pytest.approx(SKY, abs=1.8)
    # What needs nothing is left exactly as it is.
    np.testing.assert_array_equal(cleaned.data[10:30, :70], frame.data[10:30, :70])


def test_cosmic_rays_and_hot_pixels_are_masked_to_the_edge_and_stars_are_not() -> None:
    image = starry()
    track = [(50 + k, 60 + k // 2) for k in range(9)]
    hits = [*track, (0, 90), (118, 3), (80, 20)]
    for row, column in hits:
        image[row, column] += 800.0
    cleaned = clean_cosmics(frame_of(image), CleaningSettings())
    assert all(cleaned.bad[hit] for hit in hits)
    for x, y, _ in STARS:
        assert not cleaned.bad[round(y), round(x)]
    assert cleaned.bad.sum() < 4 * len(hits)
    # What replaces them is plausible sky.
    assert abs(np.median([cleaned.data[hit] for hit in hits]) - SKY) < 5 * NOISE
    grown = clean_cosmics(frame_of(image), CleaningSettings(cosmic_grow_px=1))
    assert (grown.bad | ~cleaned.bad).all()
    assert grown.bad.sum() > cleaned.bad.sum()


def test_cleaning_is_blind_to_the_unit_of_the_data() -> None:
    image = starry()
    image[50, 60:66] += 900
    one = clean(frame_of(image)).bad
    facts = {"gain": GAIN * 1e12, "saturation": 6e-8}
    tiny = clean(frame_of((image * 1e-12).astype(np.float32), **facts)).bad
    np.testing.assert_array_equal(one, tiny)


def test_what_was_cleaned_is_not_found_and_stars_still_are() -> None:
    image = starry()
    for row, column in [(50, 60), (51, 60), (51, 61), (52, 61), (15, 130), (100, 75)]:
        image[row, column] += 1500.0
    image[:, 90] += 300.0
    dirty = frame_of(image)
    before, after = sep_matched()(dirty), sep_cleaned()(dirty)
    for x, y in [(60.5, 51), (130, 15), (75, 100)]:
        assert near(before, x, y).size
        assert not near(after, x, y).size
    assert not (np.abs(after["x"][after["score"] > 6] - 90) < 2).any()
    for x, y, _ in STARS:
        assert near(after, x, y, 0.5).size == 1
    assert np.count_nonzero(after["score"] > 6) == len(STARS)


def undersampled(fwhm: float) -> tuple[Frame, np.ndarray, np.ndarray]:
    """A frame without a stated FWHM: its stars and its hot pixels, x and y."""
    rng = np.random.default_rng(11)
    image = rng.normal(SKY, NOISE, (200, 200))
    yy, xx = np.mgrid[-4:5, -4:5]
    places = np.stack(np.meshgrid(np.arange(10, 190, 15), np.arange(10, 190, 15)), -1)
    order = rng.permutation(places.reshape(-1, 2))
    stars, hot = order[:60] + rng.uniform(-0.5, 0.5, (60, 2)), order[60:120]
    sigma = fwhm / 2.355
    for x, y in stars:
        x0, y0 = round(x), round(y)
        star = np.exp(-((xx + x0 - x) ** 2 + (yy + y0 - y) ** 2) / (2 * sigma**2))
        image[y0 - 4 : y0 + 5, x0 - 4 : x0 + 5] += 1500.0 * star
    image[hot[:, 1], hot[:, 0]] += 1500.0
    return Frame(data=image.astype(np.float32), name="f", gain=GAIN), stars, hot


def on(mask: np.ndarray, xy: np.ndarray) -> np.ndarray:
    column, row = np.rint(xy).astype(int).T
    return mask[row, column]


def test_stars_of_undersampled_frames_are_kept_and_hot_pixels_are_cleaned() -> None:
    frame, stars, hot = undersampled(1.5)
    without = clean(frame, CleaningSettings(cosmic_star_shape=0, cosmic_least_fwhm_px=0))
    assert on(without.bad, stars).mean() > 0.4  # what L.A.Cosmic alone does
    cleaned = clean(frame)
    assert not on(cleaned.bad, stars).any()
    assert on(cleaned.bad, hot).all()
    found = sep_cleaned()(frame)
    assert all(near(found, x, y, 0.5).size == 1 for x, y in stars)
    assert not any(near(found, x, y, 1.0).size for x, y in hot)
    note = found.table.meta[NOTE_KEY]
    assert note == (
        "undersampled (stars 1.5 px wide): what has the shape of these stars is not cleaned"
    )
    # The filter has the measured width where the header states none.
    assert 1.45 < found.table.meta["kernel_fwhm_px"] < 1.6
    stated = sep_cleaned()(frame.with_(fwhm=1.5)).table.meta
    assert stated["kernel_fwhm_px"] == 1.5
    (variant,) = sep_cleaned().variants(frame, [{}])
    assert variant.table.meta[NOTE_KEY] == note


def test_stars_as_narrow_as_hot_pixels_stop_the_cleaning() -> None:
    frame, stars, hot = undersampled(1.2)
    cleaned = clean_cosmics(frame, CleaningSettings())
    assert cleaned is frame
    found = sep_cleaned()(frame)
    assert all(near(found, x, y, 0.5).size == 1 for x, y in stars)
    note = "no cosmic rays or hot pixels are cleaned, for these stars look alike"
    assert str(found.table.meta[NOTE_KEY]).endswith(note)
    forced = clean_cosmics(frame, CleaningSettings(cosmic_least_fwhm_px=0))
    assert on(forced.bad, hot).all()


def test_ordinary_frames_have_no_note() -> None:
    assert NOTE_KEY not in sep_cleaned()(frame_of(starry())).table.meta
    frame, *_ = undersampled(1.5)
    assert cleaning_note(frame, CleaningSettings(cosmics=False)) is None
    assert cleaning_note(frame, CleaningSettings(cosmic_star_shape=0)) is None


def test_a_clean_frame_comes_out_as_it_went_in() -> None:
    frame = frame_of(starry())
    one, two = sep_matched()(frame), sep_cleaned()(frame)
    assert clean(frame).bad.sum() <= 3
    strong = one["score"] > 8
    for x, y in one.xy[strong]:
        assert near(two, x, y, 0.3).size == 1


@pytest.mark.parametrize("factory", CONTESTANTS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 40), (9, 7), (31, 64)])
def test_bad_frames_have_no_sources(factory, shape) -> None:
    flat = np.full(shape, 100.0, dtype=np.float32)
    nearly_all = np.ones(shape, dtype=bool)
    nearly_all[0, 0] = False
    for mask in (None, nearly_all):
        assert len(factory()(Frame(data=flat, mask=mask, name="flat"))) == 0


@pytest.mark.parametrize("peaks", ["daofind", "matched"])
@pytest.mark.parametrize("score", ["daofind", "matched"])
def test_daofind_finds_stars_where_they_are(peaks, score) -> None:
    frame = frame_of(starry(), zero_point=25.0)
    found = daofind(peaks=peaks, score=score)(frame)
    bright = found.select(found["score"] > 10)
    assert len(bright) == len(STARS)
    for x, y, _ in STARS:
        assert near(bright, x, y, 0.2).size == 1
    assert np.isfinite(bright["mag"]).all()
    assert not found.is_streak.any()


def test_daofinds_score_is_the_matched_signal_to_noise() -> None:
    frame = frame_of(starry())
    found = daofind()(frame)
    flat = np.full((NY, NX), NOISE)
    snr = snr_map(frame.data - SKY, flat, frame.bad, 2.6)
    bright = found["score"] > 10
    assert found["score"][bright] == pytest.approx(
        peak_snr(snr, found["x"][bright], found["y"][bright]), rel=0.06
    )


@pytest.mark.parametrize("peaks", ["daofind", "matched"])
def test_daofind_honours_the_mask_and_local_noise(peaks) -> None:
    image = starry()
    mask = np.zeros((NY, NX), dtype=bool)
    x, y, _ = STARS[0]
    mask[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5] = True
    found = daofind(peaks=peaks)(frame_of(image, mask=mask))
    assert not near(found, x, y, 4.0).size
    assert near(found, STARS[1][0], STARS[1][1], 0.3).size == 1


def test_flat_tops_are_one_peak() -> None:
    image = np.random.default_rng(1).normal(SKY, NOISE, (60, 70)).astype(np.float32)
    image[30:33, 40:43] = 60000.0
    found = daofind(peaks="matched", kernel_fwhm_px=0.3)(frame_of(image))
    assert near(found, 41, 31, 3).size == 1


@pytest.mark.parametrize("factory", [sep_default, sep_matched, sep_cleaned, daofind])
def test_variants_are_what_calls_return(factory) -> None:
    image = starry()
    image[50, 60:64] += 900
    frame = frame_of(image)
    detector = factory()
    assert isinstance(detector, Tunable)
    assert isinstance(detector, TunesInOnePass)
    changes = draw_trials(detector.tuning_space, 6, 3)
    for change, found in zip(changes, detector.variants(frame, changes), strict=True):
        called = factory(**change)(frame)
        np.testing.assert_array_equal(found.xy, called.xy)
        np.testing.assert_array_equal(found["score"], called["score"])
        np.testing.assert_array_equal(found["kind"], called["kind"])


@pytest.mark.parametrize("factory", [sep_default, sep_matched, sep_cleaned, daofind])
def test_spaces_name_settings_that_exist_and_values_that_are_allowed(factory) -> None:
    space = factory().tuning_space
    assert "score_threshold" not in space
    for u in (0.0, 0.37, 0.999):
        made = factory(**{name: values.at(u) for name, values in space.items()})
        assert made.name == factory().name


def test_unknown_settings_are_refused_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="did you mean cosmic_sigclip"):
        sep_cleaned(cosmic_sigclp=3)
    with pytest.raises(BadInputError, match="did you mean threshold"):
        daofind(treshold=3)
    with pytest.raises(BadInputError, match="daofind: peaks"):
        daofind(peaks="all")


@given(
    low=st.floats(0.01, 5),
    width=st.floats(0.01, 50),
    u=st.floats(0, 1, exclude_max=True),
    log=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_range_stays_inside_and_rises(low, width, u, log) -> None:
    values = Range(low, low + width, log=log)
    assert low <= values.at(u) <= low + width
    assert values.at(u) <= values.at(min(u + 0.1, 1.0))


def test_whole_numbers_are_equally_likely() -> None:
    values = [Range(1, 4, integer=True).at(u) for u in np.linspace(0, 1, 400, endpoint=False)]
    assert np.bincount(values).tolist() == [0, 100, 100, 100, 100]
    chosen = [Choice(("a", "b", "c")).at(u) for u in (0.0, 0.34, 0.99)]
    assert chosen == ["a", "b", "c"]


def test_impossible_spaces_are_refused() -> None:
    with pytest.raises(BadInputError, match="low < high"):
        Range(2, 2)
    with pytest.raises(BadInputError, match="0 < low"):
        Range(0, 2, log=True)
    with pytest.raises(BadInputError, match="at least one value"):
        Choice(())
    with pytest.raises(BadInputError, match="at least 1"):
        draw_trials({}, 0, 0)


def test_trials_begin_with_the_defaults_and_fill_every_stratum() -> None:
    space = {"a": Range(0.0, 1.0), "b": Choice(("x", "y"))}
    trials = draw_trials(space, 21, 4)
    assert trials[0] == {}
    assert trials == draw_trials(space, 21, 4)
    assert trials != draw_trials(space, 21, 5)
    values = np.sort([trial["a"] for trial in trials[1:]])
    slack = 1e-4  # values are rounded to what can be read
    assert (values >= np.arange(20) / 20 - slack).all()
    assert (values <= np.arange(1, 21) / 20 + slack).all()
    assert sum(trial["b"] == "x" for trial in trials[1:]) == 10
    assert draw_trials({}, 21, 0) == draw_trials(None, 21, 0) == [{}]
    assert draw_trials(space, 1, 0) == [{}]
