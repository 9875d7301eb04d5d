import numpy as np

from prospect_emu.observe.magnitudes import (
    arsinh_error_to_maggies,
    arsinh_to_maggies,
    maggies_to_arsinh,
)


def test_round_trip_over_all_fluxes():
    x = np.concatenate([-np.logspace(-20, -5, 40), [0.0], np.logspace(-25, 0, 60)])
    # u near 35 has steps of 7e-15, that is 1e-28 maggies; sinh turns them into 1e-13.
    np.testing.assert_allclose(arsinh_to_maggies(maggies_to_arsinh(x)), x, rtol=1e-13, atol=3e-28)


def test_bright_limit_is_ab():
    """AB for bright sources: 1.1e-4 at m = 30, the next order of arsinh, falling as flux^-2."""
    m = np.linspace(10, 30, 50)
    assert np.abs(maggies_to_arsinh(10 ** (-0.4 * m)) - m).max() < 1.1e-4


def test_zero_flux_is_u0():
    assert maggies_to_arsinh(0.0) == 35.0


def test_error_is_the_derivative():
    """Eq. 9 against a central difference of the inverse; step error is second order."""
    x = np.array([-1e-14, 0.0, 1e-15, 1e-13, 1e-9])
    u, h = maggies_to_arsinh(x), 1e-4
    slope = np.abs(arsinh_to_maggies(u + h) - arsinh_to_maggies(u - h)) / (2 * h)
    np.testing.assert_allclose(arsinh_error_to_maggies(1.0, x), slope, rtol=1e-8)
