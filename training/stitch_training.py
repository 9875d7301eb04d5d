"""One network per redshift domain, stitched and scored as a whole."""

from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

from prospect_emu.errors import ProspectEmuError
from prospect_emu.networks.stitched import stitch
from prospect_emu.networks.vector import PARAMETERS

from .evaluate import measured

# Mathews et al. (2023). Their lowest redshift is 0, where a galaxy has no distance
# and FSPS no photometry: 0.01, as for the factored emulator.
DOMAINS = (
    (0.01, 2.25), (1.75, 4.25), (3.75, 6.25), (5.75, 8.25), (7.75, 10.25), (9.75, 12.0)
)  # fmt: skip

# Test samples in a domain: that many tell a standard deviation to 7 %.
_FEWEST = 100


class DomainTest:
    """Test samples of a redshift domain, as `train_emulator` reads them from a store.

    One test set over the whole range then serves the parts, too.

    Parameters
    ----------
    store : prospect_emu.training.generate.SampleStore
    data : dict of ndarray
        What the store loads: read once for all domains.
    domain : (float, float)

    Raises
    ------
    ProspectEmuError
        If the store has too few samples there.
    """

    def __init__(self, store, data, domain):
        self.recipe = replace(store.recipe, zred_range=domain)
        self.manifest, self.fingerprint = store.manifest, store.fingerprint
        zred = data["theta"][:, PARAMETERS.index("zred")]
        inside = (zred >= domain[0]) & (zred <= domain[1])
        if inside.sum() < _FEWEST:
            raise ProspectEmuError(
                f"{store.folder} holds {inside.sum()} test samples at {domain[0]:g} < z < "
                f"{domain[1]:g}, fewer than {_FEWEST}; make more of them (--test)."
            )
        self._data = {k: v[inside] for k, v in data.items()}

    def load(self):
        """The samples: arrays by name, such as theta (n, 18)."""
        return self._data


def train_stitched(
    source, n_samples, test_store, settings, name, work, label=None, domains=DOMAINS
):
    """Train a network per domain, stitch them, and measure the whole on FSPS samples.

    Parameters
    ----------
    source : FactoredEmulator
        Makes the training samples.
    n_samples : int
        Training samples per domain.
    test_store : prospect_emu.training.generate.SampleStore
        FSPS samples over all domains. Each part is scored on those in its own.
    settings : prospect_emu.training.train.Settings
        Of each part.
    name : str
        Name of the emulator.
    work : path-like
        Folder for samples and checkpoints, in a subfolder per domain.
    label : str, optional
        What to call the isochrones and spectral library.
    domains : sequence of (float, float)
        Redshift ranges that overlap.

    Raises
    ------
    RangeError
        If `source` does not cover the domains.
    ProspectEmuError
        If the test set is too small.
    """
    from .folded_samples import check_source

    check_source(source, domains[0][0], domains[-1][1])
    # All before the first training, which takes long.
    test = test_store.load()
    tests = [DomainTest(test_store, test, d) for d in domains]
    parts = [_train_part(source, n_samples, t, settings, name, Path(work), label) for t in tests]
    emulator = stitch(name, parts)
    emulator.manifest["training"] = {
        "source": f"{type(source).__name__} {source.name}, folded; a network per redshift domain",
        "samples": sum(p.manifest["training"]["samples"] for p in parts),
        "domains": [list(d) for d in domains],
        "settings": asdict(settings),
        "prospect_emu": metadata.version("prospect_emu"),
    }
    return measured(emulator, test_store)


def _train_part(source, n_samples, test, settings, name, work, label):
    from .folded_samples import folded_samples
    from .packaging import train_emulator

    domain = "z{:g}-{:g}".format(*test.recipe.zred_range)
    folder = work / domain
    samples, described = folded_samples(test.recipe, source, folder / "folded", n_samples)
    return train_emulator(
        samples, samples.mfrac(), test, settings, f"{name}-{domain}", folder, described, label
    )
