"""Tests of catalogues in formats of other programs, and of masks and weights of surveys."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import (
    SCHEMA,
    BadInputError,
    Catalog,
    Frame,
    add_sky_positions,
    read_catalog,
    write_catalog,
    write_coco,
)
from skyduel.core.io.tables import UCDS

STILTS = shutil.which("stilts")
stilts = pytest.mark.skipif(STILTS is None, reason="needs TOPCAT's stilts: apt install stilts")


def catalog(**more: Any) -> Catalog:
    """One column of each kind, with values that rounding would show."""
    return Catalog.build(
        source="made",
        x=[0.1 + 0.2, 99.0, -1 / 3, 511.5],
        y=[5.0, 1e-7, 40.25, 0.0],
        xy_err=[0.25, np.nan, 1e-3, 2.0],
        flux=[1.5e4, np.nan, -2.0, 1e-30],
        flux_err=[12.0, np.nan, 1 / 3, 0.0],
        mag=[17.25, np.nan, 20.0, 30.1],
        score=[0.999, 1 / 7, np.nan, -3.0],
        kind=["point", "streak", "point", "streak"],
        length=[0.0, 33.5, 0.0, 7.25],
        theta=[0.0, -1.25, 0.0, 0.7],
        flags=[0, 2**40, 7, 1],
        ra=[10.123456789012345, 10.2, 359.999, 0.0],
        dec=[-1.0, 89.9, 0.1 + 0.2, 2.0],
        ignore=[False, True, False, False],
        snr=[10.0, 2.0, np.nan, 3.5],
        half_light_px=[np.nan, 1 / 3, 4.5, 0.0],
        axis_ratio=[1.0, np.nan, 0.2, 1 / 7],
        sersic=[1.0, 4.0, np.nan, 2.5],
        extendedness=[0.0, 1.0, np.nan, 0.7],
        aper_flux=[1.0, 2.0, 3.0, np.nan],
        aper_flux_err=[0.1, 0.2, 0.3, np.nan],
        aper_mag=[20.0, 19.0, 18.0, np.nan],
        **more,
    )


def same(back: Catalog, given_: Catalog, rounding: float = 0.0) -> None:
    assert set(back.table.colnames) == set(given_.table.colnames)
    assert len(back) == len(given_)
    for name in given_.table.colnames:
        ours, theirs = given_[name], back[name]
        assert ours.dtype.kind == theirs.dtype.kind, name
        if ours.dtype.kind == "f":
            assert np.allclose(theirs, ours, rtol=0, atol=rounding, equal_nan=True), name
        else:
            assert np.array_equal(theirs, ours), name
        assert back.table[name].unit == given_.table[name].unit


EXACT = [".ecsv", ".fits", ".vot", ".csv", ".parquet", ".json"]
# One and a half rounding of a number below 1000: that of adding 1, that of degrees.
SEXTRACTOR = {".cat": 2e-13, ".ldac": 2e-13}


@pytest.mark.parametrize("ending", [*EXACT, *SEXTRACTOR])
def test_every_format_there_and_back(tmp_path: Path, ending: str) -> None:
    given_ = catalog(name=["A", "b", "c_d", "e-f"], number=[3, -1, 2**40, 0])
    write_catalog(given_, tmp_path / f"c{ending}")
    same(read_catalog(tmp_path / f"c{ending}"), given_, SEXTRACTOR.get(ending, 0.0))


@pytest.mark.parametrize("ending", [*EXACT, *SEXTRACTOR])
def test_no_rows(tmp_path: Path, ending: str) -> None:
    write_catalog(Catalog.empty(), tmp_path / f"c{ending}")
    assert len(read_catalog(tmp_path / f"c{ending}")) == 0


values = st.floats(-1e5, 1e5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(values, values, st.floats(allow_infinity=False), st.booleans()), max_size=4),
    st.sampled_from([".json", ".cat", ".ldac"]),
)
def test_any_values(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], ending: str
) -> None:
    x, y, flux, streak = zip(*rows, strict=True) if rows else ((), (), (), ())
    given_ = Catalog.build(
        x=np.array(x, float),
        y=np.array(y, float),
        flux=np.array(flux, float),
        kind=np.where(np.array(streak, bool), "streak", "point").astype("U6"),
    )
    path = tmp_path_factory.mktemp("c") / f"c{ending}"
    write_catalog(given_, path)
    back = read_catalog(path)
    assert len(back) == len(given_)
    assert np.allclose(back.xy, given_.xy, rtol=0, atol=0 if ending == ".json" else 3e-11)
    assert np.array_equal(back["flux"], given_["flux"], equal_nan=True)
    assert np.array_equal(back["kind"], given_["kind"])


# -- SExtractor ----------------------------------------------------------------------------


def test_sextractors_text_says_what_sextractors_would(tmp_path: Path) -> None:
    write_catalog(catalog(), tmp_path / "c.cat")
    table = Table.read(tmp_path / "c.cat", format="ascii.sextractor")
    assert table["X_IMAGE"][1] == 100.0
    assert table["X_IMAGE"].unit == u.pix
    assert table["THETA_IMAGE"][1] == pytest.approx(np.rad2deg(-1.25))
    assert table["MAG"][1] == 99.0  # of unknown kind: neither Kron's nor an aperture's
    assert table["MAG_APER"][:3].tolist() == [20.0, 19.0, 18.0]
    assert table["MAGERR_APER"][0] == pytest.approx(0.1 * 2.5 / np.log(10))
    assert table["MAGERR_APER"][3] == 99.0
    assert table["NUMBER"].tolist() == [1, 2, 3, 4]
    assert table["ALPHA_J2000"].unit == u.deg
    lines = (tmp_path / "c.cat").read_text().splitlines()
    assert lines[1].split()[:3] == ["#", "2", "X_IMAGE"]
    assert lines[1].endswith("[pixel]")


@pytest.mark.parametrize(
    ("kind", "name"), [("auto", "FLUX_AUTO"), ("iso", "FLUX_ISO"), ("psf", "FLUX_PSF")]
)
@pytest.mark.parametrize("ending", SEXTRACTOR)
def test_a_flux_has_the_name_of_its_kind(tmp_path: Path, kind: str, name: str, ending: str) -> None:
    given_ = catalog()
    given_.table.meta["fluxtype"] = kind
    write_catalog(given_, tmp_path / f"c{ending}")
    where = "LDAC_OBJECTS" if ending == ".ldac" else None
    table = Table.read(tmp_path / f"c{ending}", **(
        {"hdu": where} if where else {"format": "ascii.sextractor"}))  # fmt: skip
    assert np.array_equal(table[name], given_["flux"], equal_nan=True)
    assert np.array_equal(table["FLUX_APER"], given_["aper_flux"], equal_nan=True)
    assert {"FLUX_AUTO", "FLUX_ISO", "FLUX_PSF"} & set(table.colnames) == {name}
    same(read_catalog(tmp_path / f"c{ending}"), given_, SEXTRACTOR[ending])


@pytest.mark.parametrize("ending", SEXTRACTOR)
def test_an_aperture_flux_is_written_once(tmp_path: Path, ending: str) -> None:
    given_ = catalog()
    ours = {n: given_[f"aper_{n}"] for n in ("flux", "flux_err", "mag")}
    given_ = given_.with_columns(**ours)
    given_.table.meta["fluxtype"] = "aper"
    write_catalog(given_, tmp_path / f"c{ending}")
    same(read_catalog(tmp_path / f"c{ending}"), given_, SEXTRACTOR[ending])
    # Another aperture than the common one: both are kept, under names of their own.
    other = given_.with_columns(flux=given_["flux"] + 1)
    other.table.meta["fluxtype"] = "aper"
    write_catalog(other, tmp_path / f"d{ending}")
    same(read_catalog(tmp_path / f"d{ending}"), other, SEXTRACTOR[ending])


def test_sextractors_own_aperture_is_not_the_common_one(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("X_IMAGE,Y_IMAGE,FLUX_AUTO,FLUX_APER,NUMBER\n1,2,3,4,5\n")
    back = read_catalog(path)
    assert "aper_flux" not in back
    assert back["flux"].tolist() == [3.0]
    assert back["NUMBER"].tolist() == [5]


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".vot", ".parquet", ".json"])
def test_metadata_come_back(tmp_path: Path, ending: str) -> None:
    given_ = catalog()
    meta = {"program": "skyduel 9", "thresh": 0.5, "nfainter": 12, "rows": "score >= 0.5"}
    meta["settings"] = '{"floor": 0.05, "' + "long" * 40 + '": null}'
    given_.table.meta.update(meta)
    write_catalog(given_, tmp_path / f"c{ending}")
    back = {str(k).lower(): v for k, v in read_catalog(tmp_path / f"c{ending}").table.meta.items()}
    assert {key: back[key] for key in meta} == meta


def test_ldac_has_its_two_tables(tmp_path: Path) -> None:
    write_catalog(catalog(), tmp_path / "c.ldac")
    with fits.open(tmp_path / "c.ldac") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS"]
        assert hdus[1].columns.names == ["Field Header Card"]
        cards = np.asarray(hdus[1].data["Field Header Card"][0]).tolist()
        assert [card.rstrip() for card in cards if card.rstrip()][-1] == "END"
        assert len(cards) % 36 == 0
        assert hdus[2].columns["X_IMAGE"].unit == "pix"
        assert hdus[2].data["X_IMAGE"][1] == 100.0


@pytest.mark.parametrize(
    "column", [{"note": ["two words", "a", "b", "c"]}, {"note": ["", "a", "b", "c"]}]
)
def test_text_that_would_break_the_lines_is_refused(tmp_path: Path, column: Any) -> None:
    with pytest.raises(BadInputError, match=r"ASCII_HEAD can hold; got note with spaces"):
        write_catalog(catalog(**column), tmp_path / "c.cat")
    assert list(tmp_path.iterdir()) == []


# -- VOTable and FITS as TOPCAT reads them ---------------------------------------------------


def test_votable_has_units_descriptions_and_ucds(tmp_path: Path) -> None:
    assert set(UCDS) == set(SCHEMA)
    for ucd in UCDS.values():
        assert check_ucd(ucd, check_controlled_vocabulary=True)
    write_catalog(catalog(), tmp_path / "c.vot")
    fields = {f.name: f for f in parse(tmp_path / "c.vot").get_first_table().fields}
    assert {name: field.ucd for name, field in fields.items()} == UCDS
    assert fields["theta"].unit == u.rad
    assert "angle of a streak" in fields["theta"].description


@stilts
@pytest.mark.parametrize(("ending", "form"), [(".vot", "votable"), (".fits", "fits")])
def test_topcats_stilts_reads_every_value(tmp_path: Path, ending: str, form: str) -> None:
    given_ = catalog()
    write_catalog(given_, tmp_path / f"c{ending}")
    command = [str(STILTS), "tpipe", f"in=c{ending}", f"ifmt={form}", f"out=o{ending}",
               f"ofmt={form}"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=1200)
    same(read_catalog(tmp_path / f"o{ending}"), given_)
    table = Table.read(tmp_path / f"o{ending}", format=form)
    assert {n: table[n].unit for n in table.colnames} == {
        n: given_.table[n].unit for n in given_.table.colnames
    }
    if ending == ".vot":
        fields = {f.name: f for f in parse(tmp_path / "o.vot").get_first_table().fields}
        assert fields["ra"].ucd == "pos.eq.ra;meta.main"


@stilts
def test_topcats_stilts_finds_our_votable_valid(tmp_path: Path) -> None:
    write_catalog(catalog(), tmp_path / "c.vot")
    done = subprocess.run(
        [str(STILTS), "votlint", "c.vot"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert "ERROR" not in done.stdout + done.stderr


# -- COCO ----------------------------------------------------------------------------------


def test_coco_says_where_things_are(tmp_path: Path) -> None:
    given_ = Catalog.build(
        x=[10.0, 50.0], y=[20.0, 30.0], kind=["point", "streak"], length=[0.0, 20.0],
        theta=[0.0, np.pi / 2], score=[0.5, 0.25], ignore=[False, True],
    )  # fmt: skip
    write_coco({"a.fits": given_}, tmp_path / "c.json", shapes={"a.fits": (80, 100)}, box_px=6)
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["images"] == [{"id": 1, "file_name": "a.fits", "width": 100, "height": 80}]
    point, streak = document["annotations"]
    # The pixel 10 lies between the edges 10 and 11.
    assert point["bbox"] == [7.5, 17.5, 6.0, 6.0]
    assert point["keypoints"] == [10.0, 20.0, 2]
    assert streak["bbox"] == pytest.approx([47.5, 17.5, 6.0, 26.0])
    assert [a["category_id"] for a in (point, streak)] == [1, 2]
    assert [a["iscrowd"] for a in (point, streak)] == [0, 1]
    assert [c["name"] for c in document["categories"]] == ["point", "streak"]


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    write_coco({"a": catalog(), "b": Catalog.empty()}, tmp_path / "c.json")
    opened = coco.COCO(str(tmp_path / "c.json"))
    assert len(opened.getAnnIds(imgIds=[1])) == 4
    assert opened.getAnnIds(imgIds=[2]) == []
    assert len(opened.getAnnIds(catIds=[2])) == 2


@pytest.mark.parametrize("ending", [".asdf", ".fts.gz", ".fits.z", ".png"])
def test_an_image_is_named_without_its_ending(tmp_path: Path, ending: str) -> None:
    write_coco({"b": Catalog.empty(), f"v1.2{ending}": catalog()}, tmp_path / "c.json")
    same(read_catalog(f"{tmp_path}/c.json[v1.2]"), catalog())


def test_one_image_of_several(tmp_path: Path) -> None:
    other = Catalog.build(x=[1.0], y=[2.0])
    write_coco({"a.fits": catalog(), "deep/b.fits.fz": other}, tmp_path / "c.json")
    same(read_catalog(f"{tmp_path}/c.json[a]"), catalog())
    same(read_catalog(f"{tmp_path}/c.json[2]"), other)
    frame = Frame(data=np.arange(12.0).reshape(3, 4), name="b")
    assert len(read_catalog(tmp_path / "c.json", frame=frame)) == 1
    with pytest.raises(BadInputError, match=r"one image, .*; got 2 images$"):
        read_catalog(tmp_path / "c.json")
    with pytest.raises(BadInputError, match=r"none called 'z'"):
        read_catalog(f"{tmp_path}/c.json[z]")


def test_other_peoples_coco(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "x.png"}],
        "categories": [{"id": 4, "name": "Satellite"}, {"id": 9, "name": "galaxy"}],
        "annotations": [
            {"image_id": 7, "category_id": 4, "bbox": [9.5, 19.5, 2, 4], "score": 0.5},
            {"image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1], "iscrowd": 1},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(document))
    back = read_catalog(tmp_path / "c.json")
    assert back.xy.tolist() == [[10.0, 21.0], [0.0, 0.0]]
    assert back["kind"].tolist() == ["streak", "galaxy"]
    assert back["ignore"].tolist() == [False, True]
    assert back["score"][0] == 0.5
    assert np.isnan(back["score"][1])


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"images": 3}',
        '{"images": [], "categories": [], "annotations": [{}]}',
        '{"images": [{"id": 1}], "categories": [], "annotations": [{"image_id": 1}]}',
        '{"images": [{"id": 1}], "categories": [{}], "annotations": []}',
        '{"a":' * 3000,
    ],
)
def test_json_that_is_no_coco(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(BadInputError, match="COCO's JSON with images") as caught:
        read_catalog(tmp_path / "c.json")
    assert "\n" not in str(caught.value)


# -- pandas --------------------------------------------------------------------------------


def test_pandas_there_and_back() -> None:
    given_ = catalog(name=["A", "längst", "c d", ""])
    frame = given_.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame.attrs["units"]["theta"] == "rad"
    assert frame["ignore"].dtype == bool
    assert frame["flags"].dtype == np.int64
    same(Catalog.from_pandas(frame), given_)
    same(Catalog.from_pandas(Catalog.empty().to_pandas()), Catalog.empty())


def test_pandas_of_anybody() -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [3.5, 4.5], "kind": ["streak", None]}, index=[5, 9])
    back = Catalog.from_pandas(frame)
    assert back["kind"].tolist() == ["streak", "point"]
    assert "index" not in back.table.colnames
    with pytest.raises(BadInputError, match="a column 'y'"):
        Catalog.from_pandas(pd.DataFrame({"x": [1.0]}))
    twice = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["x", "y", "x"])
    with pytest.raises(BadInputError, match="two of x"):
        Catalog.from_pandas(twice)
    stamps = Catalog(Table({"x": [1.0], "y": [2.0], "stamp": np.zeros((1, 3))}))
    with pytest.raises(BadInputError, match="for pandas; got stamp"):
        stamps.to_pandas()


# -- sky -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [*EXACT, *SEXTRACTOR])
def test_sky_positions_go_through_every_format(tmp_path: Path, ending: str) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 2.0], [30.0, 20.0], [-1e-3, 1e-3]
    frame = Frame(data=np.arange(2400.0).reshape(40, 60), name="sky", wcs=wcs)
    given_ = add_sky_positions(frame, Catalog.build(x=[3.25, 50.0], y=[7.5, 31.0]))
    write_catalog(given_, tmp_path / f"c{ending}")
    back = read_catalog(tmp_path / f"c{ending}")
    assert np.array_equal(back["ra"], given_["ra"])
    assert np.array_equal(back["dec"], given_["dec"])
    # And the sky alone brings the pixels back.
    alone = Catalog(back.table)
    table = Table({"ra": alone["ra"] * u.deg, "dec": alone["dec"] * u.deg})
    table.write(tmp_path / "sky.ecsv")
    assert read_catalog(tmp_path / "sky.ecsv", frame=frame).xy == pytest.approx(given_.xy)


# -- masks and weights ---------------------------------------------------------------------


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    """A frame with its flags and weight map, under the names that surveys give them."""
    random = np.random.default_rng(0)
    flags = np.zeros((20, 30), np.int32)
    flags[2, 3], flags[4, 5], flags[6, 7] = 1, 4, 5
    weight = np.full((20, 30), 0.7, np.float32)
    weight[10, 11], weight[12, 13], weight[14, 15] = 0, np.nan, -1
    fits.writeto(tmp_path / "n1.fits", random.normal(size=(20, 30)).astype(np.float32))
    fits.writeto(tmp_path / "n1.mask.fits", flags)
    fits.writeto(tmp_path / "n1.weight.fits.gz", weight)
    return tmp_path


def test_bits_of_a_mask_and_weights(survey: Path) -> None:
    from skyduel.core import read_frame

    image, mask = survey / "n1.fits", survey / "n1.mask.fits"
    assert read_frame(image, mask=mask).bad.sum() == 3
    assert np.argwhere(read_frame(image, mask=mask, mask_bits=1).bad).tolist() == [[2, 3], [6, 7]]
    assert np.argwhere(read_frame(image, mask=mask, mask_bits=4).bad).tolist() == [[4, 5], [6, 7]]
    assert read_frame(image, mask=mask, mask_bits=1 + 4).bad.sum() == 3
    assert read_frame(image, mask=mask, mask_bits=8).bad.sum() == 0
    weighted = read_frame(image, weight=survey / "n1.weight.fits.gz").bad
    assert np.argwhere(weighted).tolist() == [[10, 11], [12, 13], [14, 15]]
    both = read_frame(image, mask=mask, mask_bits=4, weight=survey / "n1.weight.fits.gz").bad
    assert both.sum() == 5
    for arguments, message in (
        ({"mask_bits": 1}, "a mask for mask_bits to choose from"),
        ({"mask": mask, "mask_bits": -1}, "a sum of powers of two"),
        ({"mask": np.full((20, 30), 0.5), "mask_bits": 1}, "a mask of whole numbers"),
        ({"weight": np.ones((3, 4))}, r"a weight map of the image's shape \(20, 30\)"),
        ({"mask": np.zeros((3, 4)), "weight": np.ones((20, 30))}, "a mask of the image's shape"),
    ):
        with pytest.raises(BadInputError, match=message):
            read_frame(image, **arguments)  # type: ignore[arg-type]


def test_a_folder_brings_masks_and_weights(survey: Path) -> None:
    from skyduel.core import open_dataset, write_manifest

    dataset = open_dataset(survey)
    (entry,) = dataset
    assert entry.name == "n1"
    assert [p.name for p in entry.images] == ["n1.fits", "n1.mask.fits", "n1.weight.fits.gz"]
    assert entry.read().bad.sum() == 6
    (alone,) = open_dataset(survey / "n1.fits")
    assert alone.images == entry.images
    write_manifest(dataset, survey / "manifest.csv")
    (again,) = open_dataset(survey)
    assert again.images == entry.images


def test_a_manifest_chooses_bits(survey: Path) -> None:
    from skyduel.core import open_dataset, write_manifest

    manifest = survey / "manifest.csv"
    manifest.write_text("frame,mask,mask_bits,weight\nn1.fits,n1.mask.fits,0x4,\n")
    dataset = open_dataset(survey)
    (entry,) = dataset
    assert (entry.mask_bits, entry.weight) == (4, None)
    assert entry.read().bad.sum() == 2
    write_manifest(dataset, survey / "again.csv")
    assert next(iter(open_dataset(survey / "again.csv"))).read().bad.sum() == 2
    for row, message in (
        ("n1.fits,n1.mask.fits,four,", "mask_bits as a sum of powers of two; got 'four' in row 1"),
        ("n1.fits,,4,", "n1.fits: required a mask for mask_bits"),
    ):
        manifest.write_text(f"frame,mask,mask_bits,weight\n{row}\n")
        with pytest.raises(BadInputError, match=message):
            open_dataset(survey).entries[0].read()


# -- skyduel detect ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["cat", "ldac", "json", "reg", "vot"])
def test_detect_writes_the_format_that_the_ending_names(tmp_path: Path, ending: str) -> None:
    from typer.testing import CliRunner

    from skyduel.cli.main import app

    y, x = np.mgrid[:64, :80].astype(float)
    image = 900 * np.exp(-((x - 40.2) ** 2 + (y - 20.6) ** 2) / 4) + 100
    image += np.random.default_rng(1).normal(0, 3, image.shape)
    fits.writeto(tmp_path / "a.fits", image.astype(np.float32))
    (tmp_path / "mine.sex").write_text("DETECT_THRESH 5\nBACKPHOTO_TYPE LOCAL\n")
    command = ["detect", str(tmp_path / "a.fits"), "--with", "sep",
               "--set", f"sep.config={tmp_path / 'mine.sex'}"]  # fmt: skip
    target = tmp_path / f"found.{ending}"
    done = CliRunner().invoke(app, [*command, "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert "BACKPHOTO_TYPE LOCAL: no local background" in done.output
    if ending == "reg":
        assert "circle(41." in target.read_text()
    else:
        assert read_catalog(target).xy == pytest.approx(np.array([[40.2, 20.6]]), abs=0.05)
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "d"), "--format", ending])
    assert done.exit_code == 0
    assert (tmp_path / "d" / f"a.{ending}").is_file()


def test_a_file_is_no_place_for_several_frames(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from skyduel.cli.main import app

    frames = [tmp_path / "a.fits", tmp_path / "b.fits"]
    for frame in frames:
        frame.touch()
    words = ["detect", *map(str, frames), "--with", "sep", "-o", str(tmp_path / "c.vot")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, BadInputError)
    assert "a folder for several frames" in str(done.exception)
