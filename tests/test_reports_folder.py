"""Reading run folders; `write_run` makes the synthetic one that the other report tests use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import image as mpl_image

from catalog.errors import BadInputError
from catalog.files import safe_name
from reports import load_run
from reports.counted import COUNT_COLUMNS, COUNTED
from reports.folder import bin_label

EDGES = np.arange(15.0, 25.0)  # nine bins
N_BINS = len(EDGES) - 1
DETECTORS = ("neural", "sep", "sep-matched")
GROUPS = ("crowded", "dirty", "sparse")
POINTS = ("default", "calibrated", "purity95")
#: Magnitude of half completeness, and false detections a frame.
_SKILL = {"neural": (22.6, 9), "sep": (21.4, 22), "sep-matched": (22.1, 14)}
_SHIFT = {"default": 0.0, "calibrated": 0.2, "purity95": -0.3}


def _wilson(k: float, n: float) -> tuple[float, float, float]:
    if n == 0:
        return np.nan, np.nan, np.nan
    z, p = 1.959964, k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max(centre - half, 0.0), min(centre + half, 1.0)


def _f(beta2: float, p: float, r: float) -> float:
    return (1 + beta2) * p * r / (beta2 * p + r) if beta2 * p + r > 0 else np.nan


def _bin_edges(number: int) -> tuple[float, float]:
    if number == -1:
        return -np.inf, EDGES[0]
    if number == N_BINS:
        return EDGES[-1], np.inf
    if 0 <= number < N_BINS:
        return EDGES[number], EDGES[number + 1]
    return np.nan, np.nan


def _bin_of(mag: np.ndarray) -> np.ndarray:
    number = np.searchsorted(EDGES, mag, side="right") - 1
    return np.where(np.isnan(mag), N_BINS + 1, number)


def _parquet(table: pd.DataFrame, path: Path, beside: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)
    if beside:
        table.to_csv(path.with_suffix(".csv"), index=False)


def score_rows(counts: pd.DataFrame, mpix: float) -> pd.DataFrame:
    """Return scores from summed counts, in the run folder's columns."""
    rows: list[dict[str, Any]] = []
    for group in ["all", *sorted(set(counts["group"]) - {"all"})]:
        part = counts if group == "all" else counts[counts["group"] == group]
        for (detector, point), cell in part.groupby(["detector", "point"], sort=False):
            n_frames = cell["frame"].nunique()
            by_bin = [(-2, cell), *cell.groupby("bin")]
            for number, c in by_bin:
                t, tf = int(c["truths"].sum()), int(c["truths_found"].sum())
                d, dr = int(c["detections"].sum()), int(c["detections_right"].sum())
                r, p = _wilson(tf, t), _wilson(dr, d)
                lo, hi = _bin_edges(int(number))
                base = {"detector": detector, "point": point, "group": group, "bin": number}
                base |= {"bin_lo": lo, "bin_hi": hi, "n_frames": n_frames}

                def add(quantity, v, n, k, interval, base=base):
                    value = dict(zip(("value", "lo", "hi"), v, strict=True))
                    rows.append(
                        base | value | {"quantity": quantity, "n": n, "k": k, "interval": interval}
                    )

                add("completeness", r, t, tf, "wilson")
                add("purity", p, d, dr, "wilson")
                for name, beta2 in (("f1", 1.0), ("f2", 4.0)):
                    f = [_f(beta2, a, b) for a, b in zip(p, r, strict=True)]
                    add(name, f, t + d, tf + dr, "bootstrap")
                rate = (d - dr) / (mpix * n_frames)
                add("false_per_mpix", (rate, rate * 0.9, rate * 1.1), d, d - dr, "poisson")
    columns = "detector point group bin bin_lo bin_hi quantity value lo hi n k interval n_frames"
    return pd.DataFrame(rows)[columns.split()]


