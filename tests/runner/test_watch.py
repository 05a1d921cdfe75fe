"""`skyduel watch`: its catalogues, events and ends. Tests wait for events, never for a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
from astropy.wcs import WCS
from helpers.command_line import skyduel
from helpers.paths import ROOT

from skyduel.cli.commands.watch.terminal import ended_by_signals
from skyduel.core import BadInputError, Catalog, read_catalog, write_catalog, write_frame
from skyduel.core.frame import Frame
from skyduel.core.operating_point import RowChoice
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.watch.http_status import serve_status
from skyduel.runner.watch.journal import EVENTS, Journal
from skyduel.runner.watch.meters import Meters
from skyduel.runner.watch.mqtt import broker_of, mqtt_events
from skyduel.runner.watch.notices import Notices
from skyduel.runner.watch.plan import WatchPlan
from skyduel.runner.watch.references import NewSourceRules
from skyduel.runner.watch.watcher import Watcher, open_watcher

OUTER_LIMIT_S = 120.0
SHAPE = (72, 96)


def star_frame(
    path: Path, seed: int, stars: np.ndarray, *, wcs: WCS | None = None, shift=(0.0, 0.0)
) -> Path:
    """Write a frame of stars, rows of x, y and flux, on noise of 5 ADU."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    data = rng.normal(200, 5, SHAPE)
    for x, y, flux in stars:
        r2 = (xx - x - shift[0]) ** 2 + (yy - y - shift[1]) ** 2
        data += flux / (2 * np.pi * 1.5) * np.exp(-r2 / 3.0)
    frame = Frame(data=data.astype(np.float32), name=path.stem, gain=1.5, zero_point=25.0, wcs=wcs)
    write_frame(frame, path)
    return path


@pytest.fixture
def stars() -> np.ndarray:
    # One on each cell of a grid, so that none is near another; the last row is left free.
    rng = np.random.default_rng(5)
    cells = np.array([(x, y) for y in (10, 24, 38) for x in range(10, 90, 14)], float)
    places = cells + rng.uniform(-2.5, 2.5, cells.shape)
    return np.column_stack([places, 10 ** rng.uniform(3.3, 4.5, len(places))])


