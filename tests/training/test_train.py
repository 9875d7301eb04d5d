"""The training loop, on a teacher whose answer is known: another network."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from prospect_emu.errors import ProspectEmuError  # noqa: E402
from prospect_emu.networks.emulator_base import reference_scale  # noqa: E402
from prospect_emu.networks.loading import load_emulator  # noqa: E402
from prospect_emu.networks.network_inputs import ALL, PLAIN  # noqa: E402
from prospect_emu.observe.magnitudes import maggies_to_arsinh  # noqa: E402
from prospect_emu.training import train  # noqa: E402
from prospect_emu.training.evaluate import Residuals  # noqa: E402
from prospect_emu.training.generate import SampleStore  # noqa: E402
from prospect_emu.training.packaging import train_emulator  # noqa: E402
from prospect_emu.training.recipe import Recipe  # noqa: E402

SETTINGS = train.Settings(
    width=32, depth=2, schedule=((3e-3, 64, 6), (5e-4, 256, 6)), patience=3, validation=0.1
)


def store(folder, teacher, stream, shards):
    recipe = Recipe(filters=teacher.filters)
    versions = {"libraries": ["teacher"]}
    s = SampleStore(folder, recipe, stream, 500, versions)
    for i in range(shards):
        theta = s.draw(i)
        fluxes = {"maggies": teacher.maggies(theta), "mfrac": teacher.mfrac(theta)}
        s.write(i, {"theta": theta, **fluxes})
    return s


@pytest.fixture(scope="module")
def stores(tmp_path_factory, toy_emulator):
    folder = tmp_path_factory.mktemp("samples")
    return (
        store(folder / "train", toy_emulator, "train", 12),
        store(folder / "test", toy_emulator, "test", 2),
    )


@pytest.fixture(scope="module")
def student(stores, tmp_path_factory):
    torch.set_num_threads(1)
    data = stores[0].load()
    return train_emulator(
        train.FixedSamples(data["theta"], data["maggies"]),
        (data["theta"], data["mfrac"]),
        stores[1],
        SETTINGS,
        "student",
        tmp_path_factory.mktemp("work"),
        source={"source": "teacher", "samples": len(data["theta"])},
        label="TEACHER",
    )


def test_learns_the_teacher(student, stores):
    """At fixed mass and distance the teacher spreads over 1 mag; most of it must be learnt."""
    data = stores[1].load()
    scale = reference_scale(data["theta"][:, 0], data["theta"][:, 14])
    spread = maggies_to_arsinh(data["maggies"] / scale[:, None]).std(axis=0)
    assert np.median(student.sigma_mag / spread) < 0.35
    # 6000 samples determine the seven fractions to about 0.005.
    assert (student.mfrac(data["theta"]) - data["mfrac"]).std() < 0.01


def test_goes_on_from_a_network(student, stores, tmp_path):
    """At a rate of zero where it starts decides: the same magnitudes to single precision."""
    data = stores[0].load()
    samples = train.FixedSamples(data["theta"][:2000], data["maggies"][:2000])
    still = replace(SETTINGS, schedule=((0.0, 500, 1),))
    net, _ = train.train_flux(samples, still, tmp_path / "c.safetensors", student.flux_net)
    x = data["theta"][:50, 1:]
    np.testing.assert_allclose(net(x), student.flux_net(x), atol=1e-5)


def test_statistics_are_those_of_the_test_set(student, stores):
    data = stores[1].load()
    r = Residuals.of(student, data["theta"], data["maggies"]).values
    np.testing.assert_allclose(student.sigma_mag, r.std(axis=0, ddof=1))
    np.testing.assert_allclose(np.diag(student.covariance), student.sigma_mag**2)
    np.testing.assert_allclose(student.quantiles[:, 4], np.median(r, axis=0))
    assert "12 bands" in str(Residuals.of(student, data["theta"], data["maggies"]))


def test_order_of_parameters_and_bands_matters(student, stores):
    """Swapping any two parameters that matter, or two bands, ruins the agreement."""
    data = stores[1].load()
    good = Residuals.of(student, data["theta"], data["maggies"]).values.std()
    for a, b in ((0, 14), (8, 11), (1, 13)):
        theta = data["theta"].copy()
        theta[:, [a, b]] = theta[:, [b, a]]
        wrong = student.magnitudes(np.clip(theta, *student.bounds.T))
        assert (wrong - maggies_to_arsinh(data["maggies"])).std() > 1.5 * good, (a, b)
    flipped = data["maggies"][:, ::-1]
    assert Residuals.of(student, data["theta"], flipped).values.std() > 3 * good


def test_packaged_file(student, tmp_path):
    path = tmp_path / "student.safetensors"
    student.save(path)
    back = load_emulator(path)
    m = back.manifest
    assert m["training"]["samples"] == 6000 and m["test"]["samples"] == 1000
    assert back.libraries == "TEACHER"
    assert Recipe(**m["recipe"]).fingerprint == Recipe(filters=back.filters).fingerprint
    json.dumps(m)


LONG = train.Settings(width=32, depth=2, **train.long_schedule(8, batch=64, epoch=1000, rate=0.03))


@pytest.mark.parametrize("settings", [SETTINGS, LONG], ids=["nadam", "muon"])
def test_resume_is_bit_for_bit(stores, tmp_path, monkeypatch, settings):
    """Killed after the fourth epoch and started again: the same weights to the last bit."""
    torch.set_num_threads(1)
    data = stores[0].load()
    args = (train.FixedSamples(data["theta"], data["maggies"]), settings)
    whole, _ = train.train_flux(*args, tmp_path / "a.safetensors")

    real, calls = train.Checkpoint.save, []

    def save_then_die(self, *state):
        real(self, *state)
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Checkpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train.train_flux(*args, tmp_path / "b.safetensors")
    monkeypatch.undo()
    torch.manual_seed(99)  # the resumed run must not depend on torch's global state
    resumed, history = train.train_flux(*args, tmp_path / "b.safetensors")
    assert len(history) > 4
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_muon_needs_fewer_steps(stores, tmp_path):
    """As many samples seen, the same network, each at a rate that suits it."""
    torch.set_num_threads(1)
    data = stores[0].load()
    samples = train.FixedSamples(data["theta"], data["maggies"])
    nadam = replace(LONG, optimizer="nadam", schedule=((3e-3, 64, 8),))
    losses = [
        train.train_flux(samples, s, tmp_path / f"{s.optimizer}.safetensors")[1][-1]["val"]
        for s in (LONG, nadam)
    ]
    assert losses[0] < losses[1]


def test_few_samples(stores, tmp_path):
    """Three samples are trained on, one of them held out; one sample is refused."""
    data = stores[0].load()
    settings = train.Settings(width=8, depth=1, schedule=((1e-3, 500, 1),), validation=0.005)
    for n in (3, 1):
        samples = train.FixedSamples(data["theta"][:n], data["maggies"][:n])
        if n > 1:
            _, history = train.train_flux(samples, settings, tmp_path / "few.safetensors")
            assert np.isfinite(history[0]["val"])
            continue
        with pytest.raises(ProspectEmuError, match="not 1; give more"):
            train.train_flux(samples, settings, tmp_path / "one.safetensors")


def test_unknown_optimizer_is_refused(stores, tmp_path):
    data = stores[0].load()
    samples = train.FixedSamples(data["theta"], data["maggies"])
    with pytest.raises(ProspectEmuError, match="use nadam or muon"):
        train.train_flux(samples, replace(LONG, optimizer="sgd"), tmp_path / "d.safetensors")


def test_checkpoint_of_another_training_is_refused(stores, tmp_path):
    data = stores[0].load()
    samples = train.FixedSamples(data["theta"], data["maggies"])
    short = train.Settings(width=8, depth=1, schedule=((1e-3, 500, 1),))
    train.train_flux(samples, short, tmp_path / "c.safetensors")
    other = train.Settings(width=8, depth=1, schedule=((1e-3, 500, 2),))
    with pytest.raises(ProspectEmuError, match="other settings or samples"):
        train.train_flux(samples, other, tmp_path / "c.safetensors")


def test_half_precision_ends_with_its_share(stores, tmp_path, monkeypatch):
    """Outputs of the first seven of eight epochs are in bfloat16, where 80 % were asked for."""
    monkeypatch.setattr(train, "multiplies_bfloat16", lambda: True)
    halves = train.Settings(16, 2, **train.long_schedule(8, batch=500, epoch=500, rate=0.01))
    kinds, real = [], train.Network.forward

    def forward(self, x):
        kinds.append((self.training, (out := real(self, x)).dtype))
        return out

    monkeypatch.setattr(train.Network, "forward", forward)
    data = stores[0].load()
    samples = train.FixedSamples(data["theta"], data["maggies"])
    train.train_flux(samples, halves, tmp_path / "half.safetensors")
    assert [kind for training, kind in kinds if training] == [torch.bfloat16] * 7 + [torch.float32]
    monkeypatch.setattr(train, "multiplies_bfloat16", lambda: False)
    assert train.long_schedule(8)["half"] == 0.0


def test_a_start_keeps_its_inputs(stores, student, tmp_path):
    """A network of the parameters alone goes on as one, whatever the settings say."""
    data = stores[0].load()
    samples = train.FixedSamples(data["theta"], data["maggies"])
    mass = data["theta"], data["mfrac"]
    few = replace(SETTINGS, schedule=((1e-4, 64, 1),), inputs=ALL)
    made = train_emulator(
        samples, mass, stores[1], few, "again", tmp_path, {"source": "teacher"}, start=student
    )
    assert made.flux_net.widths[0] == PLAIN == made.manifest["training"]["settings"]["inputs"]
