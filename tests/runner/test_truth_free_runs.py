"""`skyduel inject` and `skyduel truth-free` on frames whose truth is known."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS
from helpers.command_line import skyduel
from rich.console import Console

from skyduel.cli.commands.truth_free import _recurrence_view, _scores_view
from skyduel.cli.whole_tables import WholeTable
from skyduel.core import (
    BadInputError,
    Catalog,
    Frame,
    open_dataset,
    read_catalog,
    read_frame,
    write_catalog,
    write_frame,
)
from skyduel.evaluation import ScoringRules, pair, score_catalogs
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.truth_free import (
    common_positions,
    recurrence_table,
    repeat_scores_table,
    repeat_table,
)
from skyduel.simulation import SceneSettings, inject, make_psf, simulate

NY, NX = 240, 330


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Catalog]:
    """A frame of stars as an observatory would hand it over, and its truth."""
    settings = SceneSettings(ny=NY, nx=NX, sky=200.0, density=80 / (NY * NX), min_snr=6.0)
    frame, truth = simulate(settings, np.random.default_rng(5), "field")
    path = tmp_path_factory.mktemp("sky") / "field.fits"
    write_frame(frame.with_(header={"OBSERVER": "nobody"}), path, dtype="uint16")
    return path, truth


def test_inject_writes_a_data_set_in_which_real_sources_are_no_false_ones(
    sky: tuple[Path, Catalog], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = sky
    out = tmp_path / "injected"
    arguments = ("--number", 25, "--copies", 2, "--streaks", 1, "--snr", "8:60", "--with", "sep")
    assert skyduel("inject", path, "--out", out, *arguments) == 0
    said = capsys.readouterr()
    assert "Moffat" in said.out
    assert said.out.strip().endswith("manifest.csv")
    dataset = open_dataset(out)
    assert [e.name for e in dataset] == ["field_000", "field_001"]
    original = read_frame(path)
    detector = build(DetectorSpec(name="sep", use="sep"))
    there = detector(original)
    shares = []
    for entry in dataset:
        frame = read_frame(entry.frame)
        assert (frame.data == np.rint(frame.data)).all()
        assert frame.header["INJ_FROM"] == "field"
        assert frame.header["OBSERVER"] == "nobody"
        assert (frame.gain, frame.saturation) == (original.gain, original.saturation)
        assert entry.truth is not None
        truth = read_catalog(entry.truth, frame=frame)
        injected = np.asarray(truth["injected"], dtype=bool)
        assert injected.sum() == 26
        assert (truth["ignore"] == ~injected).all()
        assert (~injected).sum() == len(there)
        found = detector(frame)
        report = score_catalogs(truth, found, ScoringRules(), frame_shape=frame.shape)
        counts = report.counts.sums()
        assert counts["truths"] == 26
        # What the frame held already is excused: nearly every one of it is found again.
        assert counts["detections_ignored"] >= 0.95 * len(there)
        false = counts["detections"] - counts["detections_right"]
        assert false <= 6  # pieces of the streak, at most a split star
        shares.append(counts["truths_found"] / 26)
    assert min(shares) > 0.8
    first, second = (read_catalog(e.truth)["x"][:20] for e in dataset if e.truth)
    assert not np.isin(first, second).any()


def test_inject_puts_in_galaxies_and_shows_how_many_of_which_size(
    sky: tuple[Path, Catalog], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "injected"
    arguments = ("--number", 4, "--galaxies", 6, "--size", "1:5", "--axis-ratio", "0.5:0.9",
                 "--sersic", "1,2.5", "--snr", "30:90", "--separation", 3, "--psf", "moffat:2.5,3",
                 "--with", "sep")  # fmt: skip
    assert skyduel("inject", sky[0], "--out", out, *arguments) == 0
    said = capsys.readouterr().out
    assert "galaxies injected into field" in said
    cells = [line.split() for line in said.split("r½ px")[1].splitlines() if line[:2].strip()]
    counts = [int(v) for row in cells if "–" in row[0] or row[0] == "≥" for v in row[1:]
              if v.isdigit()]  # fmt: skip
    assert sum(counts) == 6
    (entry,) = open_dataset(out)
    frame = read_frame(entry.frame)
    truth = read_catalog(entry.truth, frame=frame)
    galaxies = truth.select(truth.is_galaxy)
    assert len(galaxies) == 6
    assert set(galaxies["sersic"]) <= {1.0, 2.5}
    assert ((galaxies["axis_ratio"] >= 0.5) & (galaxies["axis_ratio"] <= 0.9)).all()
    scale = read_frame(sky[0]).pixel_scale_arcsec
    assert scale is not None
    assert galaxies["half_light_arcsec"] == pytest.approx(scale * galaxies["half_light_px"])
    assert not galaxies["ignore"].any()
    assert np.isnan(truth["half_light_px"][truth["ignore"]]).all()
    report = score_catalogs(truth, build(DetectorSpec(name="sep", use="sep"))(frame),
                            ScoringRules(), frame_shape=frame.shape)  # fmt: skip
    assert report.counts.sums()["truths"] == 10
    assert report.counts.sums()["truths_found"] >= 9


def test_inject_is_the_same_for_the_same_seed(sky: tuple[Path, Catalog], tmp_path: Path) -> None:
    path, _ = sky
    pixels = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        arguments = ("--number", 5, "--psf", "moffat:2.5,3", "--seed", seed, "--with", "sep")
        assert skyduel("inject", path, "--out", tmp_path / name, *arguments) == 0
        pixels.append(read_frame(tmp_path / name / "field_000.fits.fz").data.tobytes())
    assert pixels[0] == pixels[1] != pixels[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--snr", "3-9"), "--snr: required LO:HI"),
        (("--snr", "9:3"), "from low to high"),
        (("--snr", "3:9", "--mag", "14:18"), "either --snr or --mag"),
        (("--psf", "airy"), "auto, moffat:FWHM,BETA"),
        (("--size", "1:4"), "--size: required --galaxies with it; got no galaxies"),
        (("--galaxies", 1, "--sersic", "disc"), "--sersic: required N or N,N,..., numbers"),
        (("--galaxies", 1, "--sersic", "9"), "less than or equal to 6"),
        (("--galaxies", 1, "--axis-ratio", "0.5:2"), "axis_ratio must lie between 0.05 and 1"),
        (("--galaxies", 1, "--size", "4:1"), "size must run from low to high"),
        (("--psf", "moffat:2.5,3", "--avoid", 5000), "room for at least one source"),
        (("--with", "sap"), "sap"),
    ],
)
def test_inject_refuses_in_one_line(
    sky: tuple[Path, Catalog],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple,
    message: str,
) -> None:
    with_ = () if "--with" in arguments else ("--with", "sep")
    assert skyduel("inject", sky[0], "--out", tmp_path / "out", *arguments, *with_) == 2
    assert message in capsys.readouterr().err


def test_inject_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = np.random.default_rng(1).normal(100, 5, (80, 90)).astype(np.float32)
    path = tmp_path / "bare.fits"
    write_frame(Frame(data=data, name="bare"), path)
    arguments = ("--number", 400, "--psf", "gaussian:2", "--with", "sep")
    assert skyduel("inject", path, "--out", tmp_path / "out", *arguments) == 0
    said = capsys.readouterr().err
    assert "gain unknown" in said
    assert "of 400 sources" in said


def test_truth_free_counts_noise_on_the_flipped_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing but noise: the frame and the flipped frame give as many false detections.
    data = np.random.default_rng(3).normal(1000, 10, (600, 700)).astype(np.float32)
    path = tmp_path / "noise.fits"
    write_frame(Frame(data=data, name="noise", fwhm=2.5), path)
    out = tmp_path / "out"
    low = ("--set", "sep-matched.score_threshold=3.5")
    assert skyduel("truth-free", path, "--with", "sep-matched", *low, "--out", out) == 0
    assert "sign-flipped: noise" in capsys.readouterr().out
    (row,) = pd.read_csv(out / "flipped.csv").to_dict("records")
    n, m = row["n_found"], row["n_flipped"]
    assert min(n, m) > 30
    assert abs(n - m) < 4 * np.sqrt(n + m)
    assert row["mpix_flipped"] > 0.99 * row["mpix"]
    assert row["purity_lo"] <= 0.05  # nothing there is real


def exposures(n: int, jitter: float = 0.0) -> tuple[list[Frame], Catalog]:
    """Exposures of one field: the same stars, noise of its own in each."""
    rng = np.random.default_rng(11)
    psf = make_psf(2.5)
    k = 160
    flux = 10 ** rng.uniform(2.1, 4.0, k)
    xy = np.column_stack([rng.uniform(8, NX - 8, k), rng.uniform(8, NY - 8, k)])
    frames = []
    for number in range(n):
        shift = np.array([12 * number, -9 * number]) * jitter
        noise = rng.normal(1000, 10, (NY, NX)).astype(np.float32)
        frame = Frame(data=noise, name=f"exposure {number}", gain=1e4, fwhm=2.6)
        sources = Catalog.build(x=xy[:, 0] + shift[0], y=xy[:, 1] + shift[1], flux=flux)
        frame = inject(frame, sources, psf, rng)
        if jitter:
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            wcs.wcs.crval, wcs.wcs.cdelt = [150.0, 40.0], [-5e-4, 5e-4]
            wcs.wcs.crpix = np.array([NX / 2, NY / 2]) + shift
            frame = frame.with_(wcs=wcs)
        frames.append(frame)
    return frames, Catalog.build(x=xy[:, 0], y=xy[:, 1], flux=flux)


def test_purity_from_repeats_is_near_the_true_one() -> None:
    frames, truth = exposures(5)
    settings = {"score_threshold": 3.0}
    detector = build(DetectorSpec(name="m", use="sep-matched", settings=settings))
    found = {("m", f.name): detector(f) for f in frames}
    row = repeat_table(frames, {"m": detector}, 1.5, found=found).to_dict("records")[0]
    cut = [c.select(c["score"] >= 3.0) for c in found.values()]
    right = sum(len(pair(truth.xy, c.xy, 1.5)) for c in cut)
    purity = right / sum(len(c) for c in cut)
    assert 0.5 < purity < 0.97  # the case is one where there is something to find out
    assert row["purity"] == pytest.approx(purity, abs=0.06)
    assert row["purity_least"] <= row["purity"]
    assert row["seen_5"] > 300


def test_repeats_through_the_wcs_are_those_of_the_sky() -> None:
    frames, _ = exposures(3, jitter=1.0)
    detector = build(DetectorSpec(name="sep", use="sep"))
    catalogs = [detector(f) for f in frames]
    positions = common_positions(frames, catalogs)
    # What falls off a later exposure is left out of the first.
    assert len(positions[0]) < len(catalogs[0]) - 5
    table = repeat_table(frames, {"sep": detector}, 1.5)
    assert float(table["once"][0]) < 0.1
    astray = [f.with_(wcs=None) for f in frames]
    assert float(repeat_table(astray, {"sep": detector}, 1.5)["once"][0]) > 0.5


def test_exposures_that_cannot_be_aligned_are_refused() -> None:
    frames, truth = exposures(2, jitter=1.0)
    with pytest.raises(BadInputError, match="a WCS, as the other exposures have"):
        common_positions([frames[0], frames[1].with_(wcs=None)], [truth, truth])
    small = Frame(data=frames[1].data[:100], name="small")
    with pytest.raises(BadInputError, match="of one shape"):
        common_positions([frames[0].with_(wcs=None), small], [truth, truth])


def test_truth_free_shows_repeats_and_refuses_a_single_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for number, frame in enumerate(exposures(3)[0]):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths.append(folder / "same.fits")
        write_frame(frame, paths[-1])
    assert skyduel("truth-free", paths[0], "--repeats", "--with", "sep") == 2
    assert "at least two frames" in capsys.readouterr().err
    assert skyduel("truth-free", *paths, "--repeats", "--with", "sep", "--out", tmp_path / "o") == 0
    said = capsys.readouterr()
    assert "repeats within 2 px" in said.out
    assert "registered to the pixel" in said.err
    rows = pd.read_csv(tmp_path / "o" / "repeats.csv")
    assert rows["n_exposures"].tolist() == [3]
    assert sorted(pd.read_csv(tmp_path / "o" / "flipped.csv")["frame"])[-1] == "all"
    recurrence = pd.read_csv(tmp_path / "o" / "recurrence.csv")
    assert recurrence["seen_in"].tolist() == [3, 2, 1]
    assert recurrence["detections"].tolist() == [rows[f"seen_{k}"][0] for k in (3, 2, 1)]


def repeats(n: int, **detectors: list[int]) -> pd.DataFrame:
    """A table of repeats whose detectors were seen 1, 2, … n times so often."""
    return pd.DataFrame(
        {"detector": name, "n_exposures": n} | {f"seen_{k}": v for k, v in enumerate(seen, 1)}
        for name, seen in detectors.items()
    )


def test_catalogues_of_another_program_take_part_in_repeats(
    sky: tuple[Path, Catalog], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, truth = sky
    frame = read_frame(path)
    (tmp_path / "mine").mkdir()
    for name in ("a", "b"):
        write_frame(frame.with_(name=name), tmp_path / f"{name}.fits")
        write_catalog(truth, tmp_path / "mine" / f"{name}.ecsv")
    mine = ("--with", "mine=file", "--set", f"mine.folder={tmp_path / 'mine'}")
    frames = (tmp_path / "a.fits", tmp_path / "b.fits")
    assert skyduel("truth-free", *frames, *mine) == 2
    said = "--with: required detectors that run on flipped frames, or --repeats to compare"
    assert said in capsys.readouterr().err
    out = tmp_path / "out"
    assert skyduel("truth-free", *frames, *mine, "--repeats", "--out", out) == 0
    assert "sign-flipped" not in capsys.readouterr().out
    assert sorted(file.name for file in out.iterdir()) == ["recurrence.csv", "repeats.csv"]
    seen = pd.read_csv(out / "recurrence.csv")
    (twice,) = seen[seen["seen_in"] == 2]["sources"]
    assert twice == len(truth)  # the very same catalogue twice


def test_recurrence_counts_sources_not_detections() -> None:
    table = recurrence_table(repeats(3, a=[10, 8, 300], none=[0, 0, 0]))
    one = table[table["detector"] == "a"]
    assert one["seen_in"].tolist() == [3, 2, 1]
    assert one["sources"].tolist() == [100, 4, 10]
    assert one["sources_at_least"].tolist() == [100, 104, 114]
    assert one["share_at_least"].tolist() == pytest.approx([100 / 114, 104 / 114, 1])
    assert table[table["detector"] == "none"]["share_at_least"].isna().all()


def test_twelve_exposures_are_readable_at_80_columns() -> None:
    seen = {name: [1200 * k for k in range(1, 13)] for name in ("neural", "sep", "sep-matched")}
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    console.print(WholeTable(_recurrence_view(recurrence_table(repeats(12, **seen)), 2.0)))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in stream.getvalue()
    head = next(line for line in lines if "seen in" in line)
    assert all(name in head for name in seen)
    numbers = [line for line in lines if " of 12 " in line and "(" in line]
    assert [line.split()[1] for line in numbers] == [str(k) for k in range(12, 0, -1)]
    assert all(line.count("1,200 (") == 3 for line in numbers)


@pytest.mark.parametrize("apart", [False, True])
def test_exposures_that_do_not_show_the_same_sources_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], apart: bool
) -> None:
    paths = []
    for frame in exposures(2, jitter=1.0)[0]:
        paths.append(tmp_path / f"{frame.name}.fits")
        write_frame(frame.with_(wcs=None) if apart else frame, paths[-1])
    assert skyduel("truth-free", *paths, "--repeats", "--with", "sep") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert ("hardly any detection recurs but by chance" in said) == apart


def promised(frames: list[Frame]) -> dict[tuple[str, str], Catalog]:
    """Catalogues of `sep-matched`, with the S/N as score, and with a probability."""
    detector, found = build(DetectorSpec(name="m", use="sep-matched")), {}
    for frame in frames:
        catalog = detector(frame)
        found["m", frame.name] = catalog
        share = 1 / (1 + np.exp(-2 * (catalog["score"] - 3.5)))
        found["p", frame.name] = catalog.with_columns(score=share)
    return found


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_scores_are_compared_with_what_recurs(jitter: float) -> None:
    frames, truth = exposures(4, jitter=jitter)
    found = promised(frames)
    table = repeat_scores_table(frames, {"m": None, "p": None}, 1.5, found=found)  # type: ignore[dict-item]
    assert set(table["detector"]) == {"p"}  # an S/N is no probability
    whole = table.iloc[-1]
    assert whole["n"] == table["n"][:-1].sum() > 400
    # A catalogue that is not given is made.
    some = {key: catalog for key, catalog in found.items() if key[1] != frames[0].name}
    made = repeat_scores_table(frames, {"p": lambda f: found["p", f.name]}, 1.5, found=some)  # type: ignore[dict-item]
    pd.testing.assert_frame_equal(made, table)
    if jitter == 0.0:
        kept = [c.select(c["score"] >= 0.1) for (label, _), c in found.items() if label == "p"]
        real = sum(len(pair(truth.xy, c.xy, 1.5)) for c in kept) / sum(len(c) for c in kept)
        assert whole["real_least"] == pytest.approx(real, abs=0.04)
        assert whole["predicted"] == pytest.approx(
            np.concatenate([c["score"] for c in kept]).mean()
        )


def test_truth_free_prints_and_writes_how_scores_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for frame in exposures(2)[0]:
        paths.append(tmp_path / f"{frame.name}.fits")
        write_frame(frame, paths[-1])
    both = ("--with", "sep", "--with", "neural", "--out", tmp_path / "o")
    assert skyduel("truth-free", *paths, "--repeats", *both) == 0
    said = capsys.readouterr().out
    assert "scores, and how many detections recur" in said
    written = pd.read_csv(tmp_path / "o" / "repeat_scores.csv")
    assert set(written["detector"]) == {"neural"}
    assert written["score_lo"].tolist() == pytest.approx([*np.arange(1, 10) / 10, 0.1])
    bright = written.iloc[-2]
    assert (bright["n"] > 150, bright["k"] / bright["n"] > 0.9) == (True, True)
    assert f"{bright['real_least']:.3f} [{bright['real_lo']:.3f}, {bright['real_hi']:.3f}]" in said


def test_scores_are_readable_at_80_columns() -> None:
    found = promised(frames := exposures(3)[0])
    table = repeat_scores_table(frames, {"p": None}, 1.5, found=found)  # type: ignore[dict-item]
    stream = io.StringIO()
    Console(file=stream, width=80).print(
        WholeTable(_scores_view(table.assign(detector="sep-matched")), keys=2)
    )
    assert "…" not in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80
