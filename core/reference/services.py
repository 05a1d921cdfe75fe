"""Catalogues of archives, asked through the Virtual Observatory's table access (TAP)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from skyduel.core.errors import BadInputError, one_line, printable
from skyduel.core.io.column_names import has_positions
from skyduel.core.io.safe_yaml_xml import vet_xml
from skyduel.core.io.tabular.given_table import GivenTable
from skyduel.core.io.tabular.votables import read_votable
from skyduel.core.reference.bands import choose_magnitude
from skyduel.core.reference.cones import Cone

__all__ = ["MAX_ROWS", "SERVICES", "TIMEOUT_S", "Ask", "Service", "ask_by_pyvo", "service_region"]

#: Asks a service: address, ADQL, most rows, seconds; returns the VOTable as it came.
Ask = Callable[[str, str, int, float], bytes]
#: Rows that are asked for, and how long to wait for them [s], unless told otherwise.
MAX_ROWS: Final = 200_000
TIMEOUT_S: Final = 300.0
#: Between the first two looks at a job [s].
_FIRST_PAUSE_S: Final = 0.5
_VIZIER: Final = "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"
_INFO: Final = re.compile(rb"<(?:\w+:)?INFO\b([^>]*?)(?:/>|>([^<]*))", re.DOTALL)
_ATTRIBUTE: Final = re.compile(rb"(\w+)\s*=\s*[\"']([^\"']*)[\"']")


@dataclass(frozen=True)
class Service:
    """A table of an archive.

    Parameters
    ----------
    title : str
        Of the catalogue.
    url : str
        Of its TAP service.
    table : str
        Name in ADQL.
    ra, dec : str
        Columns of the position [deg].
    magnitudes : tuple of str
        Columns of the magnitudes.
    others : tuple of str
        Further columns.
    epoch : float, optional
        Julian year of the positions if no column states it.
    columns : mapping of str to str
        As for `reference_sources`.
    """

    title: str
    url: str
    table: str
    ra: str
    dec: str
    magnitudes: tuple[str, ...]
    others: tuple[str, ...] = ()
    epoch: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)

    def query(self, cone: Cone, max_rows: int, magnitude: str) -> str:
        """Return the question for a circle in ADQL, the brightest rows first."""
        listed = ", ".join((self.ra, self.dec, *self.magnitudes, *self.others))
        return (
            f"SELECT TOP {max_rows} {listed} FROM {self.table} "
            f"WHERE 1 = CONTAINS(POINT('ICRS', {self.ra}, {self.dec}), "
            f"CIRCLE('ICRS', {cone.ra:.7f}, {cone.dec:.7f}, {cone.radius:.6f})) "
            f"ORDER BY {magnitude}"
        )


#: The catalogues by the name of `--from`.
SERVICES: Final[Mapping[str, Service]] = {
    "gaia": Service(
        "Gaia DR3", "https://gea.esac.esa.int/tap-server/tap", "gaiadr3.gaia_source", "ra", "dec",
        ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"),
        ("source_id", "pmra", "pmdec", "ref_epoch", "ruwe"),
    ),
    "ps1": Service(
        "Pan-STARRS1 DR1 (VizieR II/349)", _VIZIER, '"II/349/ps1"', "RAJ2000", "DEJ2000",
        ("gmag", "rmag", "imag", "zmag", "ymag"), ("objID",),
    ),
    "tycho2": Service(
        "Tycho-2 (VizieR I/259)", _VIZIER, '"I/259/tyc2"', "RAmdeg", "DEmdeg",
        ("BTmag", "VTmag"), ("pmRA", "pmDE"), epoch=2000.0,
        columns={"ra": "RAmdeg", "dec": "DEmdeg"},
    ),
    "2mass": Service(
        "2MASS (VizieR II/246)", _VIZIER, '"II/246/out"', "RAJ2000", "DEJ2000",
        ("Jmag", "Hmag", "Kmag"),
    ),
}  # fmt: skip


def service_region(
    name: str,
    cone: Cone,
    *,
    filter_name: str = "",
    max_rows: int = MAX_ROWS,
    timeout_s: float = TIMEOUT_S,
    ask: Ask | None = None,
) -> tuple[GivenTable, tuple[str, ...]]:
    """Ask a service for the sources in a circle.

    Parameters
    ----------
    name : str
        One of `SERVICES`.
    cone : Cone
    filter_name : str
        Of the frame: the answer is sorted by the magnitude that fits.
    max_rows : int
        The brightest so many are asked for.
    timeout_s : float
        How long to wait for the answer [s].
    ask : callable, optional
        How to ask; by default `ask_by_pyvo`.

    Returns
    -------
    GivenTable
        The answer.
    tuple of str
        One line if it was cut short.

    Raises
    ------
    BadInputError
        If the service does not answer in time, refuses, or answers with something else.
    ModuleNotFoundError
        Without pyvo, as for every extra.
    """
    service = SERVICES[name]
    source = f"{service.title} ({service.url})"
    magnitude = choose_magnitude(service.magnitudes, filter_name).column
    adql = service.query(cone, max_rows, magnitude)
    try:
        answer = (ask or ask_by_pyvo)(service.url, adql, max_rows, timeout_s)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # libraries of the network raise a dozen types
        wanted = f"an answer within {timeout_s:g} s (or a table in its place)"
        raise BadInputError(source, wanted, one_line(error) or type(error).__name__) from error
    status, said = _status(answer)
    if status == "ERROR":
        raise BadInputError(source, "an answer", f"a refusal: {printable(said) or 'no reason'}")
    try:
        vet_xml(answer, source)
        table = read_votable(answer, None, has_positions)
    except BadInputError as error:
        raise BadInputError(source, error.required, error.got) from error
    except Exception as error:  # parsers raise a dozen types on damaged answers
        raise BadInputError(source, "a VOTable in answer", one_line(error)) from error
    if table is None:
        raise BadInputError(source, "a table in answer", "none")
    n = len(table.table)
    if status == "OVERFLOW" or n >= max_rows:
        line = (
            f"{service.title}: the answer was cut short at {n:,} rows, the brightest in "
            f"{magnitude}; `Reference.max_rows` asks for more"
        )
        return table, (line,)
    return table, ()


def _status(answer: bytes) -> tuple[str, str]:
    """Return the last status that a VOTable states, which overflow stands behind its rows."""
    status = said = ""
    for found in _INFO.finditer(answer):
        named = {key.lower(): value for key, value in _ATTRIBUTE.findall(found[1])}
        if named.get(b"name", b"").upper() == b"QUERY_STATUS":
            status = named.get(b"value", b"").decode("utf-8", "replace").upper()
            said = " ".join((found[2] or b"").decode("utf-8", "replace").split())
            if status in {"ERROR", "OVERFLOW"}:
                break
    return status, said


def ask_by_pyvo(url: str, adql: str, max_rows: int, timeout_s: float) -> bytes:
    """Ask a TAP service for a VOTable, by a job that it works on while this process waits.

    Archives cut answers that are given at once to some thousand rows. Raises what pyvo and
    requests raise.
    """
    from pyvo.dal import TAPService
    from pyvo.utils.http import create_session

    with closing(create_session()) as session:
        send = session.request

        def request(*words: Any, **options: Any) -> Any:
            return send(*words, **({"timeout": min(timeout_s, 60.0)} | options))

        session.request = request
        return _answer_of_job(TAPService(url, session=session), session, adql, max_rows, timeout_s)


def _answer_of_job(service: Any, session: Any, adql: str, max_rows: int, timeout_s: float) -> bytes:
    """Submit a job, wait for it, and return its answer; the job is removed in any case."""
    until = time.monotonic() + timeout_s
    job = service.submit_job(adql, maxrec=max_rows)
    try:
        job.run()
        pause = _FIRST_PAUSE_S
        while job.phase not in {"COMPLETED", "ERROR", "ABORTED"}:
            if time.monotonic() > until:
                raise TimeoutError(f"the job was not finished after {timeout_s:g} s")
            time.sleep(pause)
            pause = min(1.5 * pause, 10.0)
        job.raise_if_error()
        answer = session.get(job.result_uri)
        answer.raise_for_status()
        return bytes(answer.content)
    finally:
        with suppress(Exception):  # it is the archive's to remove in the end
            job.delete()
