"""Tests of reading SExtractor's files and of their mapping to the SEP baseline."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skyduel.baseline import sep_default, sep_matched
from skyduel.baseline.filters import DEFAULT_CONV
from skyduel.baseline.sep.sextractor_config import from_sextractor
from skyduel.baseline.sextractor_files import KEYWORDS, locate, read_conv, read_param, read_sex
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.registry import make_detector

SHIPPED = Path("/usr/share/source-extractor")

SEX = """\
# Default configuration file for SExtractor
DETECT_MINAREA   4              # min. # of pixels above threshold
detect_thresh    1.2            # <sigmas>
ANALYSIS_THRESH  1.2
FILTER           Y
FILTER_NAME      mine.conv
DEBLEND_NTHRESH  16
CLEAN            N
PHOT_AUTOPARAMS  2.0, 3.0
BACK_SIZE        32,32
BACK_FILTERSIZE = 5
PARAMETERS_NAME  "mine.param"
CATALOG_NAME     test.cat
SATUR_LEVEL      50000.0
"""
CONV = "CONV NORM\n# a plus\n0 1 0\n1 2 1\n0 1 0\n"
PARAM = "#NUMBER\nX_IMAGE   # here\nY_IMAGE\nFLUX_ISO\nMAG_ISO\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.conv").write_text(CONV)
    (tmp_path / "mine.param").write_text(PARAM)
    (tmp_path / "mine.sex").write_text(SEX)
    return tmp_path


def test_settings_are_read_and_mapped(folder):
    detector = sep_default(config=str(folder / "mine.sex"))
    chosen = detector.settings
    assert (chosen.DETECT_MINAREA, chosen.DETECT_THRESH) == (4, 1.2)
    assert (chosen.FILTER, chosen.CLEAN, chosen.DEBLEND_NTHRESH) == (True, False, 16)
    assert chosen.PHOT_AUTOPARAMS == (2.0, 3.0)
    assert (chosen.BACK_SIZE, chosen.BACK_FILTERSIZE) == (32, 5)
    assert chosen.kernel == "file"
    assert chosen.kernel_values == ((0, 1, 0), (1, 2, 1), (0, 1, 0))
    assert chosen.flux == "iso"
    assert chosen.SATUR_LEVEL is None  # the frame's own stands above, as in the program
    assert chosen.not_reproduced == ()
    assert chosen.config == folder / "mine.sex"
    # A setting beside the file stands above it, also through the registry's call.
    over = sep_default(config=str(folder / "mine.sex"), DETECT_THRESH=3.0)
    assert (over.settings.DETECT_THRESH, over.settings.DETECT_MINAREA) == (3.0, 4)


def test_a_file_of_nothing_has_the_programs_compiled_defaults(tmp_path):
    (tmp_path / "bare.sex").write_text("# nothing\nDETECT_THRESH 1.5\n")
    chosen = sep_default(config=tmp_path / "bare.sex").settings
    assert chosen.DETECT_MINAREA == 5
    assert chosen.kernel == "default"
    assert chosen.flux == "auto"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ANALYSIS_THRESH 3", "ANALYSIS_THRESH 3: shapes"),
        ("WEIGHT_TYPE MAP_RMS", "WEIGHT_TYPE MAP_RMS: no weight map"),
        ("BACKPHOTO_TYPE LOCAL", "BACKPHOTO_TYPE LOCAL: no local background"),
        ("BACK_TYPE MANUAL", "BACK_TYPE MANUAL"),
        ("BACK_SIZE 64,32", "BACK_SIZE 64, 32: only 64"),
        ("PHOT_APERTURES 5,10", "PHOT_APERTURES 5, 10: only 5"),
        ("PHOT_AUTOAPERS 20,20", "PHOT_AUTOAPERS 20, 20"),
        ("MASK_TYPE BLANK", "MASK_TYPE BLANK"),
        ("FILTER_THRESH 3", "FILTER_THRESH 3"),
        ("DETECT_TYPE PHOTO", "DETECT_TYPE PHOTO"),
        ("FILTER_NAME raw.conv", "FILTER_NAME raw.conv: NONORM"),
        ("PARAMETERS_NAME stars.param", "columns CLASS_STAR, FLUX_APER(2): not in"),
    ],
)
def test_what_sep_cannot_do_is_listed(tmp_path, line, says):
    (tmp_path / "raw.conv").write_text("CONV NONORM\n1 2 1\n")
    (tmp_path / "stars.param").write_text("X_IMAGE\nFLUX_AUTO\nCLASS_STAR\nFLUX_APER(2)\n")
    (tmp_path / "one.sex").write_text(line + "\n")
    (said,) = sep_default(config=tmp_path / "one.sex").settings.not_reproduced
    assert said.startswith(says)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DETECT_TRESH 1.5", r"line 1: required .*keywords.*did you mean DETECT_THRESH\?"),
        ("\nFILTER", r"line 2: required a value of FILTER; got none"),
        ("DETECT_THRESH many", r"DETECT_THRESH: required a number; got 'many'"),
        ("DETECT_THRESH nan", r"required a number; got 'nan'"),
        ("DETECT_THRESH 22.5,25.0", r"units of the noise"),
        ("THRESH_TYPE ABSOLUTE", r"units of the noise .*; got ABSOLUTE"),
        ("DETECT_MINAREA 2.5", r"a whole number; got 2\.5"),
        ("DETECT_MINAREA 0", r"DETECT_MINAREA: .*greater than or equal to 1"),
        ("CLEAN maybe", r"CLEAN: required Y or N"),
        ("FILTER_NAME absent.conv", r"the file 'absent\.conv' that it names; got none in"),
        ("PARAMETERS_NAME absent.param", r"the file 'absent\.param'"),
        ("PHOT_AUTOPARAMS 2.5", r"two numbers; got 2\.5"),
        ("MASK_TYPE ODD", r"MASK_TYPE"),
        ("DETECT_THRESH 1\x00", r"as text; got a binary file"),
    ],
)
def test_faults_are_one_clear_line(tmp_path, text, message):
    (tmp_path / "bad.sex").write_text(text + "\n")
    with pytest.raises(BadInputError, match=message) as caught:
        sep_default(config=tmp_path / "bad.sex")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 1\n", "a first line CONV NORM"),
        ("CONV NORM\n", "no row"),
        ("CONV NORM\n1 2\n1\n", "rows of 1, 2"),
        ("CONV NORM\n1 x\n", "rows of numbers"),
        ("CONV NORM\n1 inf\n", "finite"),
        ("CONV NORM\n0 0\n", "not 0 all over"),
        ("CONV NORM\n" + "1 " * 64 + "\n", "at most 63 px"),
        ("# only words\n", "no line"),
    ],
)
def test_faulty_filters(tmp_path, text, message):
    (tmp_path / "k.conv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_conv(tmp_path / "k.conv")


def test_lists_of_columns(tmp_path):
    (tmp_path / "p.param").write_text("NUMBER\nFLUX_APER(3)\nVIGNET(35,35)\nNUMBER\n")
    assert read_param(tmp_path / "p.param") == ("NUMBER", "FLUX_APER(3)", "VIGNET(35,35)")
    (tmp_path / "p.param").write_text("TWO WORDS\n")
    with pytest.raises(BadInputError, match=r"line 1: required one column's name"):
        read_param(tmp_path / "p.param")


def test_files_are_found_beside_and_by_environment(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "k.conv").write_text(CONV)
    monkeypatch.setenv("FILTERS_HERE", str(tmp_path / "deep"))
    monkeypatch.chdir(tmp_path)
    expected = (tmp_path / "deep" / "k.conv").resolve()
    assert locate("$FILTERS_HERE/k.conv", Path("/nowhere"), "s") == expected
    assert locate("deep/k.conv", Path("/nowhere"), "s") == expected
    assert locate("k.conv", tmp_path / "deep", "s") == expected


def test_a_file_too_large(tmp_path):
    (tmp_path / "big.sex").write_text("# " + "x" * (1 << 20))
    with pytest.raises(BadInputError, match="at most 1 MiB"):
        read_sex(tmp_path / "big.sex")


def test_config_is_for_sep_alone(folder):
    with pytest.raises(BadInputError, match="config for the detector sep"):
        sep_matched(config=folder / "mine.sex")
    with pytest.raises(BadInputError, match=r"a \.sex file's path; got 3"):
        sep_default(config=3)


def test_the_default_filter_written_out_gives_the_default_detections(tmp_path):
    (tmp_path / "same.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (tmp_path / "same.sex").write_text("FILTER_NAME same.conv\nDETECT_MINAREA 3\n")
    random = np.random.default_rng(5)
    frame = Frame(data=random.normal(100, 3, (90, 130)), name="noise")
    ours = sep_default(config=tmp_path / "same.sex", DETECT_THRESH=1.0)(frame)
    default = sep_default(DETECT_THRESH=1.0)(frame)
    assert len(default) > 0
    assert np.array_equal(ours["x"], default["x"])
    assert np.array_equal(ours["flux"], default["flux"])
    assert np.allclose(sep_default(config=tmp_path / "same.sex").settings.kernel_values,
                       16 * DEFAULT_CONV)  # fmt: skip


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="needs the files of Debian's source-extractor")
def test_every_shipped_file_is_read():
    filters = sorted(SHIPPED.glob("*.conv"))
    assert len(filters) > 10
    for path in filters:
        assert len(read_conv(path).values) % 2 == 1
    values, lacking = from_sextractor(SHIPPED / "default.sex")
    assert values["DETECT_MINAREA"] == 3
    assert lacking == ()
    assert set(read_sex(SHIPPED / "default.sex")) <= KEYWORDS


lines = st.one_of(
    st.text(max_size=30),
    st.tuples(
        st.sampled_from(sorted(KEYWORDS)),
        st.one_of(st.text(max_size=12), st.floats().map(str), st.integers().map(str)),
    ).map(" ".join),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(lines, max_size=8))
@example(["DETECT_THRESH 1e400"])
@example(["BACK_SIZE 99999999999999999999999"])
@example(["FILTER_NAME " + "../" * 500 + "x"])
@example(["FILTER_NAME " + "x" * 5000])
@example(["PARAMETERS_NAME \ud7ff"])
def test_any_text_is_settings_or_one_line(tmp_path_factory, parts):
    file = tmp_path_factory.mktemp("s") / "any.sex"
    file.write_text("\n".join(parts), encoding="utf-8", errors="replace")
    message = refusal(lambda: sep_default(config=file))
    assert "\n" not in message
    assert len(message) < 7000
    if not message:
        assert sep_default(config=file).settings.config == file


def refusal(call):
    """The message of a refusal, empty for none; anything else that is raised is a fault."""
    try:
        call()
    except BadInputError as error:
        return str(error)
    return ""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from([read_conv, read_param, read_sex]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, reader):
    file = tmp_path_factory.mktemp("b") / "any"
    file.write_bytes(b"CONV NORM\n" + content)
    assert "\n" not in refusal(lambda: reader(file))


def test_through_the_registry(folder, monkeypatch):
    from importlib.metadata import EntryPoint, EntryPoints

    import skyduel.core.registry

    entry = EntryPoint(
        "sep", "skyduel.baseline.sep.detector:sep_default", skyduel.core.registry.GROUP
    )
    monkeypatch.setattr(skyduel.core.registry, "entry_points", lambda group: EntryPoints([entry]))
    made = make_detector("sep", {"config": str(folder / "mine.sex")})
    assert made.settings.model_dump(mode="json")["config"].endswith("mine.sex")
