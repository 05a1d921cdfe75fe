"""Read frames with random headers, plausible and absurd, and detect on some of them.

    python fuzz/header_facts.py --cases 100000
    python fuzz/header_facts.py --cases 20 --first 4711 --seed 3

The property: a frame is read, or refused with one short printable line. What is read has facts
within their bounds; a fact that a header states and the frame has not is said to be set aside;
the coordinates give finite positions. Of every hundredth frame (`--each`) `detect_frame` makes a catalogue
with `sep` and with `neural`, or says why not in one line. Another exception, a warning that
reaches the user, a case of more than ten seconds of processor time, or one that takes more than
twice the memory of the same frame with an empty header (and 16 MiB for the noise of the
measurement) is a finding. A case depends only on the seed and its number. Files that show
a finding are kept in `--keep`. The exit status is 1 if there is any finding.
"""

from __future__ import annotations

import argparse
import faulthandler
import math
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from skyduel.core import BadInputError, Frame, entry_of, read_catalog, read_frame
from skyduel.core.io.images.fact_rules import FACT_RULES
from skyduel.core.used_facts import used_facts
from skyduel.core.wcs import sky_positions
from skyduel.runner.detect_frame import detect_frame
from skyduel.runner.detector_specs import DetectorSpec

_SLOW_S = 10.0
_HUNG_S = 600.0
_NOISE_BYTES = 16 * 2**20
_BLOCK = 2880

Image = tuple[bytes, int, tuple[int, int]]

