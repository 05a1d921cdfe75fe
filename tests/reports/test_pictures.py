"""Compression of the page's pictures changes no more than it says, and hides no faint star."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from skyduel.reports.pictures import COARSE, FINE, Quality, quality_for, small_uri
from skyduel.run_folder.previews import stretch_of
from skyduel.run_folder.record import FrameRecord

SIDE, WIDTH, SNR = 512, 3.0 / 2.3548, 5.0
AT = np.arange(32, SIDE, 32)


def decoded(picture: Image.Image, quality: Quality) -> np.ndarray:
    data = small_uri(picture, quality).partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as read:
        return np.asarray(read.convert("L"), dtype=float)


@pytest.mark.parametrize(
    ("quality", "loss", "seen"), [(COARSE, (0.33, 0.43), 0.93), (FINE, (0.12, 0.22), 0.97)]
)
def test_a_faint_star_keeps_its_significance(
    quality: Quality, loss: tuple[float, float], seen: float
) -> None:
    rng = np.random.default_rng(1)
    sky = rng.normal(1000, 10, (SIDE, SIDE))
    stars = np.zeros((SIDE, SIDE))
    stars[np.ix_(AT, AT)] = SNR * 10 * np.sqrt(4 * np.pi) * WIDTH
    data = (sky + gaussian_filter(stars, WIDTH)).astype(np.float32)
    picture = stretch_of(data).picture(data)
    got = decoded(Image.fromarray(picture), quality)
    blank = slice(0, 24)
    changed = np.std(got[blank] - picture[blank]) / np.std(picture[blank].astype(float))
    assert loss[0] < changed < loss[1]

    def significance(image: np.ndarray) -> float:
        smooth = gaussian_filter(image - np.median(image), WIDTH)
        spread = 1.4826 * np.median(np.abs(smooth - np.median(smooth)))
        return float(smooth[np.ix_(AT, AT)].mean() / spread)

    assert significance(got) > seen * significance(picture.astype(float))


def test_a_few_frames_are_fine_and_many_or_unknown_ones_coarse() -> None:
    one = FrameRecord("a", nx=2000, ny=2000)
    assert quality_for([one]) is FINE
    assert quality_for([one, FrameRecord("b", nx=1, ny=1)]) is COARSE
    assert quality_for([FrameRecord("a")]) is COARSE
    assert "two fifths" in COARSE.note
