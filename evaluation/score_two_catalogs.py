"""Score two catalogues without a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core import add_sky_positions, forced_photometry
from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.html_tables import html_table
from skyduel.core.sections.large_image import PackedMask
from skyduel.evaluation.matching.on_sky import sky_candidates
from skyduel.evaluation.rules import ScoringRules, apply_ignore, mark_ignored_regions, require_shape
from skyduel.evaluation.scoring.counts import Counts
from skyduel.evaluation.scoring.frame_score import FrameInput, FrameScore, choose_edges, score_frame
from skyduel.evaluation.scoring.resampling_units import resampling_units
from skyduel.evaluation.scoring.scores import score_table
from skyduel.evaluation.table_keys import ALL_BINS, range_label

__all__ = ["SCHEMA_VERSION", "ScoreReport", "measured_alike", "score_catalogs"]

Bools = npt.NDArray[np.bool_]

_UNDEFINED: Final = "–"
#: Of the JSON; raised whenever a field changes its meaning.
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, eq=False)
class ScoreReport:
    """Scores of one catalogue against another.

    Parameters
    ----------
    table : DataFrame
        As `score_table` makes it.
    frame : FrameScore
        The pairing, the counts and the zero-point behind it.
    rules : ScoringRules
        The rules it was made by.
    radius_arcsec : float or None
        The radius of pairs on the sky, which then stands for the rules'; None
        where they were made in pixels.
    """

    table: pd.DataFrame
    frame: FrameScore
    rules: ScoringRules
    radius_arcsec: float | None = None

    @property
    def counts(self) -> Counts:
        """Counts per bin."""
        return self.frame.counts

    def points(
        self, quantity: str = "completeness"
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return a score by magnitude, as matplotlib's ``errorbar(*report.points())`` takes it.

        Parameters
        ----------
        quantity : str
            A score of ``table``, such as ``completeness``, ``purity`` or ``f1``.

        Returns
        -------
        mag, value, error : ndarray of float64, shapes (n,), (n,) and (2, n)
            Centres of the bins in which the score is defined [mag], the score, and the distances
            of the interval's lower and upper end from it, none below 0.

        Raises
        ------
        BadInputError
            If there is no such score.
        """
        known = list(dict.fromkeys(self.table["quantity"]))
        if quantity not in known:
            raise BadInputError("quantity", f"one of {', '.join(known)}", repr(quantity))
        rows = self.table[(self.table["quantity"] == quantity) & self.table["value"].notna()]
        rows = rows[rows["bin"].between(0, len(self.counts.edges) - 2)]
        value = rows["value"].to_numpy(np.float64)
        ends = rows[["lo", "hi"]].to_numpy(np.float64).T
        error = np.clip(np.abs(ends - value), 0.0, None)
        error[(ends - value) * [[-1.0], [1.0]] < 0] = 0.0  # a bootstrap may miss its estimate
        centre = (rows["bin_lo"] + rows["bin_hi"]).to_numpy(np.float64) / 2
        return centre, value, error

    def __repr__(self) -> str:
        """Return the scores over all magnitudes in one line; `table` has all."""
        rows = self.table[self.table["bin"] == ALL_BINS].to_dict("records")
        told = {str(r["quantity"]): _told(r) for r in rows}
        scores = ", ".join(f"{q} {told[q]}" for q in ("completeness", "purity"))
        return f"{type(self).__name__}({scores}; the rows by magnitude are in .table)"

    def _repr_html_(self) -> str:
        """Return completeness and purity by magnitude as a table, for notebooks."""
        names = ("completeness", "purity")
        bins: dict[str, dict[str, str]] = {}
        for row in self.table.to_dict("records"):
            if row["quantity"] in names:
                bins.setdefault(_bin_name(row), {})[str(row["quantity"])] = _told(row)
        rows = [
            (label, *(cells[name] for name in names))
            for label, cells in bins.items()
            if any(cells[name] != _UNDEFINED for name in names)
        ]
        caption = f"value [{100 * self.rules.confidence:g} % interval] k/n"
        return html_table(caption, ("mag", *names), rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, None for what is undefined."""
        zero = self.frame.zero_point
        rows = self.table.to_dict(orient="records")
        return {
            "schema": SCHEMA_VERSION,
            "edges": list(self.counts.edges),
            "rules": self.rules.model_dump(mode="json"),
            "radius_arcsec": self.radius_arcsec,
            "scores": [{str(k): _plain(v) for k, v in row.items()} for row in rows],
            "totals": self.counts.sums(),
            "zero_point": {"n": zero.n, "offset_mag": zero.offset_mag, "source": zero.source},
        }

    def to_json(self) -> str:
        """Return stable JSON: keys sorted, NaN and infinities as null, a ``schema`` number."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=2, allow_nan=False) + "\n"


def measured_alike(
    found: Catalog,
    truth: Catalog,
    frame: Frame | None,
    rules: ScoringRules,
    *,
    on_sky: bool = False,
    area: Bools | PackedMask | None = None,
) -> tuple[Catalog, Catalog]:
    """Return detections and truth measured and marked on their frame, as in a run.

    Parameters
    ----------
    found, truth : Catalog
        Of one frame.
    frame : Frame, optional
        The frame. Without it both come back as they are.
    rules : ScoringRules
        They say which regions are ignored.
    on_sky : bool
        Whether sky positions are needed; the frame's WCS gives missing ones.
    area : PackedMask or ndarray of bool, shape (ny, nx), optional
        Ignore areas of the frame (`skyduel.core.areas.ignore_area`).
    """
    if frame is None:
        return found, truth
    if on_sky and frame.wcs is not None:
        found, truth = (
            c if "ra" in c and "dec" in c else add_sky_positions(frame, c) for c in (found, truth)
        )
    found, truth = forced_photometry(frame, found), forced_photometry(frame, truth)
    return mark_ignored_regions(found, frame.shape, frame.bad, rules, area), truth


@takes(
    truth=Catalog,
    found=Catalog,
    rules=ScoringRules,
    mpix=Real,
    fwhm=Real,
    threshold=Real,
    radius_arcsec=Real,
)
def score_catalogs(
    truth: Catalog,
    found: Catalog,
    rules: ScoringRules | None = None,
    *,
    frame_shape: tuple[int, int] | None = None,
    mpix: float | None = None,
    fwhm: float | None = None,
    mask: Bools | None = None,
    saturated: Bools | None = None,
    area: Bools | PackedMask | None = None,
    threshold: float | None = None,
    radius_arcsec: float | None = None,
) -> ScoreReport:
    """Return the scores of ``found`` against ``truth``.

    Parameters
    ----------
    truth, found : Catalog
        Of one frame, in its pixel coordinates, or of one field of the sky
        (``radius_arcsec``). Magnitudes measured are the
        ``aper_mag`` of ``found``, or its ``mag`` without that column.
    rules : ScoringRules, optional
        How to match, count and ignore. Default: ``ScoringRules()``.
    frame_shape : (ny, nx), optional
        Lets truths off the frame or at its edge be ignored, and false
        detections be counted per area.
    mpix : float, optional
        Usable area [Mpix]; else that of ``frame_shape``, else unknown.
    fwhm : float, optional
        Of the frame [px]; needed if the radius is in units of it.
    mask, saturated : ndarray of bool, shape (ny, nx), optional
        Pixels of the frame on which truths are ignored, as the rules say; needs
        ``frame_shape``. Detections there are marked by `mark_ignored_regions` beforehand.
    area : PackedMask or ndarray of bool, shape (ny, nx), optional
        Ignore areas, likewise.
    threshold : float, optional
        Only detections with ``score >= threshold`` take part.
    radius_arcsec : float, optional
        Pair by ``ra`` and ``dec`` within this many arcsec, inclusive, instead
        of by pixels (`skyduel.evaluation.matching.on_sky.sky_candidates`).
    """
    rules = rules or ScoringRules()
    if frame_shape is not None:
        require_shape(frame_shape, mask=mask, saturated=saturated, area=area)
    elif any(one is not None for one in (mask, saturated, area)):
        raise BadInputError("score_catalogs: frame_shape", "the shape of the masks", "None")
    if mpix is None:
        mpix = float("nan") if frame_shape is None else frame_shape[0] * frame_shape[1] / 1e6
    source = FrameInput(
        frame=found.source,
        truth=apply_ignore(truth, frame_shape, mask, saturated, rules, area),
        found=found,
        mpix=mpix,
        fwhm=fwhm,
        shape=frame_shape,
    )
    edges = choose_edges([source], rules)
    candidates = None
    if radius_arcsec is not None:
        candidates = sky_candidates(source.truth, found, rules, radius_arcsec)
    frame = score_frame(source, rules, edges, threshold=threshold, candidates=candidates)
    # Positions on the sky have no place on a frame to cut into blocks.
    blocks = resampling_units([frame], rules).counts if radius_arcsec is None else None
    table = score_table([frame.counts], [mpix], edges, rules, blocks=blocks)
    return ScoreReport(table, frame, rules, radius_arcsec)


def _bin_name(row: dict[Any, Any]) -> str:
    """Return the magnitudes of a bin in words."""
    low, high = float(row["bin_lo"]), float(row["bin_hi"])
    if row["bin"] == ALL_BINS:
        return "all"
    if low != low:
        return "unmeasured"
    return range_label(low, high)


def _told(row: dict[Any, Any]) -> str:
    """Return a proportion with its interval and counts."""
    if row["value"] != row["value"]:
        return _UNDEFINED
    interval = f" [{row['lo']:.3f}, {row['hi']:.3f}]"
    return f"{row['value']:.3f}{interval} {int(row['k'])}/{int(row['n'])}"


def _plain(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
