"""Compare training frames made on the device with those made on the host."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from skyduel.core import BadInputError, Catalog
from skyduel.core.measure.background import estimate_background
from skyduel.detect.model.inputs import frame_channels
from skyduel.detect.training.ondevice import profiles
from skyduel.detect.training.ondevice.batches import DrawnScenes, made_batches, make_batch
from skyduel.detect.training.ondevice.frames import Scene, digitise, expected_light, make_frames
from skyduel.detect.training.ondevice.inputs import estimate_backgrounds, make_channels
from skyduel.detect.training.ondevice.scatter_sums import added
from skyduel.detect.training.ondevice.targets import make_target_maps
from skyduel.detect.training.targets import make_targets, source_targets
from skyduel.detect.training.train import TrainingSettings, train
from skyduel.simulation import SceneSettings, draw_training_settings, make_psf, simulate
from skyduel.simulation import scene as host
from skyduel.simulation.artefacts import correlate
from skyduel.simulation.psf import Aberrations, Optics
from skyduel.simulation.render import LADDER
from skyduel.simulation.sampling import draw_defects, draw_sources

CPU = torch.device("cpu")
SIZE = 128


def scene(rng: np.random.Generator, settings: SceneSettings) -> Scene:
    return Scene(settings, draw_sources(settings, rng), draw_defects(settings, rng))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    drawn = DrawnScenes(3, SIZE, 1000)
    some = [drawn[i] for i in range(40)]
    # What the test is about must be in it.
    s = [one.settings for one in some]
    for name in (
        "aureole", "spikes", "ghost", "galaxies", "drift", "coma", "smear", "smear_lines",
        "cosmic_rays", "hot_pixels", "bad_columns", "bad_rows", "bleeding", "level_steps",
        "correlation", "vignetting", "gradient", "bias",
    ):  # fmt: skip
        assert any(getattr(one, name) for one in s), name
    assert {one.zones for one in s} == {1, 2}
    assert {one.smear_axis for one in s} == {0, 1}
    assert any(one.sources.segments for one in some)
    return some


def test_light_is_the_hosts(scenes: list[Scene]) -> None:
    light, lit = expected_light(scenes, CPU)
    for one, mine, sky in zip(scenes, light.numpy(), lit, strict=True):
        s = one.settings
        field = s.field()
        wanted = host.assign_flux(s, one.sources, field)
        expected = host.expected_light(s, one.sources, wanted, field)
        noise = np.sqrt(expected / s.gain + (s.read_noise / s.gain) ** 2)
        apart = np.abs(mine - expected) / noise
        assert apart.max() < 0.1
        assert apart.mean() < 1e-3
        np.testing.assert_allclose(sky.snr, wanted.snr, rtol=2e-4)
        np.testing.assert_allclose(sky.stars.flux, wanted.stars.flux, rtol=2e-4)
        for a, b in zip(sky.streaks, wanted.streaks, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-2)


@pytest.mark.parametrize(
    "optics",
    [
        Optics(0.9, 2.5),
        Optics(2.4, None),
        Optics(6.5, 3.0),
        Optics(2.0, 3.0, Aberrations(coma=2.0, angle=0.7)),
        Optics(1.7, 4.0, Aberrations(defocus=0.8, astigmatism=1.1, trefoil=0.9, angle=-2.0)),
        Optics(2.5, 3.0, Aberrations(drift=0.5, drift_angle=0.3)),
        Optics(2.5, None, Aberrations(coma=0.6, drift=3.0, drift_angle=-1.0)),
    ],
    ids=str,
)
def test_profiles_are_the_hosts(optics: Optics) -> None:
    made = profiles.make_profiles([Optics(3.0), optics], CPU)
    wanted = make_psf(*optics)
    fwhm, psf_sum2, outside, across = made.numbers[1]
    assert fwhm == pytest.approx(wanted.fwhm, rel=5e-3)
    assert psf_sum2 == pytest.approx(wanted.psf_sum2, rel=2e-3)
    centre = wanted.bank[4, 4]
    beyond_five = np.maximum(*np.abs(np.indices(centre.shape) - 24)) > LADDER[1]
    assert outside[1] == pytest.approx(centre[beyond_five].max(), rel=2e-2, abs=1e-7)
    for axis in (0, 1):
        np.testing.assert_allclose(across[axis], centre.sum(axis), atol=4e-4)
    # A phase's stamp: grid points eight apart, as `Profiles` says.
    for i, j in itertools.product((0, 3, 8), (1, 8)):
        rows, columns = (np.arange(49) * 8 + 12 - p for p in (i, j))
        stamp = made.fine[1].numpy()[np.ix_(rows, columns)] * float(made.scale[1, i, j])
        # The host shares the points of a drift among neighbouring points of its grid.
        np.testing.assert_allclose(stamp, wanted.bank[i, j], atol=2e-3 * wanted.bank.max())


def test_readout_is_the_hosts(scenes: list[Scene]) -> None:
    light, _ = expected_light(scenes, CPU)
    rng = np.random.default_rng(4)
    changed = [
        Scene(s.settings.model_copy(update={"quantise": i % 3 > 0}), *s[1:])
        for i, s in enumerate(scenes)
    ]
    exposed = light.numpy() + rng.normal(0, 1, light.shape).astype(np.float32)
    mine = digitise(torch.from_numpy(exposed.copy()), changed).numpy()
    for one, before, after in zip(changed, exposed, mine, strict=True):
        wanted = host.digitise(before.copy(), one.settings, one.defects)
        apart = np.abs(after - wanted)
        if one.settings.quantise:  # a half may be rounded either way
            assert (apart > 0).mean() < 1e-3
            assert apart.max() <= 1
        else:
            np.testing.assert_allclose(after, wanted, atol=1e-4 * one.settings.sky_sigma, rtol=1e-6)


@pytest.mark.parametrize("sky", [3.0, 40.0, 4000.0])
def test_noise_has_the_moments_of_photons_and_readout(sky: float) -> None:
    s = SceneSettings(
        ny=256, nx=256, density=0, sky=sky, gain=2.0, read_noise=1.5, quantise=False, bias=100
    )
    made = make_frames([scene(np.random.default_rng(0), s)], CPU, torch.Generator().manual_seed(1))
    electrons = (made.data[0].double().numpy() - 100) * 2
    n = electrons.size
    variance = 2 * sky + 1.5**2
    third = 2 * sky if 2 * sky < host.GAUSSIAN_FROM_ELECTRONS else 0.0
    assert electrons.mean() == pytest.approx(2 * sky, abs=5 * np.sqrt(variance / n))
    assert electrons.var() == pytest.approx(variance, rel=5 * np.sqrt(3 / n))
    skew = ((electrons - electrons.mean()) ** 3).mean()
    assert skew == pytest.approx(third, abs=6 * variance**1.5 * np.sqrt(15 / n))
    assert made.saturation.tolist() == [65535.0]
    silent = scene(np.random.default_rng(0), s.model_copy(update={"saturation_stated": False}))
    assert make_frames([silent], CPU, torch.Generator().manual_seed(1)).saturation.isinf().all()


def test_resampled_noise_is_averaged_as_on_the_host() -> None:
    widths = (0.5, 1.1)
    base = SceneSettings(ny=256, nx=256, density=0, quantise=False)
    drawn = [
        scene(np.random.default_rng(0), base.model_copy(update={"correlation": w}))
        for w in (*widths, 0.0)
    ]
    data = make_frames(drawn, CPU, torch.Generator().manual_seed(1)).data.numpy()
    white = np.random.default_rng(2).normal(0, base.sky_sigma, data[0].shape).astype(np.float32)
    for frame, width in zip(data, widths, strict=False):
        wanted = correlate(white, width)
        assert frame.std() == pytest.approx(wanted.std(), rel=0.05)
        for shift in (1, 2):
            mine, theirs = (
                np.corrcoef(z[:, shift:].ravel(), z[:, :-shift].ravel())[0, 1]
                for z in (frame, wanted)
            )
            assert mine == pytest.approx(theirs, abs=0.03)
    assert data[2].std() == pytest.approx(base.sky_sigma, rel=0.02)


def test_background_is_seps() -> None:
    means, spreads, ratios = [], [], []
    for index in range(24):
        rng = np.random.default_rng([5, index])
        frame, _ = simulate(draw_training_settings(rng, 256), rng)
        wanted = estimate_background(frame)
        level, rms = estimate_backgrounds(torch.from_numpy(np.array(frame.data))[None])
        apart = (level[0].numpy() - wanted.level) / wanted.rms
        means.append(apart.mean())
        spreads.append(apart.std())
        ratios.append((rms[0].numpy() / wanted.rms).mean() - 1)
    # SEP's medians are those of a histogram: in a crowd a bin may matter.
    assert np.abs(means).max() < 0.04
    assert abs(np.mean(means)) < 0.003
    assert max(spreads) < 0.05
    assert np.median(spreads) < 0.006
    assert np.abs(ratios).max() < 5e-3


@pytest.mark.parametrize("shape", [(64, 64), (64, 192), (128, 256)])
def test_background_of_few_meshes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 30, shape[1])
    data = (1000 + ramp + rng.normal(0, 5, shape)).astype(np.float32)
    level, rms = estimate_backgrounds(torch.from_numpy(data)[None])
    assert level.shape == rms.shape == (1, *shape)
    assert abs(float(level.mean()) - 1015) < 1
    slope = float(level[0, :, -1].mean() - level[0, :, 0].mean())
    assert slope == pytest.approx(0 if shape[1] == 64 else 30, abs=3)


def test_constant_frame_has_the_noise_of_rounding() -> None:
    level, rms = estimate_backgrounds(torch.full((1, 128, 128), 7.0))
    assert torch.equal(level, torch.full_like(level, 7.0))
    assert rms.unique().tolist() == pytest.approx([12**-0.5])


def test_channels_are_the_hosts() -> None:
    for index in range(4):
        rng = np.random.default_rng([6, index])
        settings = draw_training_settings(rng, SIZE).model_copy(update={"saturation": 2000.0})
        frame, _ = simulate(settings, rng)
        sky = estimate_background(frame)
        mine = make_channels(
            *(torch.from_numpy(np.array(z))[None] for z in (frame.data, sky.level, sky.rms)),
            torch.tensor([2000.0 if settings.saturation_stated else np.inf]),
        )
        np.testing.assert_allclose(
            mine[0].numpy(), frame_channels(frame, estimate_background(frame)), atol=5e-6
        )


def test_labels_are_the_hosts(scenes: list[Scene]) -> None:
    _, lit = expected_light(scenes, CPU)
    truths = [host.truth_columns(s.settings, sky) for s, sky in zip(scenes, lit, strict=True)]
    maps = make_target_maps([source_targets(t) for t in truths], (SIZE, SIZE), CPU).numpy()
    for truth, mine in zip(truths, maps, strict=True):
        wanted = make_targets(Catalog.build(source="truth", **truth), (SIZE, SIZE)).maps
        # Cells on a border of 1e-6 px may fall either way.
        assert (np.abs(mine - wanted) > 1e-4).sum() <= 2
    assert make_target_maps([source_targets(truths[0])], (SIZE, SIZE), CPU).shape == (1, 10, 64, 64)


def test_labels_of_crossing_streaks_and_a_galaxy() -> None:
    truth = Catalog.build(
        source="truth",
        x=[30.0, 34.0, 40.0, 90.0],
        y=[30.0, 31.0, 42.0, 91.0],
        kind=["streak", "streak", "streak", "point"],
        length=[40.0, 30.0, 20.0, 0.0],
        theta=[0.3, -1.2, 0.9, 0.0],
        snr=[60.0, 30.0, 2.0, 50.0],
        ignore=[False, False, False, True],
        radius=[0.0, 0.0, 0.0, 5.0],
    )
    sources = source_targets({name: truth[name] for name in truth.table.colnames})
    mine = make_target_maps([sources], (SIZE, SIZE), CPU)[0].numpy()
    np.testing.assert_allclose(mine, make_targets(truth, (SIZE, SIZE)).maps, atol=1e-5)


def test_sums_do_not_depend_on_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    where = torch.randint(-1, 5, (20_000,), generator=generator)
    value = torch.randn(20_000, generator=generator) * 10 ** torch.linspace(-6, 6, 20_000)
    order = torch.randperm(20_000, generator=generator)
    whole = added([(where, value)], 5, CPU)
    parts = added([(where[p], value[p]) for p in order.split(777)], 5, CPU)
    assert torch.equal(whole, parts)
    kept = [float(value[where == i].double().sum()) for i in range(5)]
    np.testing.assert_allclose(whole.numpy(), kept, rtol=1e-9, atol=1e-2)


def test_the_same_seed_gives_the_same_batches_from_any_number_of_processes() -> None:
    drawn = DrawnScenes(5, 64, 8)
    alone = list(made_batches(drawn, 4, range(8), 0, CPU))
    helped = list(made_batches(drawn, 4, range(8), 2, CPU))
    later = next(iter(made_batches(drawn, 4, range(4, 8), 0, CPU)))
    other = next(iter(made_batches(DrawnScenes(6, 64, 8), 4, range(8), 0, CPU)))
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["maps"], b["maps"])
        assert all(map(torch.equal, a["points"], b["points"]))
    assert torch.equal(later["image"], alone[1]["image"])
    assert not torch.equal(other["image"], alone[0]["image"])
    assert alone[0]["image"].shape == (4, 4, 64, 64)
    assert alone[0]["maps"].shape == (4, 10, 32, 32)


def test_everything_stays_on_the_device(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a GPU: tensors that have a device and a shape but no values refuse to meet
    # one of another device. Spilling charge is the host's.
    some = [one for one in scenes if not one.settings.bleeding]
    optics = [each for one in some for each in one.settings.optics()]
    numbers = profiles.make_profiles(optics, CPU).numbers
    told: list[torch.device] = []

    def tell(table: torch.Tensor) -> list[profiles.ProfileNumbers]:
        told.append(table.device)
        return numbers

    monkeypatch.setattr(profiles, "told_numbers", tell)
    with FakeTensorMode():
        batch = make_batch(some, torch.device("cuda"), None)
    assert [device.type for device in told] == ["cuda"]
    assert batch["image"].device.type == batch["maps"].device.type == "cuda"
    assert batch["image"].shape == (len(some), 4, SIZE, SIZE)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_makes_the_same_light_and_the_same_batch_twice(scenes: list[Scene]) -> None:
    here, _ = expected_light(scenes, CPU)
    there, _ = expected_light(scenes, torch.device("cuda"))
    for one, a, b in zip(scenes, here, there.cpu(), strict=True):
        assert float((a - b).abs().max()) < 0.1 * one.settings.sky_sigma * (
            1 + float(a.max()) ** 0.5
        )
    first, second = (
        make_batch(scenes, torch.device("cuda"), torch.Generator("cuda").manual_seed(seed))
        for seed in (1, 1)
    )
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["maps"], second["maps"])


def test_training_on_frames_made_on_the_device_goes_on_where_it_stopped(tmp_path: Path) -> None:
    settings = TrainingSettings(
        steps=3, batch=2, crop_px=64, workers=0, frames="device", checkpoint_every=1,
        validation_crops=2,
    )  # fmt: skip
    train(settings, tmp_path / "whole")
    train(settings.model_copy(update={"steps": 2}), tmp_path / "parts")
    train(settings, tmp_path / "parts")
    whole, parts = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    )
    assert [row["step"] for row in parts] == [1, 2, 3]
    for name in ("point", "streak", "offset", "ridge"):
        assert whole[0][name] == parts[0][name]
        # The third step's rate differs: the first call let it fall sooner.
        assert whole[2][name] == pytest.approx(parts[2][name], rel=0.1)


def test_crops_must_be_whole_meshes(tmp_path: Path) -> None:
    settings = TrainingSettings(crop_px=96, frames="device")
    with pytest.raises(BadInputError, match=r"crop_px: required a multiple of 64.*96"):
        train(settings, tmp_path)
