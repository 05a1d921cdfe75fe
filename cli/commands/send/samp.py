"""Send catalogues and frames to TOPCAT, DS9, Aladin and others by SAMP."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.extras import pip_command

__all__ = ["Delivery", "Message", "send"]

#: Seconds that a program has to load what it is sent.
_TIMEOUT_S: Final = 60
_HUB: Final = "a running SAMP hub: start TOPCAT or Aladin, or DS9 with SAMP on"


@dataclass(frozen=True)
class Message:
    """A message of SAMP: what is sent, its type, and its parameters."""

    what: str
    mtype: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Delivery:
    """What became of a file at one program; ``error`` is empty if it was loaded."""

    program: str
    what: str
    error: str

    def __str__(self) -> str:
        """Return it as one line."""
        if self.error:
            return f"{self.program}: {self.what} not loaded: {self.error}"
        return f"{self.program}: {self.what} loaded"


def _table_message(path: Path, name: str) -> Message:
    """Return the message that loads a VOTable."""
    url = path.absolute().as_uri()
    return Message(name, "table.load.votable", {"url": url, "table-id": url, "name": name})


def _image_message(path: Path, name: str) -> Message:
    """Return the message that loads a FITS image."""
    url = path.absolute().as_uri()
    return Message(name, "image.load.fits", {"url": url, "image-id": url, "name": name})


def send(
    files: Sequence[str], frame: str | None = None, to: str | None = None
) -> Iterator[Delivery]:
    """Send frames and catalogues to the programs connected to the SAMP hub of this machine.

    Parameters
    ----------
    files : sequence of str
        Images as FITS files, which are sent as they are, and catalogues in any format, which
        are sent as VOTables.
    frame : str, optional
        The frame of the catalogues: its WCS gives those without RA and Dec these columns.
    to : str, optional
        Only to programs whose name contains this, in any case.

    Yields
    ------
    Delivery
        Of each file to each program, when the program answered.

    Raises
    ------
    BadInputError
        If a file cannot be read, no hub runs, or no program takes such a file. Nothing is sent
        before all files are read.
    """
    with tempfile.TemporaryDirectory(prefix="skyduel-samp-") as folder:
        messages = list(_messages(files, frame, Path(folder)))
        with _client() as client:
            for message in messages:
                yield from _sent(client, message, to)


def _messages(files: Sequence[str], frame: str | None, folder: Path) -> Iterator[Message]:
    """Yield the message of each file; catalogues are written as VOTables into a folder."""
    from skyduel.core import add_sky_positions, entry_of, frame_name, read_catalog, write_catalog
    from skyduel.core.io.atomic_files import existing_file
    from skyduel.core.io.images.image_formats import holds_image, is_image_name
    from skyduel.core.io.images.image_reader import without_brackets

    image = None if frame is None else entry_of(frame).read()
    for number, file in enumerate(files):
        path = existing_file(without_brackets(file))
        if is_image_name(path) and holds_image(path):
            yield _image_message(path, path.name)
            continue
        catalog = read_catalog(file, frame=image)
        if image is not None and image.wcs is not None and "ra" not in catalog:
            catalog = add_sky_positions(image, catalog)
        # Programs show the file's name: one folder for each table.
        place = folder / str(number) / f"{frame_name(path)}.vot"
        place.parent.mkdir()
        write_catalog(catalog, place, frame=image)
        yield _table_message(place, path.name)


def _library() -> ModuleType:
    """Return pyvo's SAMP, or astropy's, which came first and will be removed."""
    try:
        from pyvo import samp
    except ImportError:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecated since astropy 8
                from astropy import samp
        except ImportError as error:
            raise BadInputError("SAMP", f"pyvo ({pip_command('pyvo')})", "no pyvo") from error
    library: ModuleType = samp
    return library


@contextmanager
def _client() -> Iterator[Any]:
    """Connect to the hub of this machine."""
    samp = _library()
    client = samp.SAMPIntegratedClient(name="Skyduel", callable=False)
    # Only this machine: the library would look on the network for its name.
    with samp.conf.set_temp("use_internet", False):
        try:
            client.connect()
        except (samp.SAMPHubError, OSError) as error:
            raise BadInputError("SAMP", _HUB, "none") from error
        try:
            yield client
        finally:
            client.disconnect()


def _sent(client: Any, message: Message, to: str | None) -> Iterator[Delivery]:
    """Send one message to every program that takes it, and say what became of it."""
    names = {key: _name(client, key) for key in client.get_subscribed_clients(message.mtype)}
    chosen = {k: n for k, n in names.items() if to is None or to.lower() in n.lower()}
    if not chosen:
        others = ", ".join(sorted(names.values())) or "none"
        wanted = "a program" if to is None else f"a program named like {to!r}"
        raise BadInputError(
            "SAMP",
            f"{wanted} on the hub that takes {message.mtype}",
            f"{others} for {message.what}",
        )
    call = {"samp.mtype": message.mtype, "samp.params": dict(message.parameters)}
    for key, name in chosen.items():
        try:
            answer = client.call_and_wait(key, call, str(_TIMEOUT_S))
        except Exception as error:  # the library raises the hub's faults of any type
            yield Delivery(name, message.what, one_line(error))
            continue
        fault = answer.get("samp.error") or {}
        ok = answer.get("samp.status") == "samp.ok"
        reason = "" if ok else str(fault.get("samp.errortxt") or "no reason given")
        yield Delivery(name, message.what, reason)


def _name(client: Any, key: str) -> str:
    """Return the name of a program, or its key without one."""
    return str((client.get_metadata(key) or {}).get("samp.name") or key)
