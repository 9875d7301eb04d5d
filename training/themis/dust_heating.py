"""Temperature distributions of grains that single photons heat, compiled.

Continuous cooling and discrete heating (Guhathakurta & Draine 1989; Desert et al.
1986): with p(E) the distribution of internal energy, Lambda(E) the radiated power
and R(>e) the rate of photons above an energy e,

    p(E) Lambda(E) = int_0^E p(E') R(>E - E') dE'.

All energies in erg, temperatures in K. Tables of a grain are uniform in ln T.
"""

from math import frexp

import numpy as np
from numba import njit

# Gauss-Hermite nodes of a Gaussian of unit width, for grains whose temperature barely moves.
_GAUSS_X, _GAUSS_W = np.polynomial.hermite_e.hermegauss(9)
_GAUSS_W = _GAUSS_W / _GAUSS_W.sum()

# The photon rate is tabulated at energies whose binary logarithm is piecewise linear:
# 2**_BITS nodes per octave, found from the bits of a float64 without a logarithm.
_BITS = 7
_SHIFT = 52 - _BITS
_MASK = (1 << _SHIFT) - 1
_CELL = 1.0 / (1 << _SHIFT)
_OVERFLOW = 1e120
# Cells below a node whose photons are integrated exactly.
_NEAR = 6
# Nodes below this share of an energy are lumped.
_COLDER = 0.01
_DENSE, _COLD = 1.5, 0.2


def rate_energies(low, high):
    """Energies at which `temperature_weights` wants the photon rate, and their first index.

    Parameters
    ----------
    low, high : float
        erg; the nodes enclose them.
    """
    bits = np.array([low, high]).view(np.int64) >> _SHIFT
    nodes = (np.arange(bits[0], bits[1] + 2, dtype=np.int64) << _SHIFT).view(np.float64)
    return nodes, int(bits[0])


@njit(cache=True, fastmath=False, nogil=True)
def _lookup(x0, step, table, x):
    """Linear interpolation in a table uniform in x, clamped."""
    u = (x - x0) / step
    i = int(u)
    if i < 0:
        return table[0]
    if i >= table.size - 1:
        return table[table.size - 1]
    return table[i] + (u - i) * (table[i + 1] - table[i])


@njit(cache=True, nogil=True)
def _inverse(x0, step, table, value):
    """x at which an increasing table reaches `value`, clamped."""
    lo, hi = 0, table.size - 1
    if value <= table[lo]:
        return x0
    if value >= table[hi]:
        return x0 + step * hi
    while hi - lo > 1:
        mid = (lo + hi) // 2
        if table[mid] <= value:
            lo = mid
        else:
            hi = mid
    return x0 + step * (lo + (value - table[lo]) / (table[hi] - table[lo]))


@njit(cache=True, nogil=True)
def _nodes(x_lo, x_hi, x_a, x_b, n_wide, n_core, out):
    """Merge n_wide nodes over [x_lo, x_hi] with n_core over [x_a, x_b]; their number.

    The wide ones are dense in the upper `_DENSE` of ln T, where grains shine, and take
    `_COLD` of them for what lies below.
    """
    x_a, x_b = max(x_a, x_lo), min(x_b, x_hi)
    middle = max(x_hi - _DENSE, x_lo)
    n_cold = int(_COLD * n_wide) if middle - x_lo > _COLD * (x_hi - x_lo) else 0
    if n_cold == 0:
        middle = x_lo
    d_cold = (middle - x_lo) / n_cold if n_cold else 0.0
    dw, dc = (x_hi - middle) / (n_wide - n_cold - 1), (x_b - x_a) / (n_core - 1)
    if dc <= 0.0:
        n_core = 0
    i = j = n = 0
    gap = 0.2 * min(dw, dc) if n_core else 0.2 * dw
    while i < n_wide or j < n_core:
        a = np.inf
        if i < n_cold:
            a = x_lo + i * d_cold
        elif i < n_wide:
            a = middle + (i - n_cold) * dw
        b = x_a + j * dc if j < n_core else np.inf
        x = min(a, b)
        if a <= b:
            i += 1
        else:
            j += 1
        if n == 0 or x - out[n - 1] > gap:
            out[n] = x
            n += 1
    return n


