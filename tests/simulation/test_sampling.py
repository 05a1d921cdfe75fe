"""Tests of each effect of simulated frames, and of its absence when switched off."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.errors import BadInputError
from skyduel.simulation import FAMILIES, SceneSettings, draw_settings, make_psf, simulate
from skyduel.simulation.artefacts import (
    bleed,
    correlate,
    draw_level_steps,
    draw_smear_lines,
    paint_boxes,
    smear_lines,
)
from skyduel.simulation.galaxies import galaxy_points, galaxy_psf_sum2
from skyduel.simulation.psf import ghost_kernel
from skyduel.simulation.render import render_points
from skyduel.simulation.streaks import clip_segment
from skyduel.simulation.variable_psf import FieldPsf, zone_centres

QUIET = SceneSettings(ny=96, nx=128, density=0, quantise=False, sky=100, read_noise=2)

#: Of the first frame of each family, seed (3, 0): features that are off must not move a pixel.
FIRST = {
    "sparse": "414e73e0bf45",
    "field": "abd213ef27ea",
    "aberrated": "0cd60d80540e",
    "crowded": "2d3c723f773d",
    "dirty": "eb99da50e83a",
}


def test_zones_lie_where_they_are_drawn() -> None:
    x, y = zone_centres((60, 90), 3)
    assert x.tolist() == [14.5, 44.5, 74.5] * 3
    assert y.tolist() == [9.5] * 3 + [29.5] * 3 + [49.5] * 3
    psfs = [make_psf(2 + 0.1 * i) for i in range(9)]
    field = FieldPsf((60, 90), psfs)
    assert field.zone(x, y).tolist() == list(range(9))
    assert field.zone([-30, 500, 29.4, 29.6], [5, 500, 5, 5]).tolist() == [0, 8, 0, 1]
    assert field.at(74.5, 9.5) is psfs[2]
    np.testing.assert_allclose(field.psf_sum2(x, y), [p.psf_sum2 for p in psfs])


def test_each_source_gets_the_profile_of_its_zone() -> None:
    near, far = make_psf(1.8), make_psf(5.0)
    field = FieldPsf((60, 80), [near, far, near, far])
    x, y, flux = np.array([20.3, 60.1]), np.array([15.2, 44.0]), np.array([900.0, 700.0])
    image = field.render(x, y, flux, 0.0)
    alone = sum(
        render_points((60, 80), x[i : i + 1], y[i : i + 1], flux[i : i + 1], psf, 0.0)
        for i, psf in enumerate((near, far))
    )
    np.testing.assert_allclose(image, alone, atol=1e-4)


def test_seeing_grows_and_coma_points_away_from_the_axis() -> None:
    s = SceneSettings(ny=200, nx=300, zones=3, field_growth=0.5, fwhm=2.0)
    widths = np.array([p.fwhm for p in s.field().psfs]).reshape(3, 3)
    assert widths.argmin() == 4
    assert widths[0, 0] == pytest.approx(widths[2, 2])
    assert widths[0, 0] > 1.15 * widths[1, 1]
    # A comatic star's brightest pixel lies towards the axis from its centroid.
    coma = SceneSettings(ny=200, nx=300, zones=3, field_coma=3.0, fwhm=2.0)
    for index, (u, v) in {5: (1, 0), 3: (-1, 0), 7: (0, 1), 1: (0, -1)}.items():
        stamp = coma.field().psfs[index].bank[4, 4]
        yy, xx = np.indices(stamp.shape) - stamp.shape[0] // 2
        # Third moment along the radius: the tail of the coma.
        along = xx * u + yy * v
        near = np.hypot(xx, yy) < 12
        assert (stamp * along**3)[near].sum() > 0.01
    assert SceneSettings(fwhm=2.2).field().psfs[0] is SceneSettings(fwhm=2.2).psf()


@pytest.mark.parametrize("sersic", [1.0, 4.0])
def test_half_of_a_galaxy_lies_within_its_half_light_radius(sersic: float) -> None:
    x, y = galaxy_points(50.0, 40.0, 3.0, 0.5, 0.4, sersic, 3000)
    c, s = np.cos(0.4), np.sin(0.4)
    along, across = (x - 50) * c + (y - 40) * s, ((y - 40) * c - (x - 50) * s) / 0.5
    r = np.hypot(along, across)
    assert np.mean(r < 3.0) == pytest.approx(0.51, abs=0.005)  # 0.5 of 0.98
    assert np.median(x) == pytest.approx(50, abs=0.05)
    if sersic == 1:  # an exponential's scale length is its half-light radius over 1.678
        inner = 1 - (1 + 1.678) * np.exp(-1.678)
        assert np.mean(r < 3.0) * 0.98 == pytest.approx(inner, abs=0.005)
    with pytest.raises(BadInputError, match="an index between"):
        galaxy_points(0, 0, 1, 1, 0, 9.0, 60)


def test_a_galaxy_is_blunter_than_a_star() -> None:
    blunt = galaxy_psf_sum2(np.array([0.1, 0.1]), np.array([1e-6, 3.0]), np.array([1.0, 0.5]))
    assert blunt[0] == pytest.approx(0.1)
    assert blunt[1] < 0.03


def test_large_galaxies_are_ignored_and_compact_ones_are_sources() -> None:
    s = QUIET.model_copy(update={"galaxies": 4e-3, "galaxy_radius": (0.3, 8.0), "fwhm": 3.0})
    frame, truth = simulate(s, np.random.default_rng(3))
    assert len(truth) > 25
    assert set(truth["kind"]) == {"point"}
    np.testing.assert_array_equal(truth["ignore"], truth["radius"] >= 0.5 * frame.fwhm)
    assert 3 < truth["ignore"].sum() < len(truth) - 3
    bright = truth.select(np.argsort(truth["flux"])[-1:])
    x, y = np.rint(bright.xy[0]).astype(int)
    assert frame.data[y, x] > 100 + 3 * s.sky_sigma
    assert "ignore" not in simulate(QUIET, np.random.default_rng(3))[1]


def test_a_ghost_has_a_rim_and_keeps_the_flux() -> None:
    disc = ghost_kernel(20.0, 0.0, 4.0, 0.0)
    assert disc.sum() == pytest.approx(1, rel=1e-5)
    c = disc.shape[0] // 2
    assert disc[c, c + 4 + 15] > 5 * disc[c, c + 4 + 26]
    assert disc[c, c - 15] > 5 * disc[c, c - 21]
    ring = ghost_kernel(20.0, 0.6)
    c = ring.shape[0] // 2
    assert ring[c, c + 16] > 20 * ring[c, c]
    dark, _ = simulate(QUIET.model_copy(update={"density": 1e-3}), np.random.default_rng(1))
    lit, _ = simulate(
        QUIET.model_copy(update={"density": 1e-3, "ghost": 0.2}), np.random.default_rng(1)
    )
    assert not np.array_equal(dark.data, lit.data)


@given(
    peak=st.floats(150, 2000), at=st.integers(0, 29), share=st.floats(0, 1), axis=st.integers(0, 1)
)
@settings(max_examples=40, deadline=None)
def test_bleeding_spills_what_does_not_fit(peak: float, at: int, share: float, axis: int) -> None:
    data = np.full((30, 30), 10.0, dtype=np.float32)
    data[at, 14] = peak
    if axis:
        data = data.T.copy()
    out = bleed(data, 100.0, share, axis)
    line = out[:, 14] if axis == 0 else out[14]
    assert out.max() <= 100.001
    assert (out >= data - (data > 100) * peak).all()
    np.testing.assert_array_equal(
        np.delete(out, 14, axis=1 - axis), np.delete(data, 14, axis=1 - axis)
    )
    room_up, room_down = 90.0 * at, 90.0 * (29 - at)
    each = (peak - 100) * share / 2
    want = 10 * 29 + 100 + min(each, room_up) + min(each, room_down)
    assert line.sum() == pytest.approx(want, rel=1e-4)


def test_a_saturated_star_bleeds_to_both_sides() -> None:
    data = np.zeros((21, 5), dtype=np.float32)
    data[9:12, 2] = 1000
    out = bleed(data, 400.0, 1.0, 0)
    assert (out[9:12, 2] == 400).all()
    assert out[:9, 2].sum() == out[12:, 2].sum() == pytest.approx(900)
    assert out[8, 2] == 400
    assert out[6, 2] == pytest.approx(100)


def test_resampled_noise_is_correlated_but_means_keep_theirs() -> None:
    rng = np.random.default_rng(4)
    white = rng.standard_normal((300, 310)).astype(np.float32)
    out = correlate(white, 0.7)
    assert out.shape == white.shape
    assert out.std() == pytest.approx(1 / (2 * np.sqrt(np.pi) * 0.7), rel=0.05)
    assert np.corrcoef(out[:, 1:].ravel(), out[:, :-1].ravel())[0, 1] > 0.3
    blocks = [
        i.reshape(15, 20, 15, 20)[:, :, :, :].mean(axis=(1, 3))
        for i in (out[:, :300], white[:, :300])
    ]
    assert blocks[0].std() == pytest.approx(blocks[1].std(), rel=0.1)


@pytest.mark.parametrize("axis", [0, 1])
def test_smear_lines_cross_the_whole_frame(axis: int) -> None:
    profile = np.exp(-0.5 * (np.arange(-6, 7) / 1.2) ** 2)
    lines = draw_smear_lines((50, 70), 3, 10.0, np.random.default_rng(2), axis)
    out = smear_lines((50, 70), lines, profile, axis)
    assert out.shape == (50, 70)
    assert (np.ptp(out, axis=axis) == 0).all()
    assert out.max() > 2.0
    assert 3 <= np.count_nonzero(out.max(axis=axis) > 0.05) < 40


def test_levels_jump_at_lines() -> None:
    boxes = draw_level_steps((40, 60), 1, 10.0, np.random.default_rng(6))
    out = paint_boxes((40, 60), boxes)
    values = np.unique(out)
    assert values.size == 2
    assert 0 in values
    jumps = np.count_nonzero(np.diff(out, axis=0)) + np.count_nonzero(np.diff(out, axis=1))
    assert jumps in (40, 60)


# In thousandths, for a hair beside the border rounding decides.
coordinate = st.integers(-40000, 90000).map(lambda v: v / 1000)
angle = st.integers(-1570, 1570).map(lambda v: v / 1000)


@given(x=coordinate, y=coordinate, length=st.floats(1, 200), theta=angle)
@settings(max_examples=100, deadline=None)
def test_the_part_on_the_frame_is_that_of_dense_sampling(
    x: float, y: float, length: float, theta: float
) -> None:
    t = np.linspace(-length / 2, length / 2, 4001)
    px, py = x + t * np.cos(theta), y + t * np.sin(theta)
    on = (px >= 0) & (px <= 59) & (py >= 0) & (py <= 43)
    part = clip_segment(x, y, length, theta, 60, 44)
    if on.sum() > 1:  # a corner may be touched in one place
        assert part is not None
        np.testing.assert_allclose(part, [t[on][0], t[on][-1]], atol=length / 3900)
    elif part is not None:
        assert part[1] - part[0] < length / 1900


def test_streaks_beside_the_frame_are_listed_as_far_as_they_are_on_it() -> None:
    s = QUIET.model_copy(
        update={"streaks": 60.0, "streak_margin": 40.0, "streak_length": (30.0, 90.0)}
    )
    _, truth = simulate(s, np.random.default_rng(5))
    assert 20 < len(truth) < 75
    for sign in (-1, 1):
        ex = truth["x"] + sign * truth["length"] / 2 * np.cos(truth["theta"])
        ey = truth["y"] + sign * truth["length"] / 2 * np.sin(truth["theta"])
        assert ((ex > -1e-6) & (ex < 127 + 1e-6) & (ey > -1e-6) & (ey < 95 + 1e-6)).all()
    # What is cut keeps its brightness per px.
    np.testing.assert_array_less(truth["snr"], 30 * np.sqrt(truth["length"]))


def test_streaks_are_near_an_axis_as_often_as_asked() -> None:
    s = QUIET.model_copy(update={"streaks": 300.0, "streak_near_axis": 1.0, "streak_snr": (1, 2)})
    _, truth = simulate(s, np.random.default_rng(5))
    turned = np.rad2deg(truth["theta"]) % 90
    assert (np.minimum(turned, 90 - turned) <= 5 + 1e-9).all()
    assert 0.3 < np.mean(np.abs(truth["theta"]) < np.pi / 4) < 0.7


def test_less_light_in_the_corners_is_less_signal_to_noise() -> None:
    s = SceneSettings(ny=200, nx=200, density=2e-3, vignetting=0.6)
    _, dark = simulate(s, np.random.default_rng(8))
    _, even = simulate(s.model_copy(update={"vignetting": 0.0}), np.random.default_rng(8))
    ratio = dark["snr"] / even["snr"]
    r = np.hypot(dark["x"] - 99.5, dark["y"] - 99.5)
    assert (np.diff(ratio[np.argsort(r)]) <= 1e-9).all()
    assert ratio[r < 20].min() > 0.97
    assert 0.5 < ratio[r > 120].mean() < 0.85


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_off_moves_no_pixel(family: str) -> None:
    rng = np.random.default_rng([3, 0])
    frame, _ = simulate(draw_settings(family, rng), rng)
    assert hashlib.sha256(frame.data.tobytes()).hexdigest()[:12] == FIRST[family]


def test_everything_at_once_renders() -> None:
    s = SceneSettings(
        ny=96, nx=130, zones=2, field_growth=0.1, field_coma=0.5, galaxies=1e-3, ghost=0.05,
        bleeding=0.8, level_steps=2, smear=1, smear_lines=2, correlation=0.6, vignetting=0.1,
        streaks=2, streak_margin=20, streak_near_axis=0.5, saturation=4000, max_snr=1e4,
    )  # fmt: skip
    a, truth = simulate(s, np.random.default_rng(1))
    b, _ = simulate(s, np.random.default_rng(1))
    np.testing.assert_array_equal(a.data, b.data)
    assert np.isfinite(a.data).all()
    assert len(truth) > 10
