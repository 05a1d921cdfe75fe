"""Columnar records: the small arrays of very many frames in little memory.

A NumPy array of a dozen numbers takes 200 bytes, of which 100 are numbers. With 10⁵ frames,
that overhead is most of the memory. So the records of all frames are stored by column:

- A `Ragged` holds one field of all frames. The arrays are joined end to end, and integers have
  the smallest type that holds them. ``column[k]`` returns the array of frame k as it was given.
- A *columns* class, such as ``_CandidateColumns`` in `candidate_store` or ``_ScoreColumns`` in
  `score_store`, owns the `Ragged` of every field and fills them frame by frame.
- A *stored* record, such as ``_StoredCandidateFrame`` or ``_StoredFrameScore``, is a subclass of
  the plain record (`CandidateFrame`, `FrameScore`). It holds only a reference to the columns and
  a row number, and builds each field when it is read. So functions accept both kinds of record.
- A `FrameSequence` is a sequence of such records. Each is created when it is read and freed
  afterwards. ``part`` selects frames without a copy, and ``for_each`` and ``remember`` cache
  results that several tables need.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

__all__ = ["FrameSequence", "Ragged", "for_each", "remembered"]

Array = npt.NDArray[Any]
T = TypeVar("T")
U = TypeVar("U")

#: Arrays that are joined at a time.
_TOGETHER: Final = 512


class Ragged(Sequence[Array]):
    """Arrays of one type and of any length, kept end to end; each comes back as it was given."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Array, npt.NDArray[np.uint32], np.dtype[Any]]] = []
        self._waiting: list[Array] = []

    def append(self, values: Array) -> None:
        """Add one array of shape (n,), of the type that the others have."""
        self._waiting.append(values)
        if len(self._waiting) == _TOGETHER:
            self._blocks.append(_joined(self._waiting))
            self._waiting = []

    def __len__(self) -> int:
        return len(self._blocks) * _TOGETHER + len(self._waiting)

    @overload
    def __getitem__(self, k: int) -> Array: ...
    @overload
    def __getitem__(self, k: slice) -> list[Array]: ...
    def __getitem__(self, k: int | slice) -> Array | list[Array]:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        block, at = divmod(k, _TOGETHER)
        if block >= len(self._blocks):
            return self._waiting[k - len(self._blocks) * _TOGETHER]
        values, ends, dtype = self._blocks[block]
        return values[ends[at] : ends[at + 1]].astype(dtype, copy=False)


def _joined(arrays: Sequence[Array]) -> tuple[Array, npt.NDArray[np.uint32], np.dtype[Any]]:
    values = np.concatenate(arrays)
    dtype = values.dtype
    if dtype.kind in "iu" and values.size:
        fits = [np.min_scalar_type(v) for v in (values.min(), values.max())]
        narrow = np.promote_types(*fits)
        if narrow.kind in "iu":  # 64 bits with and without a sign have no integer in common
            values = values.astype(narrow)
    values.flags.writeable = False
    ends = np.zeros(len(arrays) + 1, dtype=np.uint32)
    np.cumsum([a.size for a in arrays], out=ends[1:])
    return values, ends, dtype


class FrameSequence(Sequence[T], Generic[T]):
    """Records of frames that are made when they are looked at, and parts of them.

    Parameters
    ----------
    make : callable
        Returns the record of the frame with a number.
    n : int
        How many frames there are.
    """

    def __init__(self, make: Callable[[int], T], n: int) -> None:
        self._make = make
        self._rows: range | npt.NDArray[np.int64] = range(n)
        self._whole: FrameSequence[T] | None = None  # never itself: that would outlive its use
        self._notes: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, k: int) -> T: ...
    @overload
    def __getitem__(self, k: slice) -> list[T]: ...
    def __getitem__(self, k: int | slice) -> T | list[T]:
        if isinstance(k, slice):
            return [self._make(int(row)) for row in self._rows[k]]
        return self._make(int(self._rows[k]))

    def __iter__(self) -> Iterator[T]:
        return (self._make(int(row)) for row in self._rows)

    def part(self, places: Sequence[int]) -> FrameSequence[T]:
        """Return the records at some places; all of them are this sequence itself."""
        if len(places) == len(self):
            return self
        out = FrameSequence(self._make, 0)
        out._rows = np.asarray(self._rows, dtype=np.int64)[np.asarray(places, dtype=np.int64)]
        out._whole = self._whole or self
        return out

    def remember(self, key: Hashable, make: Callable[[], U]) -> U:
        """Return the value cached for a key; compute it at the first call."""
        if key not in self._notes:
            self._notes[key] = make()
        answer: U = self._notes[key]
        return answer

    def for_each(
        self, key: Hashable, compute: Callable[[T], tuple[Array, ...]]
    ) -> FrameSequence[tuple[Array, ...]]:
        """Return some arrays of each frame, computed once for the whole of which this is a part."""
        whole = self._whole or self

        def columns() -> tuple[Ragged, ...]:
            kept: tuple[Ragged, ...] = ()
            for record in whole:
                arrays = compute(record)
                kept = kept or tuple(Ragged() for _ in arrays)
                for column, values in zip(kept, arrays, strict=True):
                    column.append(values)
            return kept

        known, rows = whole.remember(key, columns), self._rows
        return FrameSequence(lambda k: tuple(c[int(rows[k])] for c in known), len(rows))


def remembered(frames: Sequence[T], key: Hashable, make: Callable[[], U]) -> U:
    """Return the result of ``make``; cached for a `FrameSequence`."""
    return frames.remember(key, make) if isinstance(frames, FrameSequence) else make()


def for_each(
    frames: Sequence[T], key: Hashable, compute: Callable[[T], tuple[Array, ...]]
) -> Sequence[tuple[Array, ...]]:
    """Return some arrays of each frame; computed once and kept packed for a `FrameSequence`."""
    if isinstance(frames, FrameSequence):
        return frames.for_each(key, compute)
    return [compute(frame) for frame in frames]
