from importlib.metadata import EntryPoint, EntryPoints

import pytest
from helpers.paths import ROOT

import skyduel.core.registry
from skyduel.baseline import DetectionError, SepDetector
from skyduel.core.errors import BadInputError, SkyduelError
from skyduel.core.registry import available, make_detector

OURS = {
    "sep": "skyduel.baseline.sep.detector:sep_default",
    "sep-matched": "skyduel.baseline.sep.detector:sep_matched",
}


def takes_radius(*, radius=2.0):
    return make_detector("sep")


def returns_text(**settings):
    return "a detector"


NOT_CALLABLE = 5


@pytest.fixture
def registered(monkeypatch):
    """Hand the registry these entry points in place of the installed ones."""

    def install(*pairs):
        entries = [EntryPoint(name, value, skyduel.core.registry.GROUP) for name, value in pairs]

        def entry_points(*, group):
            return EntryPoints(entry for entry in entries if entry.group == group)

        monkeypatch.setattr(skyduel.core.registry, "entry_points", entry_points)

    return install


def test_setup_cfg_names_factories_that_exist():
    from configparser import ConfigParser

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["skyduel.detectors"].strip().splitlines()
    named = dict(map(str.strip, line.split("=")) for line in lines)
    assert OURS.items() <= named.items()
    for name, value in OURS.items():
        assert EntryPoint(name, value, "skyduel.detectors").load()().name == name


def test_detectors_are_listed_sorted_and_made_by_name(registered):
    registered(*reversed(OURS.items()))
    assert list(available()) == ["sep", "sep-matched"]
    made = make_detector("sep", {"DETECT_THRESH": 2.5})
    assert isinstance(made, SepDetector)
    assert made.settings.DETECT_THRESH == 2.5
    assert make_detector("sep-matched").name == "sep-matched"


def test_listing_imports_nothing(registered):
    registered(("broken", "no_such_module:factory"))
    assert available()["broken"].value == "no_such_module:factory"


@pytest.mark.parametrize("wrong", ["sep_matched", "SEP-Matched", "sepmatched"])
def test_unknown_name_suggests_the_nearest_and_lists_all(registered, wrong):
    registered(*OURS.items())
    with pytest.raises(BadInputError, match=r"\(sep, sep-matched\).*did you mean sep-matched\?"):
        make_detector(wrong)


def test_unknown_name_with_nothing_near_or_nothing_at_all(registered):
    registered(*OURS.items())
    with pytest.raises(BadInputError, match=r"got an unknown name$"):
        make_detector("zzz")
    registered()
    with pytest.raises(BadInputError, match="is the package installed"):
        make_detector("sep")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:factory", "importable no_such_module:factory; got ModuleNotFoundError"),
        ("skyduel.baseline.sep.detector:nothing", "got AttributeError"),
        (f"{__name__}:NOT_CALLABLE", "to be a factory; got int"),
        (f"{__name__}:returns_text", "a name, settings and a call; got str"),
    ],
)
def test_a_broken_plug_in_gives_one_clear_line(registered, value, message):
    registered(("mine", value))
    with pytest.raises(BadInputError, match=message) as caught:
        make_detector("mine")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("detector 'mine': ")


def test_settings_a_factory_does_not_take(registered):
    registered(("mine", f"{__name__}:takes_radius"), *OURS.items())
    assert make_detector("mine", {"radius": 3.0}).name == "sep"
    with pytest.raises(BadInputError, match=r"radius.*unexpected keyword argument 'radios'"):
        make_detector("mine", {"radios": 3.0})
    with pytest.raises(BadInputError, match="did you mean DETECT_THRESH"):
        make_detector("sep", {"DETECT_THRESHOLD": 3.0})


def test_two_packages_under_one_name_are_refused(registered):
    registered(("sep", OURS["sep"]), ("sep", OURS["sep"]))
    assert list(available()) == ["sep"]
    registered(("sep", OURS["sep"]), ("sep", "elsewhere:sep"))
    with pytest.raises(
        BadInputError, match=r"baseline\.sep\.detector:sep_default and elsewhere:sep"
    ):
        available()


def test_a_failed_frame_is_no_bad_input():
    error = DetectionError("a.fits", "out of memory")
    assert isinstance(error, SkyduelError)
    assert not isinstance(error, BadInputError)
    assert str(error) == "a.fits: detection failed: out of memory"
