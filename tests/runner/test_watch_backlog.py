"""Which frames are finished, their order, and the journal; no clock runs."""

import json
from pathlib import Path

import pytest

from skyduel.core import BadInputError
from skyduel.runner.watch.backlog import Backlog, Seen
from skyduel.runner.watch.folder import frames_of, list_frames, look_at
from skyduel.runner.watch.journal import EVENTS, Journal


def seen(file: str, state: int = 1, mtime: int = 0) -> Seen:
    return Seen(file, f"state {state}", mtime)


def next_file(backlog: Backlog) -> str | None:
    waiting = backlog.next()
    return None if waiting is None else waiting.seen.file


def test_a_closed_file_is_taken_at_once_and_a_listed_one_when_it_has_settled() -> None:
    backlog = Backlog(settle_s=2.0)
    backlog.look(seen("a.fits"), 10.0, closed=True)
    backlog.look(seen("b.fits"), 10.0)
    assert len(backlog) == 1
    assert backlog.next_look() == 12.0
    backlog.look(seen("b.fits"), 11.9)
    assert len(backlog) == 1
    backlog.look(seen("b.fits"), 12.0)
    assert len(backlog) == 2
    assert backlog.next_look() is None


def test_a_file_that_grows_never_settles() -> None:
    backlog = Backlog(settle_s=2.0)
    for k in range(20):
        backlog.look(seen("a.fits", k), float(k))
        assert backlog.next() is None
    backlog.look(seen("a.fits", 19), 21.0)
    waiting = backlog.next()
    assert waiting is not None
    assert waiting.finished == 19.0  # since then it has not changed


def test_nobody_knows_when_a_file_that_was_there_before_was_finished() -> None:
    backlog = Backlog(settle_s=1.0)
    backlog.look(seen("a.fits"), 5.0, timed=False)
    backlog.look(seen("a.fits"), 6.0)
    waiting = backlog.next()
    assert waiting is not None
    assert waiting.finished is None


def test_a_frame_that_is_written_again_while_it_waits_is_not_taken_half_written() -> None:
    backlog = Backlog()
    backlog.look(seen("a.fits", 1), 0.0, closed=True)
    backlog.look(seen("a.fits", 2), 1.0)
    assert backlog.next() is None
    backlog.look(seen("a.fits", 3), 2.0, closed=True)
    assert next_file(backlog) == "a.fits"


def test_a_refused_file_is_tried_again_as_long_as_it_changes_and_given_up_once() -> None:
    backlog = Backlog(patience_s=10.0)
    backlog.look(seen("a.fits", 1), 0.0, closed=True)
    waiting = backlog.next()
    assert waiting is not None
    backlog.refused(waiting, 1.0)
    assert backlog.next() is None
    assert backlog.look(seen("a.fits", 1), 9.0) is None
    backlog.look(seen("a.fits", 2), 10.0, closed=True)
    waiting = backlog.next()
    assert waiting is not None
    backlog.refused(waiting, 10.5)
    assert backlog.next_look() == 20.5
    given_up = backlog.look(seen("a.fits", 2), 20.5)
    assert given_up == waiting
    backlog.end(waiting.seen)
    assert backlog.look(seen("a.fits", 2), 99.0, closed=True) is None
    assert backlog.next() is None
    assert backlog.next_look() is None
    backlog.look(seen("a.fits", 3), 100.0, closed=True)  # mended at last
    assert next_file(backlog) == "a.fits"


@pytest.mark.parametrize(("order", "expected"), [("oldest", "bca"), ("newest", "acb")])
def test_order(order: str, expected: str) -> None:
    backlog = Backlog(order=order)  # type: ignore[arg-type]
    for file, mtime in (("a", 30), ("b", 10), ("c", 20)):
        backlog.look(seen(file, 1, mtime), 0.0, closed=True)
    taken = ""
    while (waiting := backlog.next()) is not None:
        taken += waiting.seen.file
        backlog.end(waiting.seen)
    assert taken == expected


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_the_oldest_above_the_limit_are_skipped(order: str) -> None:
    backlog = Backlog(order=order, limit=2)  # type: ignore[arg-type]
    for k in range(5):
        backlog.look(seen(f"{k}.fits", 1, k), 0.0, closed=True)
    assert [w.seen.file for w in backlog.overflow()] == ["0.fits", "1.fits", "2.fits"]
    assert backlog.overflow() == []
    assert len(backlog) == 2
    assert Backlog(limit=0).overflow() == []


def test_what_earlier_watches_ended_is_not_taken_again_unless_it_changed() -> None:
    backlog = Backlog(ended={"a.fits": "state 1"})
    backlog.look(seen("a.fits", 1), 0.0, closed=True)
    assert backlog.next() is None
    backlog.look(seen("a.fits", 2), 0.0, closed=True)
    assert next_file(backlog) == "a.fits"


def test_a_frame_that_ended_the_process_twice_comes_last() -> None:
    backlog = Backlog(interrupted={"a": 2, "b": 1})
    for file, mtime in (("a", 1), ("b", 2), ("c", 3)):
        backlog.look(seen(file, 1, mtime), 0.0, closed=True)
    taken = []
    while (waiting := backlog.next()) is not None:
        taken.append(waiting.seen.file)
        backlog.end(waiting.seen)
    assert taken == ["b", "c", "a"]


