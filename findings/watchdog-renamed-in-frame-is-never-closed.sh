#!/usr/bin/env bash
# To watchdog, a frame that is renamed into a folder is created and nothing more: never closed, never moved.
#
# Seen with watchdog 7.1.0 (Linux, inotify) on 2026-11-30. Careful camera and transfer programs write
# a frame under another folder and rename it in when it is whole. The usual rule of a watcher, to read a
# file at its closed event, then misses every such frame: its only event is created. The other
# usual rule, to read at created, reads files that were just opened and are empty. Nothing in
# the event tells the two apart. Within one folder a rename is a moved event, so a test that renames a
# temporary file beside the frame does not show it.
#
# It hurts pipelines of telescopes that take frames from a folder: frames of one program are lost, or
# those of the other are read by halves. InotifyObserver(generate_full_events=True) gives a moved event without
# a source path for what is renamed in.
#
# Output seen (events of files, in order):
#   watchdog 7.1.0
#   written          created opened modified closed
#   renamed in       created
#   renamed in, full moved (source: '')
#   renamed within   moved (source: 'part.tmp')
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check watchdog==7.1.0
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import os
import queue
from importlib.metadata import version
from pathlib import Path

from watchdog.events import FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

print("watchdog", version("watchdog"))


def events(act, full=False):
    """Return the events of files while something is done in a folder."""
    folder, elsewhere = Path("watched"), Path("elsewhere")
    for one in (folder, elsewhere):
        one.mkdir(exist_ok=True)
        for old in one.iterdir():
            old.unlink()
    (elsewhere / "frame.fits").write_bytes(b"whole")
    (folder / "part.tmp").write_bytes(b"whole")
    seen = queue.SimpleQueue()

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event):
            seen.put(event)

    observer = InotifyObserver(generate_full_events=full)
    observer.schedule(Handler(), str(folder))
    observer.start()
    act(folder, elsewhere)
    (folder / "last").mkdir()  # events come in order: after this one no more are due
    found = []
    while True:
        event = seen.get(timeout=60)
        if event.is_directory and Path(os.fsdecode(event.src_path)).name == "last":
            break
        if not event.is_directory:
            name = Path(os.fsdecode(event.src_path)).name
            moved = f" (source: {name!r})" if event.event_type == "moved" else ""
            found.append(event.event_type + moved)
    observer.stop()
    observer.join()
    (folder / "last").rmdir()
    return found


def written(folder, _):
    (folder / "frame.fits").write_bytes(b"whole")


def renamed_in(folder, elsewhere):
    (elsewhere / "frame.fits").rename(folder / "frame.fits")


def renamed_within(folder, _):
    (folder / "part.tmp").rename(folder / "frame.fits")


found = {
    "written": events(written),
    "renamed in": events(renamed_in),
    "renamed in, full": events(renamed_in, full=True),
    "renamed within": events(renamed_within),
}
for label, names in found.items():
    print(f"{label:16s}", " ".join(names))
assert found["written"] == ["created", "opened", "modified", "closed"]
assert found["renamed in"] == ["created"]
assert found["renamed in, full"] == ["moved (source: '')"]
assert found["renamed within"] == ["moved (source: 'part.tmp')"]
PYTHON
