import numpy as np
import pytest
from astropy.table import Table

from skyduel.baseline.external_catalogs import CatalogFiles, catalog_files
from skyduel.core.catalog import Catalog
from skyduel.core.detector import Detector
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import safe_name


def frame(name="night_01", **facts):
    return Frame(data=np.zeros((30, 41)), name=name, **facts)


def write(path, n=3, **columns):
    columns = columns or {"x": np.arange(n) + 0.5, "y": np.arange(n) * 2.0, "score": np.ones(n)}
    Table(columns).write(path, format="ascii.ecsv" if ".ecsv" in path.name else "ascii.csv")
    return path


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("night_01.ecsv", "night_01"),
        ("night_01.csv", "night_01"),
        ("night_01.fits.ecsv", "night_01"),
        ("night_01.fits.fz.csv", "night_01"),
        ("night_01.ecsv", "night_01.fits.fz"),
        ("a.b.ecsv", "a.b"),
        (safe_name("field one/3") + ".ecsv", "field one/3"),
    ],
)
def test_a_file_is_found_by_the_frames_name(tmp_path, file, name):
    write(tmp_path / file)
    write(tmp_path / "night_011.ecsv", n=7)
    write(tmp_path / "a.ecsv", n=9)
    found = catalog_files(folder=tmp_path)(frame(name))
    assert isinstance(found, Catalog)
    assert found["x"].tolist() == [0.5, 1.5, 2.5]


def test_sextractor_files_are_read_with_their_convention(tmp_path):
    (tmp_path / "night_01.cat").write_text(
        "#   1 X_IMAGE   Object position along x  [pixel]\n"
        "#   2 Y_IMAGE   Object position along y  [pixel]\n"
        "  11.0  5.5\n"
    )
    found = catalog_files(folder=str(tmp_path), name="theirs")(frame())
    assert (found["x"].tolist(), found["y"].tolist()) == ([10.0], [4.5])


def test_columns_of_any_name_and_magnitudes_on_the_frames_zero_point(tmp_path):
    write(tmp_path / "night_01.csv", alpha=[3.0], beta=[4.0], flux=[100.0])
    detector = catalog_files(folder=tmp_path, columns={"x": "alpha", "y": "beta"})
    found = detector(frame(zero_point=25.0))
    assert found["x"].tolist() == [3.0]
    assert found["mag"].tolist() == [20.0]


def test_it_is_a_detector_with_its_own_name(tmp_path):
    detector = catalog_files(folder=tmp_path, name="theirs", score_threshold=0.5)
    assert isinstance(detector, CatalogFiles)
    assert isinstance(detector, Detector)
    assert detector.name == "theirs"
    assert detector.settings.score_threshold == 0.5
    assert '"theirs"' in detector.settings.model_dump_json()


def test_missing_file_names_the_frame_and_the_nearest(tmp_path):
    write(tmp_path / "night_02.ecsv")
    with pytest.raises(BadInputError, match=r"'night_01'; got none among 1 .*night_02\.ecsv"):
        catalog_files(folder=tmp_path)(frame())


def test_two_files_for_one_frame_are_refused(tmp_path):
    write(tmp_path / "night_01.ecsv")
    write(tmp_path / "night_01.csv")
    with pytest.raises(BadInputError, match=r"several: night_01\.csv, night_01\.ecsv"):
        catalog_files(folder=tmp_path)(frame())


def test_an_unusable_file_is_an_error(tmp_path):
    write(tmp_path / "night_01.csv", wrong=[1.0], names=[2.0])
    with pytest.raises(BadInputError, match=r"night_01\.csv"):
        catalog_files(folder=tmp_path)(frame())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "folder: required field required"),
        ({"folder": "no/such/folder"}, "no/such/folder: required a folder.*no such folder"),
        ({"folder": __file__}, "a folder of catalogues; got a file"),
        ({"folder": ".", "nmae": "x"}, "did you mean name"),
        ({"folder": ".", "name": ""}, "name: required .*at least 1 character"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(BadInputError, match=message):
        catalog_files(**settings)