def test_masks_weights_and_unfinished_files_are_no_frames(tmp_path: Path) -> None:
    for name in ("a.fits", "a_mask.fits", "a.weight.fits.fz", "b.fits.gz", ".b.fits", "notes.txt",
                 "c_mask.fits", ".0123456789ab.d.fits", "e.fits.part"):  # fmt: skip
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.fits").mkdir()
    listing = list_frames(tmp_path)
    assert {s.file for s in listing.frames} == {"a.fits", "b.fits.gz"}
    assert {s.file: owner for s, owner in listing.lone.items()} == {"c_mask.fits": "c"}
    # Both ways of looking agree, or a frame would be taken again and again.
    assert set(listing.frames) == {look_at(tmp_path / "a.fits"), look_at(tmp_path / "b.fits.gz")}
    assert frames_of(tmp_path / "a_mask.fits") == [tmp_path / "a.fits"]
    assert frames_of(tmp_path / "b.fits.gz") == [tmp_path / "b.fits.gz"]
    assert frames_of(tmp_path / "notes.txt") == []
    assert frames_of(tmp_path / ".b.fits") == []


def test_a_frame_changes_with_its_mask(tmp_path: Path) -> None:
    frame = tmp_path / "a.fits"
    frame.write_text("frame")
    before = look_at(frame)
    (tmp_path / "a_mask.fits").write_text("mask")
    after = look_at(frame)
    assert before is not None
    assert after is not None
    assert before.fingerprint != after.fingerprint
    frame.unlink()
    assert look_at(frame) is None


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="required a readable folder"):
        list_frames(tmp_path / "none")


def journal(folder: Path) -> Journal:
    return Journal(folder, lambda: "2026-01-02T03:04:05.000+00:00", keep=3)


def names(file: str, fingerprint: str = "1") -> dict[str, str]:
    return {"frame": file.removesuffix(".fits"), "file": file, "fingerprint": fingerprint}


def values(event: str, **changes: object) -> dict[str, object]:
    always = {"schema", "n", "time", "event"}
    return {key: None for key in EVENTS[event] if key not in always} | changes


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        assert one.past.n == 0
        one.append("start", **values("start", choices={"format": "ecsv"}))
        for file in ("a.fits", "b.fits", "c.fits", "d.fits"):
            one.append("started", **names(file), waiting=0)
            one.append("catalog", **values("catalog", **names(file), catalog=f"{file[0]}.ecsv"))
        one.append("started", **names("e.fits"), waiting=0)
        one.append("started", **names("e.fits"), waiting=0)
        one.append("started", **names("f.fits"), waiting=0)
        one.append("postponed", **names("f.fits"), reason="cut short")
        one.append("skipped", **names("g.fits"), reason="too many")
        one.append("refused", **names("b.fits", "2"), reason="broken")
    with journal(tmp_path) as again:
        past = again.past
    assert past.n == 15
    assert past.choices == {"format": "ecsv"}
    assert past.ended == {"a.fits": "1", "b.fits": "2", "c.fits": "1", "d.fits": "1", "g.fits": "1"}
    assert past.interrupted == {"e.fits": 2}
    assert past.skipped == {"g.fits"}
    assert past.targets["a.ecsv"] == "a.fits"
    assert past.last == ("b", "c", "d")


@pytest.mark.parametrize("torn", ['{"schema": 1, "n": 3', "x", '{"schema": 1}' * 9000])
def test_half_a_line_at_the_end_is_removed(tmp_path: Path, torn: str) -> None:
    with journal(tmp_path) as one:
        one.append("skipped", **names("a.fits"), reason="ä")
    whole = one.path.read_bytes()
    one.path.write_bytes(whole + torn.encode())
    with journal(tmp_path) as again:
        assert again.past.n == 1
        assert one.path.read_bytes() == whole
        again.append("skipped", **names("b.fits"), reason="b")
    lines = one.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2]


NO_EVENTS = ("none", "[]", "{}", '{"schema": 1, "n": "x", "event": "stop"}')


@pytest.mark.parametrize("line", [*NO_EVENTS, '{"schema": 9, "n": 1, "event": "stop"}'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "events.jsonl").write_text(line + "\n")
    wanted = "one event of a watch in each line" if line in NO_EVENTS else "events of schema 1"
    with pytest.raises(BadInputError, match=rf"events\.jsonl: required {wanted}"):
        journal(tmp_path)


def test_an_event_has_the_keys_of_its_kind(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        with pytest.raises(ValueError, match="event skipped: keys"):
            one.append("skipped", **names("a.fits"))
        with pytest.raises(ValueError, match="JSON compliant"):
            one.append("skipped", **names("a.fits"), reason=float("nan"))
    assert one.path.read_bytes() == b""


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch) -> None:
    with journal(tmp_path) as one:
        one.append("skipped", **names("a.fits"), reason="first")
        whole = one.path.read_bytes()
        write, calls = __import__("os").write, []

        def full(handle: int, content: bytes) -> int:
            calls.append(len(content))
            if len(calls) > 1:
                raise OSError(28, "No space left on device")
            return write(handle, content[:10])

        monkeypatch.setattr("skyduel.runner.watch.journal.os.write", full)
        with pytest.raises(BadInputError, match="No space left on device"):
            one.append("skipped", **names("b.fits"), reason="second")
        monkeypatch.undo()
        assert one.path.read_bytes() == whole
        one.append("skipped", **names("b.fits"), reason="second")
    assert len(one.path.read_text().splitlines()) == 2
