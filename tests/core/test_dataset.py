"""Which frames belong to a set, and which truth belongs to a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.paths import DATA, needs_data

from skyduel.core import Frame, write_frame
from skyduel.core.errors import BadInputError
from skyduel.core.io.dataset import Dataset, Entry, open_dataset, write_manifest
from skyduel.core.io.dataset_listing import list_files, summarize_files


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def facts(dataset: Dataset) -> list[tuple[str, str | None, str, str | None]]:
    root = dataset.path if dataset.path.is_dir() else dataset.path.parent
    return [
        (e.name, e.truth and e.truth.relative_to(root).as_posix(), e.split, e.group)
        for e in dataset
    ]


def test_a_folder_pairs_by_name(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.fits.fz", "a.FIT", "c.fts.gz", "b.ecsv", "a_truth.csv", "notes.txt", ".d.fits"
    )
    dataset = open_dataset(tmp_path)
    assert dataset.name == tmp_path.name
    assert facts(dataset) == [
        ("a", "a_truth.csv", "test", None),
        ("b", "b.ecsv", "test", None),
        ("c", None, "test", None),
    ]
    assert [e.frame.name for e in dataset] == ["a.FIT", "b.fits.fz", "c.fts.gz"]


@pytest.mark.parametrize(
    ("frame", "truth"),
    [
        ("a.fits", "truth/a.ecsv"),
        ("a.fits", "catalogs/a_truth.fits"),
        ("frames/a.fits", "truth/a.parquet"),
        ("images/a.fits", "images/a.cat"),
    ],
)
def test_where_truth_may_lie(tmp_path: Path, frame: str, truth: str) -> None:
    touch(tmp_path, frame, truth)
    assert facts(open_dataset(tmp_path)) == [("a", truth, "test", None)]


def test_the_nearest_truth_counts(tmp_path: Path) -> None:
    touch(tmp_path, "a.fits", "truth/a.ecsv", "a_truth.csv", "a.csv")
    assert facts(open_dataset(tmp_path))[0][1] == "a.csv"


def test_truth_and_masks_as_fits_are_no_frames(tmp_path: Path) -> None:
    touch(tmp_path, "a.fits", "a_truth.fits", "a_mask.fits.fz", "lone_mask.fits")
    assert facts(open_dataset(tmp_path)) == [
        ("a", "a_truth.fits", "test", None),
        ("lone_mask", None, "test", None),
    ]


def test_fits_tables_are_no_frames_but_damaged_files_are(tmp_path: Path) -> None:
    columns = [fits.Column("a", "E", array=np.zeros(2))]
    table = fits.BinTableHDU.from_columns(columns)
    table.writeto(tmp_path / "objects.fits")
    touch(tmp_path, "damaged.fits")
    fits.PrimaryHDU(np.zeros((2, 3))).writeto(tmp_path / "image.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((9, 8), "i2"))]).writeto(
        tmp_path / "tiles.fits.fz"
    )
    assert [e.name for e in open_dataset(tmp_path)] == ["damaged", "image", "tiles"]


def test_splits_as_folders(tmp_path: Path) -> None:
    touch(tmp_path, "test/a.fits", "calibration/b.fits", "calibration/b.csv", "test/truth/a.csv")
    dataset = open_dataset(tmp_path)
    assert facts(dataset) == [
        ("a", "test/truth/a.csv", "test", None),
        ("b", "calibration/b.csv", "calibration", None),
    ]
    assert [e.name for e in dataset.of_split("calibration")] == ["b"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.fits", "a.csv", "calibration/b.fits", "calibration/b.csv"],
         [("a", "a.csv", "test"), ("b", "calibration/b.csv", "calibration")]),
        # Darks and flats, as observers call a folder of them.
        (["a.fits", "a.csv", "calibration/dark.fits"], [("a", "a.csv", "test")]),
        (["a.fits", "calibration/notes.txt"], [("a", None, "test")]),
        (["frames/a.fits", "calibration/b.fits", "calibration/b.csv"],
         [("a", None, "test"), ("b", "calibration/b.csv", "calibration")]),
        (["a.fits", "test/c.fits", "calibration/b.fits", "calibration/b.csv"],
         [("a", None, "test"), ("b", "calibration/b.csv", "calibration"), ("c", None, "test")]),
        (["calibration/b.fits"], [("b", None, "calibration")]),
    ],
)  # fmt: skip
def test_frames_beside_the_folders_of_splits(
    tmp_path: Path, files: list[str], expected: list[tuple[str, str | None, str]]
) -> None:
    touch(tmp_path, *files)
    assert [fact[:3] for fact in facts(open_dataset(tmp_path))] == expected


def listing(dataset: Dataset) -> dict[str, str]:
    return {one.path.as_posix(): one.use or one.reason for one in list_files(dataset)}


def test_every_file_of_a_folder_is_listed(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("a.fits", "a.csv", "a.ecsv", "a_mask.fits", "a.weight.fits", "a.flag.fits", "b.fits"),
        *("truth/b.ecsv", "truth/z.csv", "other.csv", "notes.txt", "darks/d.fits", "sky.png"),
        *(
            "drafts/d.fits",
            "calibration/dark.fits",
            "calibration/k.fits",
            "calibration/k.csv",
            "frames/x.fits",
        ),
        ".hidden",
    )
    column = fits.Column("a", "E", array=np.zeros(2))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "objects.fits")
    dataset = open_dataset(tmp_path)
    assert listing(dataset) == {
        "a.csv": "another truth table is used",
        "a.ecsv": "truth table",
        "a.fits": "test frame",
        "a.flag.fits": "another file is used in its place",
        "a.weight.fits": "weight map",
        "a_mask.fits": "mask",
        "b.fits": "test frame",
        "calibration/dark.fits": "a calibration frame without a truth table",
        "calibration/k.csv": "truth table",
        "calibration/k.fits": "calibration frame",
        "darks/d.fits": "dark exposure",
        "drafts": "a folder that is not searched",
        "frames/x.fits": "frames are taken from another folder",
        "notes.txt": "no frame has this name",
        "sky.png": "neither an image nor a table",
        "objects.fits": "a table of no frame",
        "other.csv": "no frame has this name",
        "truth/b.ecsv": "truth table",
        "truth/z.csv": "no frame has this name",
    }
    line = summarize_files(dataset, list_files(dataset))
    assert line.startswith(
        f"{tmp_path.name}: 1 calibration frame, 1 dark exposure, 1 mask, 1 weight map, "
        "2 test frames, 3 truth tables; not used: a.csv (another truth table is used), a.flag.fits"
    )
    assert line.endswith("and 4 more")


def test_files_that_a_manifest_does_not_name_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.fits", "sub/a.csv", "sub/b.fits", "c.fits", "more/d.fits")
    (tmp_path / "manifest.csv").write_text("frame,truth\nsub/a.fits,sub/a.csv\n")
    dataset = open_dataset(tmp_path)
    assert listing(dataset) == {
        "c.fits": "not in the manifest",
        "manifest.csv": "manifest",
        "more": "a folder that is not searched",
        "sub/a.csv": "truth table",
        "sub/a.fits": "test frame",
        "sub/b.fits": "not in the manifest",
    }
    assert list_files(open_dataset(tmp_path / "c.fits")) == ()


def with_extension(path: Path, name: str) -> None:
    mask = fits.ImageHDU(np.zeros((4, 5), np.uint8), name=name)
    sky = fits.ImageHDU(np.zeros((4, 5), np.float32), name="SCI")
    path.parent.mkdir(exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), sky, mask]).writeto(path)


def test_masks_in_the_file_of_the_frame_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in "ab":
        with_extension(folder / f"{name}.fits", "BADPIX")
    with_extension(tmp_path / "elsewhere.fits", "MASK")
    touch(folder, "a.csv", "areas.reg", "notes.txt")
    (folder / "manifest.csv").write_text(
        "frame,truth,mask,ignore\n"
        "a.fits[SCI],a.csv,a.fits[BADPIX],areas.reg\n"
        "b.fits[SCI],,,areas.reg\n"
        "../elsewhere.fits[SCI],,,\n"
    )
    dataset = open_dataset(folder)
    assert listing(dataset) == {
        "a.csv": "truth table",
        "a.fits": "test frame, mask",
        "areas.reg": "ignore area",
        "b.fits": "test frame",
        "manifest.csv": "manifest",
        "notes.txt": "not in the manifest",
    }
    # One mask is named, the other is the extension MASK that is read unnamed.
    assert summarize_files(dataset, list_files(dataset)) == (
        "set: 1 ignore area, 1 truth table, 2 masks, 3 test frames; "
        "not used: notes.txt (not in the manifest)"
    )


def test_of_many_frames_only_the_first_are_opened_for_their_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        with_extension(tmp_path / f"{name}.fits", "MASK")
    monkeypatch.setattr("skyduel.core.io.dataset_listing._MOST_OPENED", 2)
    dataset = open_dataset(tmp_path)
    line = summarize_files(dataset, list_files(dataset))
    assert line == f"{tmp_path.name}: 3 test frames, at least 2 masks"


def test_masks_within_frames_of_a_folder_are_listed(tmp_path: Path) -> None:
    with_extension(tmp_path / "a.fits", "MASK")
    with_extension(tmp_path / "b.fits", "DQ")  # bits of which none is chosen
    dataset = open_dataset(tmp_path)
    line = summarize_files(dataset, list_files(dataset))
    assert line == f"{tmp_path.name}: 1 mask, 2 test frames"


def test_masks_within_packed_frames_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.eye(20, dtype=bool)
    for name in ("a.fits.fz", "b.fits.gz", "c.fits.bz2", "d.fits"):
        frame = Frame(data=np.ones((20, 20), np.float32), mask=mask, name=name[0])
        write_frame(frame, tmp_path / name)
    dataset = open_dataset(tmp_path)
    line = summarize_files(dataset, list_files(dataset))
    assert line == f"{tmp_path.name}: 4 masks, 4 test frames"
    monkeypatch.setattr("skyduel.core.io.dataset_listing._MOST_UNPACKED", 0)
    line = summarize_files(dataset, list_files(dataset))
    assert line == f"{tmp_path.name}: 4 test frames, at least 2 masks"


def test_groups_are_what_numbered_names_share(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{n}.fits" for n in ("dense_000", "dense_001", "m31_01", "7", "8", "x-1", "x2")),
    )
    groups = {e.name: e.group for e in open_dataset(tmp_path)}
    assert groups == {
        "dense_000": "dense",
        "dense_001": "dense",
        "m31_01": None,
        "7": None,
        "8": None,
        "x-1": "x",
        "x2": "x",
    }


def test_one_frame_is_a_set(tmp_path: Path) -> None:
    touch(tmp_path, "a.fits", "a.csv", "b.fits")
    dataset = open_dataset(tmp_path / "a.fits")
    assert [(e.name, e.truth) for e in dataset] == [("a", tmp_path / "a.csv")]
    chosen = open_dataset(f"{tmp_path / 'b.fits'}[SCI]")
    assert [e.name for e in chosen] == ["b_SCI"]


def test_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "Frame, truth,split,group,name\n"
        "sub/b.fits.fz,sub/b.ecsv,Calibration,001,\n"
        "a.fits[SCI],,,,first\n"
        "/elsewhere/c.fits,nowhere.csv,test,,\n"
    )
    dataset = open_dataset(tmp_path)
    assert dataset.name == tmp_path.name
    assert [(e.name, e.split, e.group) for e in dataset] == [
        ("b", "calibration", "001"),
        ("c", "test", None),
        ("first", "test", None),
    ]
    assert [e.frame for e in dataset] == [
        tmp_path / "sub/b.fits.fz",
        Path("/elsewhere/c.fits"),
        tmp_path / "a.fits[SCI]",
    ]
    # A truth that is not there is found out when it is read.
    assert [e.truth for e in dataset] == [tmp_path / "sub/b.ecsv", tmp_path / "nowhere.csv", None]


def test_a_manifest_without_groups_infers_them(tmp_path: Path) -> None:
    (tmp_path / "night.csv").write_text("frame\nf_1.fits\nf_2.fits\n")
    dataset = open_dataset(tmp_path / "night.csv")
    assert dataset.name == "night"
    assert [e.group for e in dataset] == ["f", "f"]


def test_a_manifest_as_ecsv(tmp_path: Path) -> None:
    (tmp_path / "manifest.ecsv").write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: frame, datatype: string}\n"
        '# - {name: truth, datatype: string}\nframe truth\na.fits a.csv\nb.fits ""\n'
    )
    assert [e.truth for e in open_dataset(tmp_path)] == [tmp_path / "a.csv", None]


def test_manifests_come_back(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    entries = (
        Entry("z", tmp_path / "in" / "z, odd.fits[SCI,2]", None, "calibration", None),
        Entry("a", tmp_path / "out" / "a.fits", tmp_path / "t" / "a.csv", "test", "g"),
    )
    write_manifest(Dataset("d", tmp_path, entries), tmp_path / "out" / "m.csv")
    assert str(tmp_path) not in (tmp_path / "out" / "m.csv").read_text()
    assert open_dataset(tmp_path / "out" / "m.csv").entries == entries[::-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.fits\n", "m.csv: required a column 'frame'; got columns file"),
        ("frame,splits\na.fits,test\n", r"'splits'; did you mean split\?"),
        ("frame,split,Split\na.fits,test,test\n", "column 'split' twice"),
        ("frame,split\na.fits,train\n", "split 'test' or 'calibration'; got 'train' in row 1"),
        ("frame,truth\na.fits,t\n,t\n", "a frame in every row; got none in row 2"),
        ("frame\na.fits\nb/a.fits\n", r"frames of different names; got 'a' twice \(.*a.fits and"),
        ("frame\n", "at least one frame; got none"),
        ("frame,split\na.fits\n", "CSV or ECSV; got 1 cells in row 1 under 2 columns"),
        ("", "got an empty file"),
        ("\x00\x01", "column 'frame'|CSV or ECSV|at least one frame"),
    ],
)
def test_broken_manifests(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        open_dataset(tmp_path / "m.csv")


def test_the_same_name_twice_in_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.fits", "a.fits.fz")
    with pytest.raises(BadInputError, match="'a' twice"):
        open_dataset(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"required images \(.fits, .*got an empty folder"):
        open_dataset(tmp_path)
    with pytest.raises(BadInputError, match=r"nowhere: required an existing file"):
        open_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [("", "test", "a name for the frame"), ("a", "train", "split 'test' or 'calibration'")],
)
def test_entries_are_checked(name: str, split: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Entry(name, Path("a.fits"), split=split)  # type: ignore[arg-type]


@needs_data
@pytest.mark.parametrize(
    ("folder", "frames", "with_truth", "groups"),
    [
        ("skymaker", 20, 20, {"aberrated", "crowded", "dirty", "field", "sparse"}),
        ("widefield_lens", 4, 4, {"Alt40_Azi", "Alt60_Azi"}),
        ("sdss_s82", 1, 0, {None}),
        ("wfsat_crops", 2, 2, {None}),
        ("ystar_streak", 1, 0, {None}),
    ],
)
def test_real_folders(folder: str, frames: int, with_truth: int, groups: set[str | None]) -> None:
    dataset = open_dataset(DATA / folder)
    assert len(dataset) == frames
    assert sum(e.truth is not None for e in dataset) == with_truth
    assert {e.group for e in dataset} == groups