#: Values of any card: numbers of every size, sentinels, text, logicals, nothing, and no FITS.
ABSURD = (
    "0", "-0.0", "1", "-1", "99", "99.9", "99.99", "-99", "999", "-999", "9999", "8500.0", "0.18",
    "1E300", "-1E300", "1E-300", "1E999", "1D5", "2147483648", "1" * 60, "NaN", "'nan'", "'inf'",
    "T", "F", "''", "'none'", "'N/A'", "'1.5'", "'1,5'", "'12:30:00'", "'5 s'", "(1,2)", "", "1.2.3",
    "'\x1b[2J'", "'<script>'", "'=1+1'", "'" + "x" * 60 + "'", "'unterminated", "0x10", "INDEF",
)  # fmt: skip
COMMENTS = (
    "", "", "", "[s]", "[ms]", "[d]", "exposure in minutes", "[e-]", "[adu]", "[e-/ADU]", "electrons",
    "ADU per electron", "[pixel]", "[arcsec]", "[deg]", "[um]", "Sub Gain", "gain setting [0.1 dB]",
    "counts/s", "photoelectrons per second", "[mag]", "pixel unit", "x" * 40, "\x7f\xff",
)  # fmt: skip
UNITS = (
    "'ADU'", "'adu/s'", "'electron'", "'ELECTRONS/S'", "'counts'", "'DN / s'", "'MJy/sr'", "'nanomaggy'",
    "'e-'", "'photon s-1'", "'10**-20 erg/s/cm2'", "'Jy/beam'", "'mag'", "' '", "7", "'[]'", "'e-/pix/s'",
)  # fmt: skip
#: Plausible values of cards that are read and are no fact.
OTHER: dict[str, tuple[str, ...]] = {
    "BUNIT": UNITS,
    "INSTRUME": ("'ZWO ASI294MC'", "'ACS'", "'DECam'"),
    "BAYERPAT": ("'RGGB'",),
    "OFFSET": ("30",),
    "NCOMBINE": ("12",),
    "TIMEUNIT": ("'d'", "'s'"),
    "DATASEC": ("'[1:60,1:48]'", "'[5:64,1:48]'", "'[1:30,1:20]'", "'[60:5,40:3]'", "'[*,*]'"),
    "TRIMSEC": ("'[3:62,2:47]'",),
    "BIASSEC": ("'[1:4,1:48]'",),
    "BSCALE": ("2.0", "1E-3"),
    "BZERO": ("32768", "-100.0"),
    "BLANK": ("-32768",),
    "BSOFTEN": ("100.0",),
    "BOFFSET": ("50.0",),
    "EXTNAME": ("'SCI'", "'WEIGHT'", "'MASK'"),
    "MASKEXT": ("'MASK'",),
    "CTYPE1": ("'RA---TAN'", "'RA---SIN'", "'GLON-TAN'", "'RA---TPV'", "'RA---TNX'", "'RA---TAN-SIP'",
               "'DEC--TAN'", "'RA---ZPX'", "'RA---ZPN'"),
    "CTYPE2": ("'DEC--TAN'", "'DEC--SIN'", "'GLAT-TAN'", "'DEC--TPV'", "'DEC--TNX'", "'DEC--TAN-SIP'",
               "'RA---TAN'", "'DEC--ZPX'", "'DEC--ZPN'"),
    "CRVAL1": ("150.0", "359.9"), "CRVAL2": ("2.0", "-89.9"), "CRPIX1": ("32.5",), "CRPIX2": ("24.5",),
    "CD1_1": ("-2.8E-4",), "CD1_2": ("0.0", "1E-5"), "CD2_1": ("0.0", "1E-5"), "CD2_2": ("2.8E-4",),
    "CDELT1": ("-2.8E-4",), "CDELT2": ("2.8E-4",), "CROTA2": ("30.0",), "PC1_1": ("1.0",),
    "CUNIT1": ("'deg'", "'arcsec'"), "RADESYS": ("'ICRS'", "'FK5'", "'FK4'"), "EQUINOX": ("2000.0", "1950.0"),
    "A_ORDER": ("2",), "B_ORDER": ("2",), "A_2_0": ("1E-5",), "B_0_2": ("1E-5",), "PV1_1": ("1.0",),
    "PV2_1": ("1.0",), "PV2_3": ("40.0",), "LONPOLE": ("180.0",), "AMDX1": ("67.2",), "PLTRAH": ("10",),
    "WAT1_001": ("'wtype=tnx lngcor = \"3. 2. 2. 1. -1. 1. -1. 1. 0. 0. 0. 0. \"'",),
    "WCSAXES": ("2",), "INHERIT": ("T",), "CPDIS1": ("'Lookup'",),
}  # fmt: skip
PLAUSIBLE = {
    "gain": ("1.5", "0.25", "80", "110", "2.3", "1"),
    "read_noise": ("5.2", "0", "12"),
    "saturation": ("65535", "55000.0", "400", "1E6"),
    "exposure_s": ("30.0", "0.001", "1800", "0.5", "99"),
    "zero_point": ("25.0", "22.5", "30.1", "8.9"),
    "fwhm": ("3.0", "2.1", "6.0", "20", "12.0"),
    "pixel_scale_arcsec": ("0.2784", "1.0", "9.0", "0.000278"),
}
#: A solution that is right, so that random cards often meet one.
SOLUTION = (
    "CTYPE1",
    "CTYPE2",
    "CRVAL1",
    "CRVAL2",
    "CRPIX1",
    "CRPIX2",
    "CD1_1",
    "CD1_2",
    "CD2_1",
    "CD2_2",
)


def images(side: int) -> list[Image]:
    """Return pixels as in a file, BITPIX and shape: stars, integers, noise, few pixels."""
    rng = np.random.default_rng(0)
    ny, nx = 3 * side // 4, side
    yy, xx = np.mgrid[:ny, :nx]
    stars = rng.normal(500, 10, (ny, nx))
    for x, y in rng.uniform(6, (nx - 6, ny - 6), (14, 2)):
        stars += 4000 * np.exp(-4 * math.log(2) * ((xx - x) ** 2 + (yy - y) ** 2) / 9)
    made = [
        (stars, ">f4", -32),
        (np.rint(stars), ">i2", 16),
        (rng.normal(0, 1, (ny, nx)), ">f8", -64),
    ]
    made.append((rng.normal(100, 3, (7, 5)), ">f4", -32))
    return [(a.astype(kind).tobytes(), bits, (a.shape[0], a.shape[1])) for a, kind, bits in made]


