"""The stitched emulator against its own parts, and against the formula that joins them."""

from dataclasses import replace

import numpy as np
import pytest
from prospect.utils.obsutils import fix_obs

from prospect_emu import EmulatorSpecModel, EmulatorSPS, load_emulator
from prospect_emu.errors import FilterError, ModelFileError, ProspectEmuError, RangeError
from prospect_emu.files import load_tensors, save_tensors
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.networks.emulator import Emulator
from prospect_emu.networks.stitched import fading_weights, stitch
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.prospector.line_table import tolerate_missing_sps_home
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.training.recipe import Recipe, draw_parameters

ZRED = PARAMETERS.index("zred")
DOMAINS = ((0.01, 2.25), (1.75, 4.25), (3.75, 6.25))
EDGES = np.array(DOMAINS)


def part(make, domain, seed, **changes):
    """A toy emulator for a domain, with what its manifest needs."""
    emulator = make(seed=seed)
    bounds = emulator.bounds.copy()
    bounds[ZRED] = domain
    manifest = {
        "recipe": Recipe(zred_range=domain, filters=emulator.filters).as_dict(),
        "versions": {"libraries": ["none"]},
    }
    name = "toy-{:g}-{:g}".format(*domain)
    return replace(emulator, name=name, bounds=bounds, manifest=manifest, **changes)


def measured(emulator, sigma=0.05):
    """With statistics, as after a test set."""
    n = len(emulator.filters)
    return replace(
        emulator,
        bias_mag=np.zeros(n),
        sigma_mag=np.full(n, sigma),
        covariance=np.eye(n) * sigma**2,
        quantiles=np.outer(np.full(n, sigma), np.arange(-4.0, 5.0)),
    )


@pytest.fixture
def parts(make_emulator):
    return [part(make_emulator, d, seed) for seed, d in enumerate(DOMAINS)]


@pytest.fixture
def stitched(parts):
    return measured(stitch("toy", parts))


@pytest.fixture
def theta():
    """Vectors over the whole range, most of them alone in a domain, some in an overlap."""
    return draw_parameters(Recipe(zred_range=(0.01, 6.25)), 200, (3,))


def at(theta, zred):
    out = theta.copy()
    out[:, ZRED] = zred
    return out


# ---- weights ----------------------------------------------------------------


