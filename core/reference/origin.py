"""Where a reference catalogue comes from: a file, a tree of Parquet files, or a service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from skyduel.core.errors import ArgumentError
from skyduel.core.frame import Plane
from skyduel.core.io.images.image_reader import split_brackets
from skyduel.core.io.tables import read_given_table
from skyduel.core.io.tabular.given_table import GivenTable
from skyduel.core.reference.cones import cone_of
from skyduel.core.reference.parquet_trees import is_parquet, parquet_region
from skyduel.core.reference.services import MAX_ROWS, SERVICES, TIMEOUT_S, Ask, service_region
from skyduel.core.reference.sources import ReferenceSources, reference_sources
from skyduel.core.settings import nearest

__all__ = ["Reference"]


class Reference:
    """A reference catalogue, of which each frame takes its part.

    Parameters
    ----------
    origin : str
        A name of `services.SERVICES`; a table of any format of `core.read_catalog`, with a table
        of it in brackets; or a folder of Parquet files, such as a HATS catalogue.
    columns : mapping of str to str, optional
        Our names (those of the schema, ``pmra``, ``pmdec`` and ``epoch``) to the table's.
    epoch : float, optional
        Julian year of its positions, where it does not state one.
    max_rows : int
        Most rows of a service's answer.
    timeout_s : float
        How long to wait for it [s].
    ask : callable, optional
        How a service is asked; by default by pyvo.

    Raises
    ------
    BadInputError
        If the origin is neither of these.
    """

    def __init__(
        self,
        origin: str,
        *,
        columns: Mapping[str, str] | None = None,
        epoch: float | None = None,
        max_rows: int = MAX_ROWS,
        timeout_s: float = TIMEOUT_S,
        ask: Ask | None = None,
    ) -> None:
        self.origin = origin
        self._columns = dict(columns or {})
        self._epoch, self._max_rows, self._timeout_s, self._ask = epoch, max_rows, timeout_s, ask
        self._service = SERVICES.get(origin.lower())
        self._path, brackets = split_brackets(origin)
        if self._service is None and not self._path.exists():
            close = nearest(origin, list(SERVICES))
            raise ArgumentError(
                "origin",
                f"a table, a folder of Parquet files, or one of {', '.join(SERVICES)}",
                f"{origin!r}" + (f"; did you mean {close}?" if close else ""),
            )
        self._by_region = brackets is None and self._service is None and is_parquet(self._path)

    def sources_on(
        self, frame: Plane, filter_name: str = ""
    ) -> tuple[ReferenceSources, tuple[str, ...]]:
        """Return the sources on a frame and around it, and remarks on the catalogue.

        Parameters
        ----------
        frame : Frame or LargeImage
            Must have a WCS.
        filter_name : str
            Its filter, which chooses the magnitude.

        Raises
        ------
        BadInputError
            If the catalogue cannot be read or asked, or has no positions on the sky.
        """
        columns, epoch = self._columns, self._epoch
        notes: tuple[str, ...] = ()
        if self._service is not None:
            given, notes = service_region(
                self.origin.lower(), cone_of(frame), filter_name=filter_name,
                max_rows=self._max_rows, timeout_s=self._timeout_s, ask=self._ask,
            )  # fmt: skip
            source = self._service.title
            columns = {**self._service.columns, **columns}
            epoch = self._service.epoch if epoch is None else epoch
        elif self._by_region:
            given = parquet_region(self._path, cone_of(frame), columns, filter_name)
            source = self.origin
        else:
            given, source = self._whole, self.origin
        sources = reference_sources(
            given, source, columns=columns, filter_name=filter_name, epoch=epoch
        )
        return sources, notes

    @cached_property
    def _whole(self) -> GivenTable:
        """The whole table of a file, read once for all frames."""
        return read_given_table(self.origin, self._columns)