def write_run(
    path: Path,
    *,
    detectors: tuple[str, ...] = DETECTORS,
    groups: tuple[str, ...] = GROUPS,
    points: tuple[str, ...] = POINTS,
    frames_per_group: int = 4,
    blind: tuple[str, ...] = (),
    failures: tuple[dict[str, Any], ...] = (),
    previews: bool = True,
    pairs: bool = True,
    suffix: str = "",
    n_truth: int = 110,
) -> Path:
    """Write a synthetic run; `blind` ones find nothing, `suffix` ends the frames' names."""
    rng = np.random.default_rng(20261)
    ny, nx = 192, 320
    mpix = ny * nx / 1e6
    frames, counts = [], []
    for group in groups:
        for i in range(frames_per_group):
            frame = f"{group}_{i:03d}{suffix}"
            n = n_truth * (6 if group == "crowded" else 1) + 7 * i
            truth = pd.DataFrame(
                {
                    "x": rng.uniform(0, nx - 1, n),
                    "y": rng.uniform(0, ny - 1, n),
                    "mag": np.minimum(16 + rng.power(3.0, n) * 9.0, 24.9),
                    "kind": "point",
                    "length": 0.0,
                    "theta": 0.0,
                    "ignore": rng.random(n) < 0.03,
                }
            )
            truth.loc[0, ["kind", "length", "theta"]] = ["streak", 90.0, 0.5]
            frames.append(
                {
                    "name": frame,
                    "path": f"data/{frame}.fits",
                    "truth": f"data/{frame}.ecsv",
                    "split": "test",
                    "group": group,
                    "ny": ny,
                    "nx": nx,
                    "mpix": mpix,
                }
            )
            _parquet(truth, path / "truth" / f"{safe_name(frame)}.parquet")
            if previews:
                _write_preview(path / "previews" / f"{safe_name(frame)}.png", truth, ny, nx, rng)
            for detector in detectors:
                m50, n_false = _SKILL.get(detector, (21.8, 18))
                rows: list[pd.DataFrame] = []  # the points cut one catalogue, so it holds them all
                for point in points:
                    start = sum(map(len, rows))
                    m = m50 + _SHIFT[point] - (1.0 if group == "crowded" else 0.0)
                    chance = 1 / (1 + np.exp((truth["mag"] - m) / 0.35))
                    hit = (rng.random(n) < chance).to_numpy()
                    n_wrong = int(rng.poisson(n_false * (1 + 1.5 * _SHIFT[point])))
                    if detector in blind:
                        hit, n_wrong = np.zeros(n, dtype=bool), 0
                    found = pd.DataFrame(
                        {
                            "x": np.r_[truth["x"][hit], rng.uniform(0, nx - 1, n_wrong)],
                            "y": np.r_[truth["y"][hit], rng.uniform(0, ny - 1, n_wrong)],
                            "mag": np.r_[truth["mag"][hit], rng.uniform(20, 24, n_wrong)],
                        }
                    )
                    ignore = truth["ignore"].to_numpy()
                    index = np.full(n, -1)
                    index[hit] = start + np.arange(hit.sum())
                    outcome = np.where(ignore, "ignored", np.where(hit, "found", "missed"))
                    pair = pd.DataFrame(
                        {
                            "truth_index": np.r_[np.arange(n), np.full(n_wrong, -1)],
                            "found_index": np.r_[index, start + hit.sum() + np.arange(n_wrong)],
                            "separation_px": np.r_[
                                np.where(hit, 0.3, np.nan), np.full(n_wrong, np.nan)
                            ],
                            "outcome": np.r_[outcome, np.full(n_wrong, "false")].astype(object),
                        }
                    )
                    if pairs:
                        place = path / "pairs" / safe_name(detector) / point
                        _parquet(pair, place / f"{safe_name(frame)}.parquet")
                    rows.append(found)
                    measured = np.r_[
                        truth["mag"][hit] + rng.normal(0, 0.05, hit.sum()),
                        found["mag"][hit.sum() :],
                    ]
                    right = np.r_[np.ones(hit.sum(), bool), np.zeros(n_wrong, bool)]
                    counted = np.r_[~ignore[hit], np.ones(n_wrong, bool)]
                    tb, fb = _bin_of(truth["mag"].to_numpy()), _bin_of(measured)
                    for number in range(-1, N_BINS + 2):
                        lo, hi = _bin_edges(number)
                        counts.append(
                            {
                                "detector": detector,
                                "point": point,
                                "frame": frame,
                                "group": group,
                                "bin": number,
                                "bin_lo": lo,
                                "bin_hi": hi,
                                "truths": int((~ignore & (tb == number)).sum()),
                                "truths_found": int((~ignore & hit & (tb == number)).sum()),
                                "detections": int((counted & (fb == number)).sum()),
                                "detections_right": int((counted & right & (fb == number)).sum()),
                                "truths_ignored": int((ignore & (tb == number)).sum()),
                                "detections_ignored": int((~counted & (fb == number)).sum()),
                                "duplicates": 0,
                            }
                        )
                place = path / "catalogs" / safe_name(detector)
                _parquet(pd.concat(rows), place / f"{safe_name(frame)}.parquet")
    table = pd.DataFrame(counts)
    scores = score_rows(table, mpix)
    sweep, limits = [], []
    for detector in detectors:
        m50, _ = _SKILL.get(detector, (21.8, 18))
        for group in dict.fromkeys(["all", *groups]):
            for threshold in np.linspace(0, 1, 21):
                r = (0.9 - 0.7 * threshold) * m50 / 24
                p = 1 - 0.5 * (1 - threshold) ** 3
                if detector in blind:
                    r, p = 0.0, np.nan
                row = {"detector": detector, "group": group, "threshold": threshold}
                row |= {"truths": 1000, "truths_found": int(1000 * r), "detections": 900}
                row |= {"detections_right": 800, "completeness": r, "purity": p}
                sweep.append(
                    row
                    | {"f1": _f(1, p, r), "f2": _f(4, p, r), "false_per_mpix": 50 * (1 - threshold)}
                )
            for point in points:
                snr = 4.0 + (23 - m50) - _SHIFT[point] + (1.5 if group == "crowded" else 0.0)
                if detector in blind:
                    snr = np.nan
                limits.append(
                    {
                        "detector": detector,
                        "point": point,
                        "group": group,
                        "threshold": 0.5,
                        "purity": 0.95,
                        "completeness": 0.7,
                        "false_per_mpix": 12.0,
                        "snr50": snr,
                        "snr50_lo": snr - 0.2,
                        "snr50_hi": snr + 0.25,
                        "m50": m50,
                        "m50_lo": m50 - 0.1,
                        "m50_hi": m50 + 0.1,
                        "n_truths": 900,
                        "n_frames": frames_per_group * (len(groups) if group == "all" else 1),
                    }
                )
    for name, rows in (("counts", table), ("scores", scores), ("sweep", sweep), ("limits", limits)):
        _parquet(pd.DataFrame(rows), path / f"{name}.parquet", beside=True)
    record = {
        "schema": 1,
        "name": path.name,
        "status": "complete with failures" if failures else "complete",
        "created_utc": "2026-05-01T20:00:00Z",
        "finished_utc": "2026-05-01T20:07:30Z",
        "versions": {"skyduel": "0.1.0", "python": "3.11.9", "sep": "1.4.1"},
        "git_revision": "0123abcd",
        "git_dirty": False,
        "machine": {"platform": "Linux", "cpu": "a CPU", "cores": 8, "memory_gib": 31.2},
        "command": "skyduel run",
        "seeds": {"dataset": 1, "bootstrap": 2},
        "dataset": {"path": "data", "name": "built-in", "n_frames": len(frames), "frames": frames},
        "rules": {"radius_px": 3.0, "edges_mag": EDGES.tolist()},
        "points": list(points),
        "detectors": [
            {
                "name": d,
                "settings": {"score_threshold": 0.5, "note": "a < b & c"},
                "default_threshold": 0.5,
                "calibrated_threshold": 0.42 if "calibrated" in points else None,
                "weights_sha256": "ab" * 32 if d == "neural" else None,
                "device": "cpu",
                "seconds": 12.5 + 3 * i,
                "mpix": mpix * len(frames),
                "mpix_per_s": mpix * len(frames) / (12.5 + 3 * i),
                "peak_memory_mib": 812.4 + i,
                "frames_done": len(frames),
                "frames_failed": sum(f["detector"] == d for f in failures),
            }
            for i, d in enumerate(detectors)
        ],
        "failures": list(failures),
    }
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return path