def test_weights_sum_to_one():
    """To rounding (1e-15), edges and the ulps around them included."""
    z = np.linspace(0.01, 6.25, 5001)
    z = np.concatenate([z, EDGES.ravel(), np.nextafter(EDGES[1:].ravel(), 0.0)])
    w = fading_weights(z, EDGES)
    assert w.min() >= 0.0 and w.max() <= 1.0
    np.testing.assert_allclose(w.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    # No more than two parts at once, and none beyond its own domain.
    assert (w > 0).sum(axis=1).max() == 2
    assert not w[(z[:, None] < EDGES[:, 0]) | (z[:, None] > EDGES[:, 1])].any()


def test_weights_are_the_papers():
    """sin^2 and cos^2 of pi/2 (z - z0 + dz/2) / dz (Mathews et al. 2023, eq. 11-13), to 1e-15."""
    z0, dz = 2.0, 0.5
    for quarter in (0.0, 0.25, 0.5, 0.75, 1.0):
        z = z0 - dz / 2 + quarter * dz
        angle = np.pi / (2 * dz) * (z - z0 + dz / 2)
        expected = [np.cos(angle) ** 2, np.sin(angle) ** 2, 0.0]
        np.testing.assert_allclose(fading_weights(z, EDGES), expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(fading_weights(1.875, EDGES)[1], np.sin(np.pi / 8) ** 2, atol=1e-15)
    # Exactly zero and one where an overlap ends: its one part is asked alone.
    np.testing.assert_array_equal(fading_weights([1.75, 2.25], EDGES), np.eye(3)[:2])


def test_weights_outside_and_unknown():
    """Nothing outside the range, but for the slack that `check` allows; NaN stays NaN."""
    assert not fading_weights([0.0, 6.3, np.inf], EDGES).any()
    np.testing.assert_array_equal(fading_weights(6.25 * (1 + 1e-15), EDGES), [0, 0, 1])
    assert np.isnan(fading_weights(np.nan, EDGES).sum())


# ---- fluxes and surviving mass ----------------------------------------------


def test_sum_of_fluxes(stitched, parts, theta):
    """Against the sum written out over parts; to float32, since batches round differently."""
    w = fading_weights(theta[:, ZRED], EDGES)
    flux = np.zeros((len(theta), len(stitched.filters)))
    mfrac = np.zeros(len(theta))
    for i, p in enumerate(parts):
        flux += w[:, i, None] * p.maggies(theta, check=False)
        mfrac += w[:, i] * p.mfrac(theta, check=False)
    assert ((w > 0.1).sum(axis=1) == 2).sum() > 10
    np.testing.assert_allclose(stitched.maggies(theta), flux, rtol=1e-5)
    np.testing.assert_allclose(stitched.mfrac(theta), mfrac, rtol=1e-5)
    np.testing.assert_allclose(stitched.magnitudes(theta), maggies_to_arsinh(flux), atol=1e-4)
    assert stitched.maggies(theta[0]).shape == (12,) and stitched.mfrac(theta[0]).shape == ()
    assert stitched.maggies(theta.reshape(4, 50, 18)).shape == (4, 50, 12)


def test_equal_parts_give_their_own_fluxes(make_emulator, theta):
    same = [part(make_emulator, d, seed=5) for d in DOMAINS]
    whole = stitch("same", same[::-1])
    expected = same[0].maggies(theta, check=False)
    np.testing.assert_allclose(whole.maggies(theta), expected, rtol=1e-5)
    expected = same[0].mfrac(theta, check=False)
    np.testing.assert_allclose(whole.mfrac(theta), expected, rtol=1e-5)


def test_no_step_at_a_seam(stitched, theta):
    """Over 2e-6 in redshift the toys' own slope is below 1e-4 mag; unlike parts differ by 1 mag."""
    apart = np.abs(np.subtract(*(p.magnitudes(at(theta, 2.0)) for p in stitched.parts[:2])))
    assert np.median(apart) > 0.3
    for edge in EDGES.ravel()[1:-1]:
        step = stitched.magnitudes(at(theta, edge + 1e-6)) - stitched.magnitudes(
            at(theta, edge - 1e-6)
        )
        assert np.abs(step).max() < 1e-4


def test_every_part_is_asked_in_its_domain_only(stitched, theta, monkeypatch):
    asked, real = [], Emulator.reference_maggies

    def watch(self, rows):
        if self.parts:
            return real(self, rows)
        asked.append((self.bounds[ZRED], rows[:, ZRED].min(), rows[:, ZRED].max()))
        return real(self, rows)

    monkeypatch.setattr(Emulator, "reference_maggies", watch)
    stitched.maggies(theta)
    assert len(asked) == 3 and all(lo <= a and b <= hi for (lo, hi), a, b in asked)


@pytest.mark.parametrize(("zred", "count"), [(1.0, 1), (2.25, 1), (2.1, 2), (3.76, 2), (6.25, 1)])
def test_fixed_redshift_equals_direct(stitched, theta, zred, count, monkeypatch):
    """Bit for bit, from one part where it is alone and two in an overlap."""
    rows = at(theta, zred)
    direct = stitched.reference_maggies(rows)
    calls, real = [], Emulator.reference_maggies
    monkeypatch.setattr(
        Emulator,
        "reference_maggies",
        lambda self, t: calls.append(not self.parts) or real(self, t),
    )
    np.testing.assert_array_equal(stitched.at_redshift(zred).reference_maggies(rows), direct)
    assert sum(calls) == count


def test_outside_the_range(stitched, theta):
    for zred in (0.005, 6.3, np.nan):
        with pytest.raises(RangeError, match=r"zred = .* outside"):
            stitched.maggies(at(theta, zred))
        with pytest.raises(RangeError, match=r"redshift .* lies outside 0.01 to 6.25"):
            stitched.at_redshift(zred)
        # Unchecked, a network would extrapolate; here there is none to ask.
        assert np.isnan(stitched.maggies(at(theta, zred), check=False)).all()
        assert np.isnan(stitched.mfrac(at(theta, zred), check=False)).all()


def test_select(stitched, theta):
    names = stitched.filters[5:2:-1]
    few = stitched.select(names)
    np.testing.assert_allclose(few.maggies(theta), stitched.maggies(theta)[:, [5, 4, 3]], rtol=1e-5)
    assert few.covariance.shape == (3, 3) and few.parts[1].sigma_mag.shape == (3,)
    with pytest.raises(FilterError, match=r"acs_wfc_f814 \(nearest"):
        stitched.select(["acs_wfc_f814"])


# ---- the file ----------------------------------------------------------------


def test_round_trip_is_exact(tmp_path, stitched, theta):
    path, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    stitched.save(path)
    back = load_emulator(path)
    assert type(back) is Emulator and "z 0.01-2.25, 1.75-4.25" in repr(back)
    np.testing.assert_array_equal(back.maggies(theta), stitched.maggies(theta))
    np.testing.assert_array_equal(back.mfrac(theta), stitched.mfrac(theta))
    for a, b in zip((back, *back.parts), (stitched, *stitched.parts), strict=True):
        assert (a.name, a.filters, a.filter_hashes) == (b.name, b.filters, b.filter_hashes)
        for field in ("bounds", "bias_mag", "sigma_mag", "covariance", "quantiles"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    back.save(again)
    assert again.read_bytes() == path.read_bytes()
    few = back.select(back.filters[:2])
    few.save(again)
    np.testing.assert_array_equal(load_emulator(again).maggies(theta), few.maggies(theta))


def test_files_of_earlier_versions(tmp_path, stitched, theta):
    """Written as a kind of its own then; the rest is the same."""
    path = tmp_path / "old.safetensors"
    stitched.save(path)
    tensors, manifest = load_tensors(path, Emulator.KIND)
    save_tensors(path, tensors, manifest | {"kind": "prospect_emu stitched emulator"})
    np.testing.assert_array_equal(load_emulator(path).maggies(theta), stitched.maggies(theta))


def test_damaged_file(tmp_path, stitched):
    """Any flipped bit or missing tail is found, never another exception."""
    path = tmp_path / "a.safetensors"
    stitched.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError, match="not a complete safetensors file"):
        load_emulator(path)
    rng = np.random.default_rng(4)
    for position in [*range(8, 200, 9), *rng.integers(8, len(data), 40)]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(ModelFileError):
            load_emulator(path)


def test_inconsistent_file(tmp_path, stitched):
    """Written whole, with a valid checksum, but wrong."""
    path = tmp_path / "odd.safetensors"
    low, mid, high = stitched.parts
    shifted = mid.bounds.copy()
    shifted[ZRED] = (2.5, 4.25)
    blind = replace(mid, sigma_mag=np.full(12, np.nan))
    wide = stitched.bounds.copy()
    wide[ZRED, 1] = 7.0
    fixed = {**stitched.manifest["recipe"]["fixed"], "imf_type": 2}
    recipe = {**stitched.manifest["recipe"], "fixed": fixed}
    for change, message in (
        ({"parts": ()}, "of its parts, there are none"),
        ({"parts": (low, replace(mid, bounds=shifted), high)}, "leave a gap"),
        ({"parts": (low, blind, high)}, "in its part 'toy-1.75-4.25', sigma is not finite"),
        ({"bounds": wide}, "its bounds are not those of its parts"),
        ({"manifest": {**stitched.manifest, "recipe": recipe}}, "fixed values or libraries"),
        ({"manifest": {}}, "not a complete emulator"),
    ):
        replace(stitched, **change).save(path)
        with pytest.raises(ModelFileError, match=message):
            load_emulator(path)


def test_without_statistics_no_file_is_read(tmp_path, parts):
    """Fresh from `stitch` they are NaN, not zero: nobody takes it for free of error."""
    path = tmp_path / "fresh.safetensors"
    stitch("fresh", parts).save(path)
    with pytest.raises(ModelFileError, match="bias is not finite"):
        load_emulator(path)


# ---- parts that do not fit ----------------------------------------------------


def recipe_with(emulator, **fixed):
    recipe = emulator.manifest["recipe"]
    return {**emulator.manifest, "recipe": {**recipe, "fixed": {**recipe["fixed"], **fixed}}}


CHANGES = {
    "bands": (lambda p: {"filters": p.filters[::-1]}, "other bands"),
    "curves": (lambda p: {"filter_hashes": p.filter_hashes[::-1]}, "other curves"),
    "parameters": (lambda p: {"parameters": ("x", *p.parameters[1:])}, "other parameters"),
    "box": (
        lambda p: {"bounds": np.where(np.arange(18)[:, None] == 8, 0.5, p.bounds)},
        "other ranges of parameters",
    ),
    "libraries": (
        lambda p: {"manifest": {**p.manifest, "versions": {"libraries": ["mist"]}}},
        r"other libraries \(none; mist\)",
    ),
    "fixed": (
        lambda p: {"manifest": recipe_with(p, imf_type=2, gas_logu=-2.0)},
        r"hold other values fixed \(gas_logu, imf_type\)",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_unlike_parts_are_refused(parts, case):
    change, message = CHANGES[case]
    parts[1] = replace(parts[1], **change(parts[1]))
    with pytest.raises(ProspectEmuError, match=message) as caught:
        stitch("bad", parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        (((0.01, 2.0), (2.5, 4.0)), "gap"),
        (((0.01, 2.0), (2.0, 4.0)), "no overlap to fade in"),
        (((0.01, 2.0), (0.5, 1.5)), "one lies inside the other"),
        (((0.01, 2.0), (0.01, 2.0)), "one lies inside the other"),
        (((0.01, 2.25), (1.5, 3.0), (2.0, 4.0)), "overlap with a third between them"),
    ],
)
def test_bad_domains_are_refused(make_emulator, domains, message):
    bad = [part(make_emulator, d, seed) for seed, d in enumerate(domains)]
    with pytest.raises(ProspectEmuError, match=message):
        stitch("bad", bad)


def test_only_networks_are_stitched(stitched, parts):
    with pytest.raises(ProspectEmuError, match="is not a single network"):
        stitch("bad", [stitched])
    with pytest.raises(ProspectEmuError, match="there are none"):
        stitch("bad", [])


# ---- in a fit -----------------------------------------------------------------


@pytest.mark.parametrize("zred", [1.1, 2.1, None])
def test_posterior_compiles(stitched, zred):
    """Fixed redshift in one part, in an overlap, and free: as the emulator itself, to float32."""
    filters = load_filters(stitched.filters)
    tolerate_missing_sps_home()
    params = model_params(zred=zred)
    if zred is None:
        params["zred"]["prior"].update(mini=0.01, maxi=6.25)
    model, sps = EmulatorSpecModel(params), EmulatorSPS(stitched, filters)
    model.set_parameters(model.prior_transform(np.full(model.ndim, 0.4)))
    flux = stitched.maggies(sps.theta_from_params(model.params))
    obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.1 * flux}
    obs = sps.inflate({**obs, "wavelength": None, "spectrum": None, "phot_mask": flux > 0})
    post = BatchedPosterior(model, obs, sps)
    sample = post.prior_transform(np.random.default_rng(1).random((60, post.ndim)))
    vectors = post.predictions.vectors(sample)
    np.testing.assert_allclose(post.maggies(sample), stitched.maggies(vectors), rtol=1e-5)
    assert np.isfinite(post.log_likelihood(sample)).all()
    predicted, mfrac = model.predict(sample[0], obs=fix_obs(dict(obs)), sps=sps)[1:]
    np.testing.assert_allclose(predicted, stitched.maggies(vectors[0]), rtol=1e-5)
    np.testing.assert_allclose(mfrac, stitched.mfrac(vectors[0]), rtol=1e-6)


# ---- training -----------------------------------------------------------------


def test_training_resumes(tmp_path, make_emulator, monkeypatch):
    """Killed in the second domain and started again: the same file as in one go, bit for bit."""
    torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")
    from prospect_emu.training import train
    from prospect_emu.training.evaluate import residual_statistics
    from prospect_emu.training.generate import SampleStore
    from prospect_emu.training.stitch_training import train_stitched

    torch.set_num_threads(1)
    domains = ((0.5, 2.0), (1.5, 3.0))
    source = part(make_emulator, (0.5, 3.0), seed=2)
    recipe = Recipe(filters=source.filters, zred_range=(0.5, 3.0))
    store = SampleStore(tmp_path / "test", recipe, "test", 400, {"libraries": ["toy"]})
    theta = store.draw(0)
    flux = {"maggies": source.maggies(theta), "mfrac": source.mfrac(theta)}
    store.write(0, {"theta": theta, **flux})
    settings = train.Settings(16, 2, ((3e-3, 256, 2),), validation=0.05)

    def run(folder):
        whole = train_stitched(source, 8192, store, settings, "s", folder, "TOY", domains)
        whole.save(folder / "s.safetensors")
        return whole

    whole = run(tmp_path / "a")
    real, calls = train.Checkpoint.save, []

    def save_then_die(self, *state):
        real(self, *state)
        calls.append(str(self.path))
        if "z1.5-3" in calls[-1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Checkpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b")
    monkeypatch.setattr(train.Checkpoint, "save", lambda self, *s: (calls.clear(), real(self, *s)))
    run(tmp_path / "b")
    a, b = (load_emulator(tmp_path / k / "s.safetensors") for k in "ab")
    np.testing.assert_array_equal(a.maggies(theta), b.maggies(theta))
    np.testing.assert_array_equal(a.mfrac(theta), b.mfrac(theta))

    # The whole is scored on all, a part on what lies in its domain; same band order as ever.
    expected = residual_statistics(whole, theta, flux["maggies"])
    np.testing.assert_allclose(a.sigma_mag, expected["sigma_mag"])
    inside = theta[:, ZRED] <= 2.0
    expected = residual_statistics(a.parts[0], theta[inside], flux["maggies"][inside])
    np.testing.assert_allclose(a.parts[0].covariance, expected["covariance"])
    assert a.manifest["test"]["samples"] == 400
    assert a.parts[0].manifest["test"]["samples"] == inside.sum()
    assert a.libraries == "TOY" and a.manifest["training"]["samples"] == 16384
    assert a.manifest["recipe"] == recipe.as_dict()

    with pytest.raises(RangeError, match=r"covers 0.5 < z < 3, less than 0.1 to 3;"):
        train_stitched(source, 1, store, settings, "s", tmp_path, domains=((0.1, 2), (1, 3)))
    with pytest.raises(ProspectEmuError, match=r"test samples at 2.9 < z < 3, fewer than 100"):
        train_stitched(source, 1, store, settings, "s", tmp_path, domains=((0.5, 3), (2.9, 3)))