@njit(cache=True, nogil=True)
def _moments(left, right):
    """Integrals over [0, 1] of (1 - f) q and f q, q exponential from `left` to `right`."""
    if left <= 0.0 or right <= 0.0:
        return left / 3.0 + right / 6.0, left / 6.0 + right / 3.0
    s = np.log(right / left)
    if abs(s) < 1e-2:
        return left * (0.5 + s / 6.0 + s * s / 24.0), left * (0.5 + s / 3.0 + s * s / 8.0)
    grow = np.expm1(s)
    return left * (grow - s) / s**2, left * ((s - 1.0) * (grow + 1.0) + 1.0) / s**2


@njit(cache=True, nogil=True, fastmath=True)
def _dot(a, b, n):
    """Sum of products of the first n; free to reorder, so that it runs in vectors."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath=True)
def _above(diff, n, rate, first, last, above):
    """R(> diff) of the first n energies."""
    bits = diff.view(np.uint64)
    for j in range(n):
        b = bits[j]
        m = max(np.int64(b >> np.uint64(_SHIFT)) - first, 0)
        k = np.uint64(min(m, last))
        frac = np.float64(np.int64(b & np.uint64(_MASK))) * _CELL
        low = rate[k]
        above[j] = low + frac * (rate[k + np.uint64(1)] - low)


@njit(cache=True, nogil=True)
def _integrate(nodes, rate, once, twice):
    """Fill `once` with int_0^e R and `twice` with its integral, at the nodes of the rates.

    R is linear between nodes and constant below the first.
    """
    e = nodes[0]
    once[0], twice[0] = rate[0] * e, 0.5 * rate[0] * e * e
    for k in range(nodes.size - 1):
        d = nodes[k + 1] - nodes[k]
        once[k + 1] = once[k] + 0.5 * d * (rate[k] + rate[k + 1])
        twice[k + 1] = twice[k] + d * (once[k] + d * (2.0 * rate[k] + rate[k + 1]) / 6.0)


@njit(cache=True, nogil=True)
def _integrals(x, first, nodes, rate, once, twice):
    """int_0^x R and the integral of that, exact for what `_integrate` assumes."""
    if x <= nodes[0]:
        return rate[0] * x, 0.5 * rate[0] * x * x
    last = nodes.size - 1
    if x >= nodes[last]:
        d = x - nodes[last]
        return once[last], twice[last] + d * once[last]
    # Nodes are 2**_BITS per octave: their index lies in the bits of x.
    mantissa, exponent = frexp(x)
    k = ((exponent + 1022) << _BITS) + int((2.0 * mantissa - 1.0) * (1 << _BITS)) - first
    k = min(max(k, 0), last - 1)
    d = x - nodes[k]
    bend = (rate[k + 1] - rate[k]) / (nodes[k + 1] - nodes[k])
    a = once[k] + d * (rate[k] + 0.5 * d * bend)
    return a, twice[k] + d * (once[k] + d * (0.5 * rate[k] + d * bend / 6.0))


@njit(cache=True, nogil=True)
def photon_rates(photons, step, cell, frac, out):
    """R(>e) of each grain at given energies; see `rate_energies`.

    Parameters
    ----------
    photons : ndarray, shape (ngrain, nenergy)
        Photons per second and ln(energy), linear between energies, `step` (nenergy - 1,) apart.
    cell, frac : ndarray, shape (nrate,)
        Where the wanted energies lie.
    out : ndarray, shape (ngrain, nrate)
        Filled.
    """
    n = photons.shape[1]
    above = np.zeros(n)
    for g in range(photons.shape[0]):
        p = photons[g]
        for i in range(n - 2, -1, -1):
            above[i] = above[i + 1] + 0.5 * (p[i] + p[i + 1]) * step[i]
        for k in range(cell.size):
            c, f = cell[k], frac[k]
            part = step[c] * f * (p[c] + 0.5 * f * (p[c + 1] - p[c]))
            out[g, k] = max(above[c] - part, 0.0)


@njit(cache=True, nogil=True)
def _distribution(x, n, x0, step, ln_e, ln_l, e_max, rates, first, work):
    """Density of a grain's ln T at nodes x[:n], unnormalised.

    Returns the probability at the lowest node (on the same scale). `rates` holds
    energies, R there and its two integrals; `work` is (8, n + 1) scratch; the density
    ends in work[0].
    """
    dens, energy, cool, diff, lower, upper, flow, above = work
    nodes, rate, once, twice = rates
    last = rate.size - 2
    for i in range(n):
        energy[i] = np.exp(_lookup(x0, step, ln_e, x[i]))
        cool[i] = np.exp(_lookup(x0, step, ln_l, x[i]))
    ground = 1.0
    mass, heat = ground, ground * energy[0]
    reach = cold = 0
    flow[0] = rate[0]
    # What the cell above a node lends to it, and what the cell below does.
    lower[:n] = 0.0
    upper[:n] = 0.0
    for i in range(1, n):
        e = energy[i]
        # Photons that lift a grain from the nodes below to E_i; none from further below
        # than the hardest one reaches.
        while reach < i - 1 and e - energy[reach] > e_max:
            reach += 1
        near = max(i - 1 - _NEAR, reach)
        # Grains far colder than E_i all need the same photon: they count as one.
        while cold < near and energy[cold] < _COLDER * e:
            mass += lower[cold] + upper[cold]
            heat += (lower[cold] + upper[cold]) * energy[cold]
            cold += 1
        k_sum = 0.0
        if mass > 0.0 and e - heat / mass < e_max:
            diff[0] = e - heat / mass
            _above(diff, 1, rate, first, last, above)
            k_sum = mass * above[0]
        start = max(reach, cold)
        if near > start:
            n_far = near + 1 - start
            for j in range(n_far):
                diff[j] = e - energy[start + j]
            _above(diff, n_far, rate, first, last, above)
            k_sum += _dot(lower[start:], above, n_far - 1) + _dot(upper[start:], above, n_far)
        # R changes much within the cells just below, where soft photons count: its exact
        # means, weighted towards either end of a cell.
        h = e - energy[i - 1]
        a_hi, b_hi = _integrals(h, first, nodes, rate, once, twice)
        mean = a_hi / h
        for j in range(i - 1, near, -1):
            width = energy[j] - energy[j - 1]
            a_lo, b_lo = _integrals(e - energy[j - 1], first, nodes, rate, once, twice)
            part = (b_lo - b_hi) / width
            low, up = lower[j - 1] / width, upper[j] / width
            k_sum += (4.0 * up - 2.0 * low) * (part - a_hi) + (4.0 * low - 2.0 * up) * (a_lo - part)
            a_hi, b_hi = a_lo, b_lo
        # The last cell: F' = K' + R F / Lambda, R its mean over the cell.
        h = np.log(e / energy[i - 1])
        start, end = energy[i - 1] / cool[i - 1], e / cool[i]
        w_lo, w_hi = _moments(start, end)
        t = mean * h * (w_lo + w_hi)
        if t > 250.0:
            t = 250.0
        grow = np.expm1(t) / t if t > 1e-12 else 1.0
        flow[i] = (1.0 + t * grow) * flow[i - 1] + (k_sum - flow[i - 1]) * grow
        if flow[i] < 0.0:
            flow[i] = 0.0
        # p = F / Lambda on the new cell, a power of E, split between its ends.
        w_lo, w_hi = _moments(start * flow[i - 1], end * flow[i])
        lower[i - 1] = h * w_lo
        upper[i] = h * w_hi
        if flow[i] > _OVERFLOW:
            ground /= _OVERFLOW
            mass /= _OVERFLOW
            heat /= _OVERFLOW
            for j in range(i + 1):
                flow[j] /= _OVERFLOW
                lower[j] /= _OVERFLOW
                upper[j] /= _OVERFLOW
    for i in range(n):
        up = _lookup(x0, step, ln_e, x[i] + 0.5 * step)
        down = _lookup(x0, step, ln_e, x[i] - 0.5 * step)
        dens[i] = flow[i] / cool[i] * energy[i] * (up - down) / step
    return ground


@njit(cache=True, nogil=True)
def _deposit(x0, step, out, x, amount):
    """Add `amount` at x to a uniform grid by 4-point Lagrange weights."""
    u = (x - x0) / step
    i = min(max(int(u), 1), out.size - 3)
    f = u - i
    out[i - 1] += amount * (-f * (f - 1.0) * (f - 2.0) / 6.0)
    out[i] += amount * ((f + 1.0) * (f - 1.0) * (f - 2.0) / 2.0)
    out[i + 1] += amount * (-(f + 1.0) * f * (f - 2.0) / 2.0)
    out[i + 2] += amount * ((f + 1.0) * f * (f - 1.0) / 6.0)


@njit(cache=True, nogil=True)
def temperature_weights(
    x0, step, ln_e, ln_l, heating, spread2, e_max, nodes, rate, first, n_wide, n_core, per_photon,
    n_most, narrow, out, closure,
):  # fmt: skip
    """Share of time that grains of one field spend at each temperature.

    Parameters
    ----------
    x0, step : float
        First value and step of the grid in ln T.
    ln_e, ln_l : ndarray, shape (ngrain, nt)
        ln of internal energy and of radiated power on the grid.
    heating, spread2 : ndarray, shape (ngrain,)
        Absorbed: erg/s; int n (h nu)^2 dnu over the photons, erg2/s.
    e_max : float
        Energy of the hardest photon.
    nodes : ndarray, shape (nrate,)
        `rate_energies`.
    rate : ndarray, shape (ngrain, nrate)
        R(>e) there, photons/s.
    first : int
        What `rate_energies` returned.
    n_wide, n_core : int
        Nodes over the whole range, and within 6 sigma of equilibrium.
    per_photon, n_most : float, int
        There, at least this many per photon of mean energy, weighted by energy, and at most.
    narrow : float
        Below this standard deviation of ln T the distribution is a Gaussian.
    out : ndarray, shape (ngrain, nt)
        Filled with weights on the grid: ``sum(out * power) = heating`` exactly.
    closure : ndarray, shape (ngrain,)
        Filled with radiated over absorbed power before that is enforced.
    """
    ngrain, nt = out.shape
    x = np.empty(n_wide + n_most)
    work = np.zeros((8, n_wide + n_most + 1))
    rates = np.empty((4, nodes.size))
    rates[0] = nodes
    x_top = x0 + step * (nt - 1)
    for g in range(ngrain):
        le, ll, row = ln_e[g], ln_l[g], out[g]
        row[:] = 0.0
        if heating[g] <= 0.0:
            closure[g] = 1.0
            continue
        x_eq = _inverse(x0, step, ll, np.log(heating[g]))
        e_eq = np.exp(_lookup(x0, step, le, x_eq))
        dle = _lookup(x0, step, le, x_eq + step) - _lookup(x0, step, le, x_eq - step)
        dll = _lookup(x0, step, ll, x_eq + step) - _lookup(x0, step, ll, x_eq - step)
        slope = heating[g] / e_eq * max(dll, 1e-12) / max(dle, 1e-12)
        sigma = np.sqrt(spread2[g] / (2.0 * slope))
        sigma_x = sigma / e_eq / max(dle / (2.0 * step), 1e-12)
        if sigma_x < narrow:
            for k in range(_GAUSS_X.size):
                xe = _inverse(x0, step, le, np.log(e_eq + sigma * _GAUSS_X[k]))
                _deposit(x0, step, row, xe, _GAUSS_W[k])
            norm = 1.0
        else:
            e_lo, e_hi = e_eq - 10.0 * sigma, max(e_eq + 10.0 * sigma, 2.0 * e_eq + 2.2 * e_max)
            x_lo = _inverse(x0, step, le, np.log(e_lo)) if e_lo > 0.0 else x0
            x_hi = min(_inverse(x0, step, le, np.log(e_hi)), x_top)
            e_a, e_b = e_eq - 6.0 * sigma, e_eq + 6.0 * sigma
            x_a = _inverse(x0, step, le, np.log(e_a)) if e_a > 0.0 else x_lo
            x_b = _inverse(x0, step, le, np.log(e_b))
            # The photon that heats, seen by energy, must span several steps.
            wanted = per_photon * 12.0 * sigma * heating[g] / spread2[g]
            core = min(max(int(wanted), n_core), n_most)
            n = _nodes(x_lo, x_hi, x_a, x_b, n_wide, core, x)
            # A cell of the table of rates beyond the hardest photon.
            hardest = e_max * (1.0 + 2.0 * 2.0**-_BITS)
            rates[1] = rate[g]
            _integrate(nodes, rate[g], rates[2], rates[3])
            ground = _distribution(x, n, x0, step, le, ll, hardest, rates, first, work)
            norm = ground
            # Between nodes the density is a power of T.
            dens, ln_dens = work[0], work[1]
            for j in range(n):
                ln_dens[j] = np.log(dens[j]) if dens[j] > 0.0 else -700.0
            j = 0
            for k in range(max(int(np.ceil((x_lo - x0) / step)), 0), nt):
                xk = x0 + step * k
                if xk > x[n - 1]:
                    break
                while j < n - 2 and x[j + 1] < xk:
                    j += 1
                f = (xk - x[j]) / (x[j + 1] - x[j])
                row[k] = np.exp(ln_dens[j] + f * (ln_dens[j + 1] - ln_dens[j])) * step
                norm += row[k]
        radiated = 0.0
        for k in range(nt):
            if row[k] != 0.0:
                radiated += row[k] * np.exp(ll[k])
        closure[g] = radiated / (norm * heating[g])
        scale = heating[g] / radiated
        for k in range(nt):
            row[k] *= scale