def card(key: str, value: str, comment: str = "") -> bytes:
    """Return a card as it stands in a file, whatever the value."""
    text = f"{key:<8}= {value:>20}" if len(key) <= 8 else f"HIERARCH {key} = {value}"
    if comment:
        text += f" / {comment}"
    return text.encode("latin-1")[:80].ljust(80)


def file_of(image: Image, cards: Sequence[bytes]) -> bytes:
    """Return a FITS file of one image."""
    content, bits, (ny, nx) = image
    first = (("SIMPLE", "T"), ("BITPIX", bits), ("NAXIS", 2), ("NAXIS1", nx), ("NAXIS2", ny))
    header = b"".join([card(k, str(v)) for k, v in first] + list(cards) + [b"END".ljust(80)])
    parts = (header.ljust(-(-len(header) // _BLOCK) * _BLOCK), content)
    return parts[0] + parts[1].ljust(-(-len(content) // _BLOCK) * _BLOCK, b"\0")


def random_cards(rng: random.Random) -> list[bytes]:
    """Return up to twenty cards of random keywords, values and comments."""
    made: list[bytes] = []
    if rng.random() < 0.4:
        made += [card(key, OTHER[key][0]) for key in SOLUTION]
    facts = [(fact, key) for fact, rule in FACT_RULES.items() for key in rule.keys]
    for _ in range(rng.randint(1, 20)):
        fact, key = rng.choice(facts)
        usual: Sequence[str] = PLAUSIBLE[fact]
        if rng.random() < 0.4:
            key = rng.choice(list(OTHER))
            usual = OTHER[key]
        kind = rng.random()
        if kind < 0.5:
            value = rng.choice(usual)
        elif kind < 0.8:
            value = rng.choice(ABSURD)
        elif kind < 0.95:
            value = f"{rng.choice((1, -1)) * 10 ** rng.uniform(-12, 12):.6G}"
        else:
            value = rng.choice(UNITS)
        made.append(card(key, value, rng.choice(COMMENTS)))
    rng.shuffle(made)
    return made


def checked(path: Path) -> Frame:
    """Read a frame and check what it says of itself."""
    frame = read_frame(path)
    words = used_facts(frame)
    for fact, rule in FACT_RULES.items():
        value = getattr(frame, fact)
        if value is None:
            stated = [key for key in rule.keys if key in frame.header]
            assert not stated or words.set_aside, f"{fact}: {stated[0]} is dropped without a word"
        elif fact not in ("gain", "saturation"):
            rule.check(value)
    for text in (*words.used.values(), *words.set_aside, *words.notes):
        assert text.isprintable(), f"unprintable words {text!r}"
    if frame.wcs is not None:
        ny, nx = frame.shape
        middle = np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])
        ra, dec = sky_positions(*middle, frame)
        assert np.isfinite([ra, dec]).all(), "the middle has no position"
        on_sky = 0 <= ra[0] <= 360 and abs(dec[0]) <= 90
        assert on_sky, f"a position of {ra[0]}, {dec[0]}"
    return frame


def detected(path: Path, name: str) -> None:
    """Make the catalogue of a frame; check that there is one, or one line."""
    target = path.parent / f"{name}.fits"
    target.unlink(missing_ok=True)
    done = detect_frame(
        DetectorSpec(name=name, use=name), entry_of(path), None, target, facts_file=False
    )
    if done.reason is None:
        assert len(read_catalog(target)) == done.facts["n_found"]
        return
    line = done.reason
    short = line.isprintable() and len(line) < 2000
    assert short, f"an unprintable or long reason {line[:80]!r}"
    known = (done.about_frame or "required" in line) and "memory" not in line
    assert known, f"{name}: {line}"


class Memory:
    """Peak memory of a step beyond what the process had before [bytes]."""

    def __init__(self) -> None:
        self._reset = Path("/proc/self/clear_refs")
        self._status = Path("/proc/self/status")

    def of(self, step: Callable[[], Any]) -> int:
        """Run a step and return its peak; an exception of the step is raised."""
        self._reset.write_text("5")
        before = self._kib("VmRSS")
        step()
        return 1024 * max(0, self._kib("VmHWM") - before)

    def _kib(self, key: str) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key))


def judge(step: Callable[[], Any], needs: int, memory: Memory) -> tuple[str | None, bool]:
    """Run a step; return the finding, or None, and True if the file was refused."""
    began = time.process_time()
    faulthandler.dump_traceback_later(_HUNG_S, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            took = memory.of(step)
    except BadInputError as error:
        text = str(error)
        wrong = "\n" in text or not text.isprintable() or len(text) > 2000
        return (f"an unprintable or long message: {text[:80]!r}" if wrong else None), True
    except AssertionError as error:
        return str(error), False
    except Exception as error:
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "fuzz" not in f.filename]
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return f"{type(error).__name__} at {at}: {' '.join(str(error).split())[:90]}", False
    finally:
        faulthandler.cancel_dump_traceback_later()
    spent = time.process_time() - began
    if spent > _SLOW_S:
        return f"took {spent:.0f} s", False
    if took > 2 * needs + _NOISE_BYTES:
        return f"took {took / 2**20:.0f} MiB; an empty header {needs / 2**20:.0f} MiB", False
    return None, False


def main() -> int:
    """Run the campaign; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after this time")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=64, help="width of the frames [px]")
    parser.add_argument("--each", type=int, default=100, help="detect on every so-many-th frame")
    parser.add_argument("--detectors", default="sep,neural", help="names, or empty for none")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    chosen = parser.parse_args()
    names = [name for name in chosen.detectors.split(",") if name]
    seeds, memory = images(chosen.side), Memory()
    tally = dict.fromkeys(("refused", "detected"), 0)
    found: dict[str, str] = {}
    began, until, done = time.process_time(), time.monotonic() + 60 * chosen.minutes, 0
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "f.fits"
        needs: dict[tuple[int, str], int] = {}
        for number, image in enumerate(seeds):  # twice: the first loads every library
            path.write_bytes(file_of(image, ()))
            for name in ("", *names):
                step = (lambda: checked(path)) if not name else (lambda n=name: detected(path, n))
                step()
                needs[number, name] = memory.of(step)
        for case in range(chosen.first, chosen.first + chosen.cases):
            if time.monotonic() > until:
                break
            done += 1
            rng = random.Random(f"{chosen.seed}-{case}")
            number = rng.randrange(len(seeds))
            content = file_of(seeds[number], random_cards(rng))
            path.write_bytes(content)
            wrong, refused = judge(lambda: checked(path), needs[number, ""], memory)
            tally["refused"] += refused
            if wrong is None and not refused and case % chosen.each == 0:
                for name in names:
                    step = lambda n=name: detected(path, n)  # noqa: E731
                    wrong = wrong or judge(step, needs[number, name], memory)[0]
                    tally["detected"] += 1
            kind = None if wrong is None else "".join(c for c in wrong if not c.isdigit())[:60]
            if kind is not None and kind not in found:
                chosen.keep.mkdir(parents=True, exist_ok=True)
                kept = chosen.keep / f"header-{chosen.seed}-{case}.fits"
                kept.write_bytes(content)
                found[kind] = f"{wrong} [case {case}] {kept}"
                print(f"    {found[kind]}", flush=True)
    print(f"{done} headers, {tally['refused']} refused, {tally['detected']} catalogues, "
          f"{len(found)} findings, {time.process_time() - began:.0f} s of processor time")  # fmt: skip
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