def _write_preview(path: Path, truth: pd.DataFrame, ny: int, nx: int, rng: Any) -> None:
    sky = rng.normal(0.12, 0.04, (ny, nx))
    for x, y, mag in truth[["x", "y", "mag"]].to_numpy():
        i, j = round(y), round(x)
        sky[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] += 0.8 * 10 ** (-0.2 * (mag - 17))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = (np.clip(sky, 0, 1)[::-1] * 255).astype(np.uint8)  # first row at the bottom
    mpl_image.imsave(path, picture, cmap="gray", vmin=0, vmax=255)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "spring")


def test_the_record_and_the_tables_are_read(folder):
    run = load_run(folder)
    assert run.name == "spring"
    assert run.detectors == DETECTORS
    assert run.groups == GROUPS
    assert run.points == POINTS
    assert len(run.scored_frames) == 12
    assert len(run.counts) == 3 * 3 * 12
    assert run.missing == ()


def test_counts_are_summed_over_bins_however_many_rows_are_read_at_a_time(folder, monkeypatch):
    counts = pd.read_parquet(folder / "counts.parquet")
    assert len(counts) == 3 * 3 * 12 * (N_BINS + 3)
    keys = ["detector", "point", "frame", "group"]
    wanted = counts.groupby(keys, sort=False)[list(COUNTED)].sum().reset_index()
    for together in (65_536, 100, 7):
        monkeypatch.setattr("reports.counted._TOGETHER", together)
        found = load_run(folder).counts
        assert list(found.columns) == list(COUNT_COLUMNS)
        plain = found.astype(dict.fromkeys(keys, object) | dict.fromkeys(COUNTED, "int64"))
        pd.testing.assert_frame_equal(plain, wanted[list(COUNT_COLUMNS)], check_dtype=False)


