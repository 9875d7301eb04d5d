"""THEMIS dust emission in place of FSPS's in `ExactSPS`.

`ExactSPS` interpolates templates over duste_qpah and duste_umin, mixes two of them by gamma,
and scales the sum to the absorbed light. `themis_tables` swaps the templates and leaves the
rest, so that the energy balance and the 18 parameters stay:

* duste_umin is U, the intensity of the starlight that heats most of the dust;
* gamma is, as in Draine & Li (2007), the share of the dust mass that sees a power law of
  intensities, dM ~ U^-2 dU from duste_umin to 1e6;
* duste_qpah sets a_min. The carriers of the aromatic features in THEMIS are carbon grains under
  1.5 nm; with q_AF their share of the dust mass, q_PAH = 0.45 q_AF (Galliano et al. 2021);
* tau, the age of the stars that heat the dust, is fixed per table.
"""

import numpy as np

from prospect_emu.errors import RangeError

U_MAX = 1e6
PAH_PER_AROMATIC = 0.45
_AROMATIC = 1.5e-7  # cm
_CARBON = "CM20"


def aromatic_fraction(model, a_min):
    """q_AF: share of the dust mass in carbon grains under 1.5 nm.

    Parameters
    ----------
    model : DustModel
    a_min : array_like, shape (n,)
        nm.

    Returns
    -------
    ndarray, shape (n,)
    """
    out = np.zeros(np.size(a_min))
    for k, a in enumerate(np.atleast_1d(a_min)):
        for p in model.populations:
            if p.material != _CARBON:
                continue
            x = np.linspace(np.log(max(a * 1e-7, p.a_min)), np.log(p.a_max), 8001)
            s = p.volume_density(np.exp(x))
            small = np.interp(np.log(_AROMATIC), x, np.concatenate(
                [[0.0], np.cumsum(0.5 * (s[1:] + s[:-1]) * np.diff(x))]))  # fmt: skip
            out[k] += p.mass * small / np.trapezoid(s, x)
    return out / model.dust_to_hydrogen


def a_min_of_qpah(model, qpah):
    """a_min in nm that gives duste_qpah (per cent), shape (n,); 0.4 to 10 nm.

    Values that no a_min gives take the nearest that one does.
    """
    a = np.geomspace(0.4, 10.0, 400)
    q = 100.0 * PAH_PER_AROMATIC * aromatic_fraction(model, a)
    return np.exp(np.interp(np.asarray(qpah, dtype=float), q[::-1], np.log(a[::-1])))


def themis_tables(tables, emulator, model, log_tau=8.0, n_qpah=15, n_umin=25, umin=(0.1, 25.0)):
    """Tables for `ExactSPS` whose dust emission is that of the dust emulator.

    Parameters
    ----------
    tables : dict of ndarray
        What `load_tables` reads.
    emulator : prospect_emu.dust.DustEmulator
    model : DustModel
        Whose grains the emulator knows; turns duste_qpah into a_min.
    log_tau : float
        log10 of the age in years of the burst that heats the dust.
    n_qpah, n_umin : int
        Nodes of the templates, linear in duste_qpah and logarithmic in duste_umin.
    umin : tuple of float
        Range of duste_umin.

    Returns
    -------
    dict of ndarray
        A new dictionary; `tables` is not changed.

    Raises
    ------
    RangeError
        If `umin` leaves the emulator's range or exceeds 1e6.
    """
    if not 10.0 ** emulator.bounds[0, 0] <= umin[0] < umin[1] < U_MAX:
        raise RangeError(f"duste_umin from {umin[0]:g} to {umin[1]:g} is outside THEMIS's range.")
    top = 100.0 * PAH_PER_AROMATIC * aromatic_fraction(model, [0.4])[0]
    qpah = np.linspace(0.0, top, n_qpah)
    u = np.geomspace(*umin, n_umin)
    wave = np.asarray(tables["wave"], dtype=float) * 1e-4
    lnu = np.zeros((n_qpah, n_umin, 2, wave.size))
    for i, a in enumerate(a_min_of_qpah(model, qpah)):
        for j, low in enumerate(u):
            lnu[i, j] = _pair(emulator, low, 10.0**log_tau, a, wave)
    return {**tables, "dust_qpah": qpah, "dust_umin": u, "dust_lnu": lnu}


def _pair(emulator, low, tau, a_min, wave):
    """Emission at U = `low`, and of the power law from there to 1e6, each (nwave,)."""
    x = np.linspace(np.log(low), np.log(U_MAX), 80)
    spectra = emulator.spectrum(np.exp(x), tau, a_min)
    # dM ~ U^-2 dU = U^-1 dlnU, normalised.
    weight = np.exp(-x)
    mixed = np.trapezoid(spectra * weight[:, None], x, axis=0) / np.trapezoid(weight, x)
    return [_onto(wave, emulator.wavelengths, s) for s in (spectra[0], mixed)]


def _onto(wave, own, spectrum):
    """Log-log onto other wavelengths: zero blueward, a power law redward."""
    x, lx, ly = np.log(wave), np.log(own), np.log(spectrum)
    slope = (ly[-1] - ly[-4]) / (lx[-1] - lx[-4])
    y = np.where(x > lx[-1], ly[-1] + slope * (x - lx[-1]), np.interp(x, lx, ly))
    return np.where(wave < own[0], 0.0, np.exp(y))