@pytest.fixture
def night(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


def plan_of(night: Path, **changes: Any) -> WatchPlan:
    (spec,) = parse_specs(["sep"])
    given = {"poll_s": 0.01, "patience_s": 0.01, "once": True} | changes
    return WatchPlan(folder=night / "in", out=night / "out", spec=spec, choice=RowChoice(), **given)


def watched(plan: WatchPlan) -> list[dict[str, Any]]:
    """Work off a folder, and return the events."""
    events: list[dict[str, Any]] = []
    with open_watcher(plan, [events.append]) as watcher:
        watcher.run()
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [f"{e['event']} {e['frame']}" for e in events if "frame" in e]


class _Running:
    """A watch in a thread, and its events one after the other."""

    def __init__(self, watcher: Watcher, events: Queue[dict[str, Any]]) -> None:
        self.watcher, self._events = watcher, events

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next event that is wanted."""
        while True:
            event = self._events.get(timeout=OUTER_LIMIT_S)
            if wanted(event):
                return event


@contextmanager
def running(plan: WatchPlan) -> Iterator[_Running]:
    events: Queue[dict[str, Any]] = Queue()
    with open_watcher(plan, [events.put]) as watcher:
        thread = threading.Thread(target=watcher.run)
        thread.start()
        try:
            yield _Running(watcher, events)
        finally:
            watcher.stop()
            thread.join(OUTER_LIMIT_S)
            assert not thread.is_alive()


def is_event(kind: str, frame: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == kind and event["frame"] == frame


def test_catalogues_are_those_of_detect(night, stars, capsys) -> None:
    a = star_frame(night / "in" / "a.fits", 1, stars)
    b = star_frame(night / "in" / "b b.fits", 2, stars)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:30] = 1
    write_frame(Frame(data=mask + np.float32(0), name="m"), night / "in" / "a_mask.fits")
    more = ("--with", "sep", "--format", "csv", "--max", "9", "--set", "sep.DETECT_THRESH=2",
            "--zero-point", "24")  # fmt: skip
    assert skyduel("detect", a, b, "--out", night / "detect", *more) == 0
    words = ("watch", night / "in", "--out", night / "watch", "--once", "--poll", "0.01", *more)
    assert skyduel(*words) == 0
    said = capsys.readouterr()
    for file in sorted((night / "detect").iterdir()):
        assert (night / "watch" / file.name).read_bytes() == file.read_bytes()
    tables = sorted(p.name for p in (night / "watch").glob("*.csv"))
    assert tables == sorted(p.name for p in (night / "detect").iterdir())
    assert len(read_catalog(night / "watch" / "a.csv")) <= 9
    assert (read_catalog(night / "watch" / "a.csv")["y"] > 28).all()  # the mask counts
    assert f"{night / 'watch' / 'a.csv'}  " in said.out
    assert "skyduel: 2 frames; 0 waiting" in said.err
    # A second watch has nothing to do, and one of other choices is refused.
    assert skyduel(*words) == 0
    assert "skyduel: 0 frames; 0 waiting" in capsys.readouterr().err
    assert skyduel(*words, "--threshold", "4") == 2
    assert "required the rows of its earlier catalogues" in capsys.readouterr().err


def test_events_have_the_documented_keys(night, stars) -> None:
    star_frame(night / "in" / "a.fits", 1, stars)
    (night / "in" / "b.fits").write_bytes((night / "in" / "a.fits").read_bytes()[:9000])
    (night / "in" / "c_mask.fits").write_bytes(b"x")
    events = watched(plan_of(night, reference="earlier"))
    assert {e["event"] for e in events} == set(EVENTS) - {"failed"}
    for event in events:
        assert set(event) == set(EVENTS[event["event"]])
    lines = (night / "out" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == events
    assert [e["n"] for e in events] == list(range(1, len(events) + 1))
    page = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")
    for kind, keys in EVENTS.items():
        for word in (kind, *keys):
            assert f"`{word}`" in page, word


def test_a_broken_frame_is_reported_once_and_tried_again_when_it_changes(night, stars) -> None:
    whole = star_frame(night / "whole.fits", 1, stars).read_bytes()
    frame = night / "in" / "a.fits"
    frame.write_bytes(whole[:9000])
    assert kinds(watched(plan_of(night))) == ["started a", "postponed a", "refused a"]
    assert kinds(watched(plan_of(night))) == []
    assert not (night / "out" / "a.ecsv").exists()
    frame.write_bytes(whole)
    (event,) = (e for e in watched(plan_of(night)) if e["event"] == "catalog")
    assert event["n_written"] == len(read_catalog(night / "out" / "a.ecsv")) > 10


def test_the_exit_status_of_once_tells_of_a_broken_frame(night, stars, capsys) -> None:
    star_frame(night / "in" / "a.fits", 1, stars)
    (night / "in" / "b.fits").write_text("no image")
    words = ("watch", night / "in", "--out", night / "out", "--with", "sep", "--once",
             "--poll", "0.01", "--patience", "0.01", "--events", "-")  # fmt: skip
    assert skyduel(*words) == 2
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert kinds(events) == [
        "started a", "catalog a", "started b", "postponed b", "refused b",
    ]  # fmt: skip
    assert said.err.count("b.fits") == 1
    assert skyduel(*words, "--events", night / "copy.jsonl") == 0
    copied = (night / "copy.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in copied] == ["start", "stop"]


def test_two_watches_of_one_output_refuse(night, capsys) -> None:
    words = ("watch", night / "in", "--out", night / "out", "--with", "sep", "--once")
    with open_watcher(plan_of(night)):
        assert skyduel(*words, "--poll", "1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"skyduel: {night / 'out'}: required a folder that no other watch is writing; got one in "
        "use; wait for that watch, or choose another folder"
    )


def test_an_output_that_is_no_folder_is_refused_in_one_line(night, capsys) -> None:
    (night / "out").write_text("a file")
    assert skyduel("watch", night / "in", "--out", night / "out", "--with", "sep", "--once") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        f"skyduel: {night / 'out'}: required a folder that can be written to; got File exists"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out": "in"}, "^out: required another folder than that of the frames"),
        ({"folder": "none"}, "required a folder to watch"),
        ({"order": "best"}, "^order: required oldest or newest; got 'best'"),
        ({"limit": -1}, "^limit: required a number, 0 or more"),
        ({"poll_s": 0.0}, "^poll_s: required a time above 0 s"),
        ({"poll_s": float("nan")}, "^poll_s: required a time above 0 s"),
        ({"patience_s": -1.0}, "^patience_s: required a time of 0 s or more"),
    ],
)
def test_impossible_plans_are_refused(night, changes, message) -> None:
    changes = {k: night / v if k in ("out", "folder") else v for k, v in changes.items()}
    (spec,) = parse_specs(["sep"])
    given = {"folder": night / "in", "out": night / "out", "spec": spec, "choice": RowChoice()}
    with pytest.raises(BadInputError, match=message):
        WatchPlan(**(given | changes))


def test_two_files_of_one_name_do_not_share_a_catalogue(night, stars) -> None:
    a = star_frame(night / "in" / "a.fits", 1, stars)
    shutil.copy(a, night / "in" / "a.fit")
    events = watched(plan_of(night))
    assert sorted(e["event"] for e in events if "frame" in e) == ["catalog", "refused", "started"]
    (refused,) = (e for e in events if e["event"] == "refused")
    assert "required frames of different names" in refused["reason"]
    # A frame that is packed later takes the place of the first.
    (night / "in" / "a.fit").rename(night / "a.fit")
    a.rename(night / "a.fits")
    shutil.copy(night / "a.fits", night / "in" / "a.fts")
    assert kinds(watched(plan_of(night))) == ["started a", "catalog a"]


def test_skipped_frames_are_recorded_and_can_be_taken_later(night, stars) -> None:
    for k in range(4):
        os.utime(star_frame(night / "in" / f"{k}.fits", k, stars), (1000 + k, 1000 + k))
    events = watched(plan_of(night, limit=2, order="newest"))
    assert kinds(events) == [
        "skipped 0", "skipped 1", "started 3", "catalog 3", "started 2", "catalog 2",
    ]  # fmt: skip
    assert events[-1]["skipped"] == 2
    assert kinds(watched(plan_of(night))) == []
    assert kinds(watched(plan_of(night, skipped=True))) == [
        "started 0", "catalog 0", "started 1", "catalog 1",
    ]  # fmt: skip


def test_a_frame_that_ends_the_process_is_given_up_in_the_end(night, stars) -> None:
    star_frame(night / "in" / "a.fits", 1, stars)
    (night / "out").mkdir()
    with Journal(night / "out", lambda: "then") as journal:
        for _ in range(20):
            journal.append("started", frame="a", file="a.fits", fingerprint="any", waiting=0)
    (event,) = (e for e in watched(plan_of(night)) if "frame" in e)
    assert event["event"] == "failed"
    assert event["reason"] == "the process ended 20 times while it worked on this frame"
    assert kinds(watched(plan_of(night))) == []


def test_a_detector_that_fails_is_recorded_and_the_watch_goes_on(night, stars, monkeypatch) -> None:
    for name in "ab":
        star_frame(night / "in" / f"{name}.fits", 1, stars)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no idea")

    monkeypatch.setattr("skyduel.baseline.sep.detector.SepDetector.__call__", broken)
    events = [e for e in watched(plan_of(night)) if "reason" in e]
    assert [(e["event"], e["reason"]) for e in events] == [("failed", "RuntimeError: no idea")] * 2


def test_a_frame_that_changes_under_the_detector_is_done_again(night, stars, monkeypatch) -> None:
    from skyduel.baseline.sep.detector import SepDetector

    frame = star_frame(night / "in" / "a.fits", 1, stars)
    other = star_frame(night / "a.fits", 2, stars).read_bytes()
    called, detect = [], SepDetector.__call__

    def detected(self: SepDetector, given: Frame) -> Catalog:
        called.append(given.name)
        if called.count("a") == 1 and given.name == "a":
            frame.write_bytes(other)
        return detect(self, given)

    monkeypatch.setattr(SepDetector, "__call__", detected)
    events = watched(plan_of(night))
    assert kinds(events) == ["started a", "postponed a", "started a", "catalog a"]
    assert skyduel("detect", night / "a.fits", "--with", "sep", "--out", night / "d") == 0
    assert (night / "d" / "a.ecsv").read_bytes() == (night / "out" / "a.ecsv").read_bytes()


class _Steps(Notices):
    """Notices of a clock that goes on by each wait, and that does something at given times."""

    def __init__(self, acts: dict[float, Callable[[], object]]) -> None:
        super().__init__()
        self.now, self._acts = 0.0, dict(acts)
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    def wait(self, timeout_s: float | None) -> None:
        assert timeout_s is not None
        self.waits.append(timeout_s)
        self.now += timeout_s
        for time in [t for t in self._acts if t <= self.now]:
            self._acts.pop(time)()


def test_a_slow_copy_is_taken_when_it_is_whole_and_latency_counts_from_then(night, stars) -> None:
    whole = star_frame(night / "whole.fits", 1, stars).read_bytes()
    frame = night / "in" / "a.fits"

    def grow(size: int) -> Callable[[], object]:
        return lambda: (frame.write_bytes(whole[:size]), os.utime(frame, ns=(size, size)))

    sizes = (9000, 12000, 15000, len(whole))
    acts = {float(5 * k): grow(size) for k, size in enumerate(sizes, start=1)}
    notices, events = _Steps(acts), []

    def tell(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "catalog":
            watcher.stop()

    (night / "out").mkdir()
    with Journal(night / "out", lambda: "now") as journal:
        plan = plan_of(night, poll_s=2.0, patience_s=60.0, once=False)
        watcher = Watcher(plan, journal, None, notices, [tell], clock=notices.clock)
        watcher.run()
    # Listed every 2 s: each part is seen, settles, is tried and refused; the whole is not.
    assert kinds(events) == [*(["started a", "postponed a"] * 3), "started a", "catalog a"]
    assert events[-2]["latency_s"] == 2.0  # seen whole at 20 s, taken when it had settled
    assert max(notices.waits) == 2.0


def test_a_broken_file_is_given_up_after_its_patience(night) -> None:
    (night / "in" / "a.fits").write_text("no image")
    notices, events = _Steps({}), []

    def tell(event: dict[str, Any]) -> None:
        events.append((event["event"], notices.now))

    (night / "out").mkdir()
    with Journal(night / "out", lambda: "now") as journal:
        plan = plan_of(night, poll_s=2.0, patience_s=7.0)
        Watcher(plan, journal, None, notices, [tell], clock=notices.clock).run()
    assert events == [
        ("start", 0.0), ("started", 2.0), ("postponed", 2.0), ("refused", 9.0), ("stop", 9.0),
    ]  # fmt: skip


def test_files_are_taken_when_they_are_closed_or_renamed_in(night, stars) -> None:
    pytest.importorskip("watchdog", reason="needs watchdog (skyduel[watch])")
    whole = star_frame(night / "whole.fits", 1, stars).read_bytes()
    folder = night / "in"
    # A file that settles only in an hour shows that the kernel told of those that are taken.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skyduel.runner.watch.watcher._SETTLE_S", 3600.0)
        with running(plan_of(night, poll_s=None, once=False, patience_s=3600.0)) as watch:
            watch.until(lambda e: e["event"] == "start")
            (folder / "a.fits").write_bytes(whole)
            assert watch.until(is_event("catalog", "a"))["latency_s"] > 0
            shutil.copy(folder / "a.fits", night / "b.fits")
            (night / "b.fits").rename(folder / "b.fits")  # from elsewhere
            watch.until(is_event("catalog", "b"))
            (folder / ".c.tmp").write_bytes(whole)
            (folder / ".c.tmp").rename(folder / "c.fits")  # within the folder
            watch.until(is_event("catalog", "c"))
            with (folder / "d.fits").open("wb") as stream:
                stream.write(whole[:9000])
                stream.flush()
                # d is open: the next file comes first.
                (folder / "e.fits").write_bytes(whole)
                assert watch.until(lambda e: e["event"] == "started")["frame"] == "e"
                watch.until(is_event("catalog", "e"))
                stream.write(whole[9000:])
            watch.until(is_event("catalog", "d"))
            # Closed when half written, and gone on with: tried twice.
            (folder / "f.fits").write_bytes(whole[:9000])
            watch.until(is_event("postponed", "f"))
            with (folder / "f.fits").open("ab") as stream:
                stream.write(whole[9000:])
            watch.until(is_event("catalog", "f"))
            # A mask that comes later changes its frame.
            mask = Frame(data=np.eye(*SHAPE, dtype=np.float32), name="mask")
            write_frame(mask, folder / "a_mask.fits")
            watch.until(is_event("catalog", "a"))
    assert skyduel("detect", *sorted(folder.glob("?.fits")), "--with", "sep",
                   "--out", night / "detect") == 0  # fmt: skip
    for file in (night / "detect").iterdir():
        assert file.read_bytes() == (night / "out" / file.name).read_bytes()


def sky(turn_deg: float = 0.0, at: tuple[float, float] = (48.0, 36.0)) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [359.99, 62.0]  # RA 0 lies on the frame
    wcs.wcs.crpix = [at[0] + 1, at[1] + 1]
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * 3.0 / 3600
    return wcs


NEW = np.array([[62.0, 58.0, 2.0e4]])


@pytest.mark.parametrize("with_wcs", [True, False])
def test_a_new_star_is_told_of(night, stars, with_wcs) -> None:
    # Without a WCS the frames are shifted; with one it follows the shift.
    shifts = [(0, 0), (1.5, -2.25), (-3.0, 1.0), (4.0, 2.0), (0.5, 0.0)]
    for k, shift in enumerate(shifts):
        drawn = np.vstack([stars, NEW]) if k == 3 else stars
        wcs = sky(at=(48.0 + shift[0], 36.0 + shift[1])) if with_wcs else None
        path = star_frame(night / "in" / f"{k}.fits", k, drawn, wcs=wcs, shift=shift)
        os.utime(path, (1000 + k, 1000 + k))
    plan = plan_of(night, reference="earlier")
    first = watched(plan)  # a restart after every frame would give the same: below
    told = [e for e in first if e["event"] == "catalog"]
    assert [e["n_candidates"] for e in told] == [None, None, None, 1, 0]
    assert "2 earlier frames" in told[2]["reference"]["problem"]
    (one,) = told[3]["candidates"]
    assert (one["x"], one["y"]) == pytest.approx((66.0, 60.0), abs=0.2)
    assert (one["seen"], one["of"]) == (0, 3)
    assert one["aper_snr"] > 50
    assert one["mag"] == pytest.approx(25 - 2.5 * np.log10(2e4), abs=0.1)
    assert told[3]["reference"]["by"] == ("sky" if with_wcs else "pixels")
    if with_wcs:
        ra, dec = sky().all_pix2world(62.0, 58.0, 0)
        assert (one["ra"], one["dec"]) == pytest.approx((float(ra), float(dec)), abs=3e-4)
    else:
        # From the frame before, at (-3, 1), to this one, at (4, 2).
        assert told[3]["reference"]["shift_px"] == pytest.approx((7.0, 1.0), abs=0.1)
    table = read_catalog(night / "out" / "new" / "3.ecsv")
    assert table["seen"].tolist() == [0]
    assert table["x"].tolist() == [one["x"]]
    assert len(read_catalog(night / "out" / "new" / "4.ecsv")) == 0
    assert not (night / "out" / "new" / "0.ecsv").exists()
    assert first[-1]["frames"] == 5


def test_a_restart_does_not_change_what_is_new(night, stars) -> None:
    (night / "all").mkdir()
    for k in range(5):
        drawn = np.vstack([stars, NEW]) if k > 2 else stars
        star_frame(night / "all" / f"{k}.fits", k, drawn, wcs=sky(turn_deg=float(k)))
    apart = []
    for k in range(5):
        shutil.copy(night / "all" / f"{k}.fits", night / "in")
        apart += watched(plan_of(night, reference="earlier", rules=NewSourceRules(most_seen=1)))
    shutil.rmtree(night / "out")
    together = watched(plan_of(night, reference="earlier", rules=NewSourceRules(most_seen=1)))
    told = [[(e["candidates"], e["reference"]) for e in events if e["event"] == "catalog"]
            for events in (apart, together)]  # fmt: skip
    assert told[0] == told[1]
    assert [None if c is None else [(r["seen"], r["of"]) for r in c] for c, _ in told[0]] == [
        None, None, None, [(0, 3)], [(1, 4)],
    ]  # fmt: skip


def test_only_the_last_frames_of_a_field_are_kept(night, stars) -> None:
    for k in range(6):
        star_frame(night / "in" / f"{k}.fits", k, stars, wcs=sky())
    far = WCS(sky().to_header())
    far.wcs.crval = [10.0, -20.0]
    star_frame(night / "in" / "a.fits", 9, stars, wcs=far)
    os.utime(night / "in" / "a.fits", (1, 1))
    events = watched(plan_of(night, reference="earlier", rules=NewSourceRules(keep=3)))
    last = [e for e in events if e["event"] == "catalog"][-1]
    assert last["reference"]["frames"] == 3
    kept = {p.name for p in (night / "out" / "earlier").iterdir()}
    assert kept == {"a.npz", "3.npz", "4.npz", "5.npz"}


def test_a_table_of_known_stars(night, stars, capsys) -> None:
    for name, wcs in (("a", sky()), ("b", None)):
        star_frame(night / "in" / f"{name}.fits", 3, np.vstack([stars, NEW]), wcs=wcs)
    ra, dec = sky().all_pix2world(stars[:, 0], stars[:, 1], 0)
    table = night / "gaia.csv"
    table.write_text("ra,dec\n" + "".join(f"{a},{d}\n" for a, d in zip(ra, dec, strict=True)))
    a, b = (e for e in watched(plan_of(night, reference=str(table))) if e["event"] == "catalog")
    assert a["reference"] == {
        "kind": "gaia.csv", "frames": 1, "by": "sky", "shift_px": None, "problem": None,
    }  # fmt: skip
    assert [(round(c["x"]), round(c["y"]), c["seen"], c["of"]) for c in a["candidates"]] == [
        (62, 58, 0, 1)
    ]
    assert b["candidates"] is None
    assert "the frame has no WCS" in b["reference"]["problem"]
    # In pixels, with a shift of its own.
    write_catalog(Catalog.build(x=stars[:, 0] + 5, y=stars[:, 1] - 3, flux=stars[:, 2]),
                  night / "old.ecsv")  # fmt: skip
    plan = plan_of(night, reference=str(night / "old.ecsv"))
    shutil.rmtree(night / "out")
    for event in watched(plan):
        if event["event"] == "catalog":
            assert event["reference"]["shift_px"] == pytest.approx((-5, 3), abs=0.2)
            assert [round(c["y"]) for c in event["candidates"]] == [58]
    words = ("watch", night / "in", "--out", night / "o", "--with", "sep", "--once", "--poll",
             "0.01", "--reference", night / "none.csv")  # fmt: skip
    assert skyduel(*words) == 2
    assert "none.csv: required an existing file" in capsys.readouterr().err


def test_a_table_elsewhere_on_the_sky_is_not_compared(night, stars) -> None:
    star_frame(night / "in" / "a.fits", 3, stars, wcs=sky())
    (night / "far.csv").write_text("ra,dec\n10,-20\n11,-20\n")
    (event,) = (e for e in watched(plan_of(night, reference=str(night / "far.csv")))
                if e["event"] == "catalog")  # fmt: skip
    assert event["candidates"] is None
    assert event["reference"]["problem"] == "no source of the table lies on the frame"


def test_rules_are_checked() -> None:
    for changes, message in (
        ({"radius_px": 0}, "^radius_px: required a radius above 0"),
        ({"snr": -1}, "^snr: required a number, 0 or more"),
        ({"keep": 2}, "^keep: required 3 or more; got 2"),
    ):
        with pytest.raises(BadInputError, match=message):
            NewSourceRules(**changes)


def get(port: int, page: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{page}", timeout=OUTER_LIMIT_S) as answer:
        return answer.read().decode()


def test_the_state_is_told_by_http() -> None:
    meters = Meters()
    for k in range(100):
        meters.frame(0.5, 0.25, k / 100)
    state = meters.snapshot(waiting=3, pending=1, working="a")
    with serve_status(0, lambda: state) as port:
        status = json.loads(get(port, "/status"))
        assert (status["frames"], status["waiting"], status["working"]) == (100, 3, "a")
        assert status["mpix_per_s"] == 2.0
        lines = get(port, "/metrics").splitlines()
        assert "skyduel_watch_frames 100" in lines
        assert 'skyduel_watch_latency_seconds{quantile="0.95"} 0.9405' in lines
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(port, "/")
        taken = rf"^port: required a free port; got {port}: Address already in use"
        with pytest.raises(BadInputError, match=taken), serve_status(port, lambda: state):
            pass
    assert "100 frames; 3 waiting; 1 unfinished; latency p50 0.49, p95 0.94" in state.line()


def test_percentiles_and_rates_of_nothing_are_none() -> None:
    totals = Meters().totals()
    assert (totals["latency_s"], totals["mpix_per_s"]) == (None, None)
    assert totals["rss_peak_mib"] >= totals["rss_mib"] * 0.5 > 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://there", ("there", 1883, "skyduel", None, False)),
        ("mqtt://me@there:99/dome/2", ("there", 99, "dome/2", "me", False)),
        ("mqtts://there/x", ("there", 8883, "x", None, True)),
    ],
)
def test_addresses_of_brokers(url, expected) -> None:
    broker = broker_of(url)
    assert (broker.host, broker.port, broker.topic, broker.user, broker.tls) == expected


@pytest.mark.parametrize("url", ["there", "http://there", "mqtt://", "mqtt://there:x", "mqtt://a/+",
                                 "mqtt://a/#", "mqtt://a/%23"])  # fmt: skip
def test_other_addresses_are_refused(url) -> None:
    with pytest.raises(BadInputError, match=r"^url: required"):
        broker_of(url)


def test_a_password_belongs_in_the_environment() -> None:
    with pytest.raises(BadInputError, match="the password in SKYDUEL_MQTT_PASSWORD") as caught:
        broker_of("mqtt://me:secret@there")
    assert "secret" not in str(caught.value)


MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """The port of a running mosquitto."""
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto (apt-get install mosquitto)")
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (skyduel[mqtt])")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "m.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(
        [MOSQUITTO, "-c", tmp_path / "m.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "running" in line:
                break
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=OUTER_LIMIT_S)


def test_events_reach_a_broker(broker, night, stars) -> None:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    got: Queue[tuple[str, str]] = Queue()
    listener = paho.Client(CallbackAPIVersion.VERSION2)
    listening = threading.Event()
    listener.on_subscribe = lambda *_: listening.set()
    listener.on_message = lambda _c, _u, m: got.put((m.topic, m.payload.decode()))
    listener.connect("127.0.0.1", broker)
    listener.subscribe("dome/#", qos=1)
    listener.loop_start()
    try:
        assert listening.wait(OUTER_LIMIT_S)
        star_frame(night / "in" / "a.fits", 1, stars)
        words = ("--with", "sep", "--once", "--poll", "0.01")
        url = f"mqtt://127.0.0.1:{broker}/dome"
        assert skyduel("watch", night / "in", "--out", night / "out", "--mqtt", url, *words) == 0
        messages = []
        while not messages or messages[-1] != ("dome/status", "offline"):
            messages.append(got.get(timeout=OUTER_LIMIT_S))
    finally:
        listener.disconnect()
        listener.loop_stop()
    lines = (night / "out" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    topics = [f"dome/{json.loads(line)['event']}" for line in lines]
    assert [m for m in messages if m[0] != "dome/status"] == list(zip(topics, lines, strict=True))
    assert [m[1] for m in messages if m[0] == "dome/status"] == ["online", "offline"]


def test_a_broker_that_is_not_there_is_said_once_and_stops_nothing() -> None:
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (skyduel[mqtt])")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said: Queue[str] = Queue()
    with mqtt_events(broker_of(f"mqtt://127.0.0.1:{port}"), said.put) as publish:
        publish({"event": "start"})
        line = said.get(timeout=OUTER_LIMIT_S)
    assert line == (
        f"MQTT broker 127.0.0.1:{port} cannot be reached; tried again, events wait meanwhile"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_the_end_and_the_second_interrupts(number) -> None:
    stopped = []

    class Asked:
        def stop(self) -> None:
            stopped.append(number)

    before = signal.getsignal(number)
    with ended_by_signals(Asked()):  # type: ignore[arg-type]
        os.kill(os.getpid(), number)
        assert stopped == [number]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_signal_ends_the_watch_with_its_summary(night, stars) -> None:
    star_frame(night / "in" / "a.fits", 1, stars)
    code = "import sys; from skyduel.cli.main import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "watch", night / "in", "--out", night / "out", "--with", "sep",
         "--poll", "0.05", "--events", "-"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "catalog":
            process.send_signal(signal.SIGTERM)
            break
    rest, said = process.communicate(timeout=OUTER_LIMIT_S)
    assert process.returncode == 0, said
    assert json.loads(rest.splitlines()[-1])["event"] == "stop"
    assert said.splitlines()[-1].startswith("skyduel: 1 frame; 0 waiting")


def test_without_watchdog_the_folder_is_listed(night, stars, monkeypatch, capsys) -> None:
    star_frame(night / "in" / "a.fits", 1, stars)
    monkeypatch.setattr("skyduel.cli.commands.watch.is_installed", lambda name: False)
    monkeypatch.setattr("skyduel.cli.commands.watch._POLL_S", 0.01)
    assert skyduel("watch", night / "in", "--out", night / "out", "--with", "sep", "--once") == 0
    said = capsys.readouterr().err
    assert "watchdog is not installed (pip install 'skyduel[watch]'): the folder is listed" in said
