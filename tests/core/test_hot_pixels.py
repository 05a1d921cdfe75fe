"""Hot pixels are told from stars, cosmic rays and noise by several frames of a detector."""

import numpy as np
import pytest
from helpers.paths import DATA, needs_data

from skyduel.core import Frame, read_frame
from skyduel.core.measure.hot_pixels import MOST_FRAMES, RecurringPixels, lone_pixels
from skyduel.simulation import draw_settings, simulate

NY, NX = 120, 160


def exposure(seed: int, hot: np.ndarray, *, stars: float = 1.5, rays: int = 0) -> Frame:
    """A frame of noise with stars of this FWHM [px], hot pixels and lone cosmic rays."""
    rng = np.random.default_rng(seed)
    data = rng.normal(100.0, 5.0, (NY, NX))
    y, x = np.mgrid[:NY, :NX]
    for _ in range(30):
        x0, y0 = rng.uniform(3, NX - 4), rng.uniform(3, NY - 4)
        data += 3000 * np.exp(-4 * np.log(2) * ((x - x0) ** 2 + (y - y0) ** 2) / stars**2)
    data.flat[hot] += 900.0
    data.flat[rng.integers(0, NX * NY, rays)] += 900.0
    return Frame(data=data.astype(np.float32), name=f"f{seed}")


def counted(frames: list[Frame]) -> tuple[int, int]:
    found = RecurringPixels()
    for frame in frames:
        found.add(frame)
    return found.count()


#: Flat indices of 40 pixels far from each other and from the border.
HOT = np.array([(10 + 20 * (k // 8)) * NX + 10 + 18 * (k % 8) for k in range(40)])


def test_lone_pixels_are_the_hot_ones_and_no_stars() -> None:
    quiet = Frame(data=exposure(1, HOT[:0]).data, name="quiet")
    assert lone_pixels(quiet).size == 0
    rng = np.random.default_rng(4)
    data = rng.normal(100.0, 5.0, (NY, NX)).astype(np.float32)
    data.flat[HOT] += 900.0
    np.testing.assert_array_equal(lone_pixels(Frame(data=data, name="hot")), np.sort(HOT))
    masked = Frame(data=data, name="hot", mask=np.isin(np.arange(NX * NY), HOT).reshape(NY, NX))
    assert lone_pixels(masked).size == 0


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_pixels_that_stay_are_counted(n: int) -> None:
    many, looked = counted([exposure(k, HOT, rays=20) for k in range(n)])
    assert looked == min(n, MOST_FRAMES)
    assert many == pytest.approx(len(HOT), abs=4)  # a star may cover some


def test_one_frame_few_pixels_cosmic_rays_and_stars_say_nothing() -> None:
    assert counted([exposure(0, HOT)]) == (0, 0)
    assert counted([exposure(k, HOT[:9]) for k in range(4)]) == (0, 0)
    assert counted([exposure(k, HOT[:0], rays=1500) for k in range(2)]) == (0, 0)
    assert counted([exposure(7, HOT[:0], stars=1.3) for _ in range(4)]) == (0, 0)
    other = Frame(data=exposure(1, HOT).data[:-10], name="smaller")
    assert counted([exposure(0, HOT), other]) == (0, 0)


@pytest.mark.parametrize("kind", ["field", "crowded", "dirty"])
def test_simulated_frames_have_none(kind: str) -> None:
    frames = []
    for k in range(3):
        rng = np.random.default_rng(k)
        frames.append(simulate(draw_settings(kind, rng, ny=192, nx=192), rng, kind)[0])
    assert counted(frames) == (0, 0)


@needs_data
def test_raw_frames_of_a_cooled_camera_have_some_and_simulated_sets_none() -> None:
    def of(folder: str, pattern: str) -> tuple[int, int]:
        files = sorted((DATA / folder).glob(pattern))
        return counted([read_frame(f) for f in files if "_mask" not in f.name])

    many, looked = of("sbig_tres1", "*.fits.fz")
    assert looked == 4
    assert 150 < many < 300
    for kind in ("sparse", "field", "aberrated", "crowded", "dirty"):
        assert of("skymaker", f"{kind}*.fits.fz") == (0, 0)