def test_counts_beyond_four_bytes_and_halves_keep_their_value(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    counts = pd.read_parquet(path / "counts.parquet")
    counts["detections"] = 2**40
    counts["truths"] = 0.5
    counts.to_parquet(path / "counts.parquet")
    found = load_run(path).counts
    assert set(found["detections"]) == {(N_BINS + 3) * 2**40}
    assert set(found["truths"]) == {(N_BINS + 3) / 2}


def test_counts_without_a_name_in_a_row_or_without_a_column_are_named(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    counts = pd.read_parquet(path / "counts.parquet")
    counts.drop(columns=["bin_lo", "truths"]).to_parquet(path / "counts.parquet")
    with pytest.raises(BadInputError, match=r"counts\.parquet: required columns bin_lo, truths"):
        load_run(path)
    counts.assign(truths="many").to_parquet(path / "counts.parquet")
    with pytest.raises(BadInputError, match=r"counts\.parquet: required numbers in column truths"):
        load_run(path)
    counts.loc[3, "frame"] = None
    counts.to_parquet(path / "counts.parquet")
    with pytest.raises(BadInputError, match="a name in every row of column frame"):
        load_run(path)


def test_counts_without_rows_are_no_frames(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    pd.read_parquet(path / "counts.parquet").iloc[:0].to_parquet(path / "counts.parquet")
    assert load_run(path).scored_frames == ()


def test_a_preview_has_the_first_row_first(folder):
    run = load_run(folder)
    picture = run.preview("sparse_001")
    truth = run.truth("sparse_001")
    assert picture.shape == (192, 320)
    brightest = truth.loc[truth["mag"].idxmin()]
    peak = picture[round(brightest["y"]), round(brightest["x"])]
    assert peak > picture.mean() + 0.3


def test_files_of_a_frame_are_read_when_asked_for_and_may_be_absent(folder):
    run = load_run(folder)
    assert len(run.pairs("sep", "default", "dirty_002")) >= len(run.truth("dirty_002"))
    assert run.pairs("sep", "default", "nowhere") is None
    assert run.catalog("sep", "nowhere") is None
    assert run.preview("nowhere") is None


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        load_run(tmp_path / "absent")
    with pytest.raises(BadInputError, match=r"run\.json.*no such file"):
        load_run(tmp_path)
    for content, match in (
        ("{", "readable JSON"),
        ("[1]", "another file"),
        ('{"schema": 2}', "newer version"),
        ('{"schema": "a"}', "required schema 1"),
        ('{"schema": 1, "detectors": 3}', "'detectors' as a JSON list; got int"),
        ('{"schema": 1, "detectors": [3]}', r"detectors\.0: required input"),
        (
            '{"schema": 1, "bins_mag": [1, null]}',
            r"bins_mag\.1: required input should be a valid number",
        ),
        ('{"schema": 1, "bins_mag": [2, 2]}', "edges that rise"),
        ('{"schema": 1, "dataset": {"frames": [{"name": "a", "ny": -3}]}}', "greater than 0"),
        ('{"schema": 1, "dataset": {"frames": [{"name": "a", "mpix": NaN}]}}', "finite number"),
        ('{"schema": 1, "failures": [null]}', r"failures\.0"),
        ('{"schema": 1, "rules": {"confidence": 3}}', r"rules\.confidence"),
        ('{"schema": 1, "status": "running"}', "counts.*'running'"),
    ):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(BadInputError, match=match):
            load_run(tmp_path)


def test_a_table_without_its_columns_or_unreadable_is_named(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    scores = pd.read_parquet(path / "scores.parquet")
    scores.drop(columns=["lo"]).to_parquet(path / "scores.parquet")
    with pytest.raises(BadInputError, match=r"scores\.parquet: required columns lo"):
        load_run(path)
    (path / "scores.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(BadInputError, match="readable Parquet"):
        load_run(path)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [("lo", "low", "numbers in column lo"), ("quantity", 3, "words in column quantity")],
)
def test_a_table_of_other_columns_than_it_should_have_is_named(tmp_path, column, value, match):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    scores = pd.read_parquet(path / "scores.parquet")
    scores[column] = value
    scores.to_parquet(path / "scores.parquet")
    with pytest.raises(BadInputError, match=rf"scores\.parquet: required {match}"):
        load_run(path)


@pytest.mark.parametrize("name", ["scores", "limits"])
def test_a_table_with_a_row_twice_is_named(tmp_path, name):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    table = pd.read_parquet(path / f"{name}.parquet")
    pd.concat([table, table.iloc[:1]]).to_parquet(path / f"{name}.parquet")
    with pytest.raises(BadInputError, match=rf"{name}\.parquet: required one row for each"):
        load_run(path)


def test_missing_sweep_and_limits_are_listed_not_fatal(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    (path / "sweep.parquet").unlink()
    (path / "limits.parquet").unlink()
    run = load_run(path)
    assert run.missing == ("sweep.parquet", "limits.parquet")
    assert len(run.sweep) == len(run.limits) == 0


def test_a_run_from_before_nine_tenths_were_told_is_read(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    assert "m90" not in pd.read_parquet(path / "limits.parquet")
    limits = load_run(path).limits
    assert len(limits) > 0
    assert limits[["m90", "snr90_lo", "width_mag", "ceiling"]].isna().all().all()


def test_bins_are_named_by_their_edges():
    assert bin_label(-2, np.nan, np.nan, 9) == "all"
    assert bin_label(-1, -np.inf, 15.0, 9) == "< 15"
    assert bin_label(0, 15.0, 15.5, 9) == "15–15.5"
    assert bin_label(9, 24.0, np.inf, 9) == "≥ 24"
    assert bin_label(10, np.nan, np.nan, 9) == "no magnitude"
