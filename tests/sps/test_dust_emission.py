"""Pieces of the spectrum by themselves: dust emission, nebulae, torus, intergalactic gas."""

import numpy as np
import pytest

from prospect_emu.sps import agn, dust_emission, igm, nebular
from prospect_emu.sps.constants import CLIGHT


def loop(absorbed, through, enough=1e-2):
    """Emission and self-absorption pass by pass, as a reader of FSPS would write it."""
    left, total, passes = absorbed, 0.0, 0
    while passes == 0 or left > enough:
        total += left
        left, passes = left * (1.0 - through), passes + 1
    return total


def test_self_absorption():
    """The closed form is the loop; with much to emit it is the whole series, to 1e-12."""
    rng = np.random.default_rng(0)
    absorbed = 10.0 ** rng.uniform(-4.0, 4.0, 300)
    through = rng.uniform(0.05, 1.0, 300)
    expected = [loop(a, t) for a, t in zip(absorbed, through, strict=True)]
    np.testing.assert_allclose(dust_emission.escaped(absorbed, through), expected, rtol=1e-12)
    rich = dust_emission.escaped(np.array([1e11]), np.array([0.3]))
    assert rich * 0.3 == pytest.approx(1e11, rel=1e-12)
    assert dust_emission.escaped(np.array([1.0, 0.0]), np.array([1.0, 0.5])).tolist() == [1.0, 0.0]
    # FSPS emits nothing where a law of negative optical depths adds light (mwr = 15).
    assert dust_emission.escaped(np.array([-3.0]), np.array([0.5])) == 0.0


def test_templates_are_multilinear(toy):
    """At a node the node's own; between nodes the mean; held at the ends."""
    q, u = toy.dust_qpah, toy.dust_umin
    at = dust_emission.templates(toy, q[[1]], u[[2]], np.array([0.0]))
    np.testing.assert_allclose(at[0], toy.dust_lnu[1, 2, 0], rtol=1e-6)
    middle = dust_emission.templates(toy, 0.5 * (q[[0]] + q[[1]]), u[[2]], np.array([0.5]))
    np.testing.assert_allclose(middle[0], toy.dust_lnu[:2, 2].mean(axis=(0, 1)), rtol=1e-6)
    for low, high in ((-3.0, 0.0), (99.0, 2.0)):
        end = dust_emission.templates(toy, np.array([low]), np.array([low]), np.array([high]))
        corner = toy.dust_lnu[0, 0, 0] if low < 0 else toy.dust_lnu[-1, -1, 1]
        np.testing.assert_allclose(end[0], corner, rtol=1e-6)


def test_nebulae(toy):
    """Log-linear in each axis, constant outside; a unit line keeps its light on a fine grid."""
    z, u = toy.neb_logz, toy.neb_logu
    two = nebular.lines(toy, z[:2], u[0])
    between = nebular.lines(toy, z[:2].mean(), u[0])
    np.testing.assert_allclose(between[0], np.sqrt(two[0] * two[1]), rtol=1e-6)
    assert np.array_equal(nebular.lines(toy, 9.0, 9.0), nebular.lines(toy, z[-1], u[-1]))
    assert nebular.continuum(toy, z[:2], u[0]).shape == (2, toy.nneb, toy.wave.size)
    wave = np.linspace(4000.0, 6000.0, 4001)
    profile = nebular.line_profiles(wave, np.full(wave.size, 200.0), np.array([5008.24]))
    assert profile[0] @ nebular.frequency_weights(wave) == pytest.approx(1.0, rel=1e-3)


def test_photons_of_a_flat_spectrum():
    """int L_nu / (h nu) dnu = L_nu / h ln(nu1 / nu0), to 1e-4 (trapezoids)."""
    wave = np.geomspace(91.2, 2000.0, 5000)
    got = nebular.ionising_photons(wave, np.ones((2, wave.size)))
    top = wave[nebular.ionising(wave) - 1]
    np.testing.assert_allclose(got, 3.839e33 / 6.6261e-27 * np.log(top / 91.2), rtol=1e-4)


def test_torus(toy):
    tau = toy.agn_tau
    np.testing.assert_allclose(agn.torus(toy, tau[1])[0], toy.agn_lnu[1], rtol=1e-6)
    np.testing.assert_allclose(agn.torus(toy, 1e4)[0], toy.agn_lnu[-1], rtol=1e-6)


def test_madau():
    """Madau's (1995) Lyman-alpha forest: tau = 0.0036 (lambda_obs / 1215.67)^3.46 between Ly-beta
    and Ly-alpha, and the metals' 0.0017 (.)^1.68."""
    wave = np.array([800.0, 900.0, 1100.0, 1200.0, 1300.0])
    terms = igm.terms(wave)
    got = igm.transmission(terms, [0.0, 3.0], [1.0, 0.5])
    assert got.shape == (2, 4)
    assert np.all(got[0] == 1.0)
    x = wave[2:4] * 4.0 / 1215.67
    expected = np.exp(-0.5 * (0.0036 * x**3.46 + 0.0017 * x**1.68))
    np.testing.assert_allclose(got[1, 2:], expected, rtol=1e-6)
    assert got[1, 1] < got[1, 2]


def test_frequency_weights():
    """The trapezoid rule over frequency."""
    wave = np.array([1000.0, 1500.0, 3000.0])
    lnu = np.array([2.0, 3.0, 5.0])
    expected = np.trapezoid(lnu[::-1], (CLIGHT / wave)[::-1])
    assert lnu @ nebular.frequency_weights(wave) == pytest.approx(expected)
