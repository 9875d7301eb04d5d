"""Training of proposals, on a linear model whose posterior is known."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from prospect_emu.errors import ModelFileError, ProspectEmuError  # noqa: E402
from prospect_emu.networks.proposal import Proposal, features  # noqa: E402
from prospect_emu.training.proposal_training import (  # noqa: E402
    Settings,
    _Pool,
    held_out,
    package,
    train_flow,
)

NBAND, NDIM = 3, 2
SMALL = Settings(width=16, blocks=1, context=8, hidden=16, components=3, epochs=4, batch=64, pool=4)


class Toy:
    """Fluxes ``(4, 2 + w0 / 4, 2 + w1 / 4)`` with errors of 0.1: w is known to 0.4."""

    size = 512

    def chunk(self, index, n=None):
        n = n or self.size
        rng = np.random.default_rng([3, index])
        w, noise = (rng.normal(size=(self.size, k))[:n] for k in (NDIM, NBAND))
        flux = np.concatenate([np.full((n, 1), 4.0), 2.0 + 0.25 * w], axis=1) + 0.1 * noise
        unc, mask = np.full_like(flux, 0.1), np.ones(flux.shape, dtype=bool)
        return features(flux, unc, mask, np.ones(n)).astype("f4"), w.astype("f4")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def proposal(net, scales):
    bands = [f"b{i}" for i in range(NBAND)]
    described = {"name": "toy", "bands": bands, "labels": ["w0", "w1"], "zred_range": [0.5, 2.0]}
    return package(net, scales, held_out(Toy())[0], described)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    settings = Settings(**{**vars(SMALL), "epochs": 60, "rate": 5e-3, "decay": 0.9})
    net, scales, history = train_flow(
        Toy(), settings, tmp_path_factory.mktemp("flow") / "c.safetensors", progress=False
    )
    return net, proposal(net, scales), history


def test_a_resumed_training_is_the_same_to_the_last_bit(tmp_path):
    def train(name, **how):
        return train_flow(Toy(), SMALL, tmp_path / name, every=1, progress=False, **how)

    whole, _, history = train("whole.safetensors")
    train("parts.safetensors", stop=3)
    parts, _, again = train("parts.safetensors")
    assert history == [tuple(h) for h in again]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_another_training_is_not_resumed(tmp_path):
    train_flow(Toy(), SMALL, tmp_path / "c.safetensors", progress=False, stop=1)
    other = Settings(**{**vars(SMALL), "rate": 0.5})
    with pytest.raises(ProspectEmuError, match="other settings or samples"):
        train_flow(Toy(), other, tmp_path / "c.safetensors", progress=False)


def test_no_galaxy_returns_after_its_repeats():
    """Every row is seen in `repeats` epochs that follow each other, and in no other."""
    pool = _Pool(Toy(), pool=4, repeats=2)
    seen = [{row.tobytes() for row in pool.epoch(i)[1].numpy()} for i in range(6)]
    assert seen[0] == seen[1] and seen[2] == seen[3] and seen[4] == seen[5]
    assert not (seen[0] & seen[2] or seen[2] & seen[4] or seen[0] & seen[4])
    assert len(seen[0]) == Toy.size


def test_the_posterior_is_learnt(trained):
    """Mean and deviation of draws against the closed form: 0.2 of a deviation, 20 %."""
    _, made, history = trained
    assert history[-1][1] > history[0][1]
    x, _ = Toy().chunk(77, 40)
    # The feature of b1 and b2 is the arsinh of 100 times the flux in units of the brightness.
    flux = np.sinh(x[:, :NBAND].astype(float)) * np.exp(x[:, -2:-1].astype(float)) * 0.01
    gain = 0.25 / 0.1**2
    sigma = 1.0 / np.sqrt(1.0 + 0.25 * gain)
    mean = sigma**2 * gain * (flux[:, 1:] - 2.0)
    off, ratio = [], []
    for code, expected in zip(made.embed(x), mean, strict=True):
        w, _ = made.of(code).draw(np.random.default_rng(0), 2000)
        off.append((w.mean(axis=0) - expected) / sigma)
        ratio.append(w.std(axis=0) / sigma)
    assert np.sqrt(np.mean(np.square(off))) < 0.2
    np.testing.assert_allclose(np.mean(ratio, axis=0), 1.0, atol=0.2)


def test_the_file_gives_what_torch_gives(trained, tmp_path):
    """Log densities to 0.02, as the file has weights in half precision; its own draws to 1e-5."""
    net, made, _ = trained
    made.save(tmp_path / "p.safetensors")
    again = Proposal.load(tmp_path / "p.safetensors")
    x, w = Toy().chunk(5, 64)
    t = again.tensors
    with torch.no_grad():
        standard = [
            torch.from_numpy(((a - t[f"{k}_mean"]) / t[f"{k}_std"]).astype("f4"))
            for k, a in (("x", x), ("w", w))
        ]
        expected = net(*standard).numpy() - np.log(t["w_std"]).sum()
    density = [again.of(c) for c in again.embed(x)]
    ours = [d.log_density(row[None])[0] for d, row in zip(density, w, strict=True)]
    np.testing.assert_allclose(ours, expected, atol=0.02)
    drawn, log_density = density[0].draw(np.random.default_rng(1), 1500)
    np.testing.assert_allclose(density[0].log_density(drawn), log_density, atol=1e-4)
    same, _ = made.of(made.embed(x)[0]).draw(np.random.default_rng(1), 1500)
    np.testing.assert_array_equal(same, drawn)


def test_its_density_integrates_to_one(trained):
    """On a grid 10 deviations wide, to 1 %."""
    made = trained[1]
    line = np.linspace(-6.0, 6.0, 241)
    w = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    density = np.exp(made.of(made.embed(Toy().chunk(9, 1)[0])[0]).log_density(w))
    assert density.sum() * (line[1] - line[0]) ** 2 == pytest.approx(1.0, abs=0.01)


def test_strange_galaxies_are_recognised(trained):
    made = trained[1]
    x, _ = Toy().chunk(6, 200)
    assert (made.strangeness(made.embed(x)) < 1.0).mean() > 0.97
    flux, unc = np.array([[0.3, 90.0, 5.0]]), np.full((1, NBAND), 0.1)
    odd = features(flux, unc, np.ones((1, NBAND), dtype=bool), np.array([1.0]))
    assert made.strangeness(made.embed(odd))[0] > 1.0


def test_a_damaged_file_is_refused(trained, tmp_path):
    path = tmp_path / "p.safetensors"
    trained[1].save(path)
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="checksum"):
        Proposal.load(path)
