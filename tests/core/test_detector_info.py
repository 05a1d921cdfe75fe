"""The optional part of a detector's contract."""

import pytest
from pydantic import BaseModel

from skyduel.baseline import sep_matched
from skyduel.core import BadInputError, Catalog, DetectorInfo, detector_info


class Settings(BaseModel):
    score_threshold: float | None = 0.25
    not_reproduced: tuple[str, ...] = ("FILTER is ignored",)


class NoSettings(BaseModel):
    pass


class Plain:
    """The required part only."""

    name = "plain"
    settings: BaseModel = NoSettings()

    def __call__(self, frame):
        return Catalog.build(x=[], y=[])


class Described(Plain):
    settings = Settings()
    info = DetectorInfo(weights_sha256="ab", device="cuda:1", needs_pixels=False)


class Attributes(Plain):
    """A plug-in written before there was an ``info``."""

    settings = Settings()
    weights_sha256 = "cd"
    program_version = "1.2"
    needs_pixels = False

    @property
    def device(self):
        return 7  # anything that prints, such as a torch.device


def test_the_required_part_alone_has_the_defaults():
    assert detector_info(Plain()) == DetectorInfo()
    assert DetectorInfo().needs_pixels
    assert DetectorInfo().device == "cpu"


def test_info_is_returned_and_the_settings_complete_it():
    assert detector_info(Described()) == DetectorInfo(
        weights_sha256="ab",
        device="cuda:1",
        needs_pixels=False,
        not_reproduced=("FILTER is ignored",),
        default_threshold=0.25,
    )


def test_info_has_priority_over_the_settings():
    detector = Described()
    detector.info = DetectorInfo(default_threshold=3.0, not_reproduced=("no CLEAN",))
    assert detector_info(detector) == detector.info


def test_attributes_of_an_older_plug_in_are_read():
    assert detector_info(Attributes()) == DetectorInfo(
        weights_sha256="cd",
        program_version="1.2",
        device="7",
        needs_pixels=False,
        not_reproduced=("FILTER is ignored",),
        default_threshold=0.25,
    )


def test_an_info_of_another_type_is_refused():
    detector = Described()
    detector.info = {"device": "cuda"}
    with pytest.raises(BadInputError, match=r"'plain': required info to be a DetectorInfo; .*dict"):
        detector_info(detector)


def test_an_error_inside_info_is_not_taken_for_its_absence():
    class Broken(Plain):
        @property
        def info(self):
            return self.no_such_attribute

    with pytest.raises(AttributeError, match="no_such_attribute"):
        detector_info(Broken())


def test_ours_state_their_facts(tmp_path):
    from skyduel.baseline.external_catalogs import catalog_files
    from skyduel.detect import neural

    assert not detector_info(catalog_files(folder=tmp_path)).needs_pixels
    assert detector_info(sep_matched()).default_threshold == 4.0
    info = detector_info(neural(device="cpu", score_threshold=0.4))
    assert len(info.weights_sha256) == 64
    assert (info.device, info.default_threshold) == ("cpu", 0.4)
