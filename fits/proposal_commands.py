"""``prospect-emu train posterior``: a learnt proposal for the galaxies of a campaign."""

from pathlib import Path

from prospect_emu.commands.cli import positive


def register_posterior(steps):
    """Add the sub-step to ``prospect-emu train``."""
    p = steps.add_parser(
        "posterior",
        help="a proposal by which the posteriors of a campaign's galaxies are sampled",
        description="Simulates galaxies with the priors, model, bands and errors of a campaign, "
        "and trains on them the proposal that its setting fit.proposal names (needs torch). "
        "Resumes where a killed run stopped.",
    )
    p.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml")
    p.add_argument("--out", type=Path, required=True, help="file to write (.safetensors)")
    p.add_argument("--work", type=Path, help="folder for the checkpoint (that of --out)")
    p.add_argument("--name", help="name of the proposal (default: the file's)")
    about = "of as many galaxies as a chunk has (%(default)s)"
    p.add_argument("--epochs", type=positive, default=450, help=about)
    about = "galaxies of each simulated redshift (%(default)s)"
    p.add_argument("--chunk", type=positive, default=16384, help=about)
    p.add_argument("--batch", type=positive, default=512, help="galaxies of a step (%(default)s)")
    p.add_argument("--snr", type=float, default=10.0, metavar="S",
                   help="least signal to noise, of all bands together (%(default)s)")  # fmt: skip
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--overwrite", action="store_true", help="replace an existing file")
    p.add_argument("--quiet", action="store_true", help="no progress")
    p.set_defaults(run=_train)


def _train(args):
    from dataclasses import replace

    from prospect_emu.files import check_writable, fingerprint

    from ..training import need
    from .config import read_config

    need("torch", "Training")
    from ..training.proposal_training import Settings, held_out, package, train_flow

    check_writable(args.out, args.overwrite)
    config = read_config(args.campaign)
    # The proposal that is to be made need not be there yet.
    fit = replace(config.fit, sampler="nested", proposal="")
    simulator, manifest = of_campaign(replace(config, fit=fit), args.snr, args.chunk, args.seed)
    settings = Settings(epochs=args.epochs, batch=args.batch, seed=args.seed + 1)
    work = args.work or args.out.parent
    work.mkdir(parents=True, exist_ok=True)
    name = args.name or args.out.stem
    net, scales, history = train_flow(
        simulator, settings, work / f"{name}.checkpoint.safetensors",
        [fingerprint(manifest), simulator.noise.described()], progress=not args.quiet,
    )  # fmt: skip
    x, w = held_out(simulator)
    manifest |= {
        "name": name,
        "settings": vars(settings),
        "simulated": settings.epochs * args.chunk // settings.repeats,
        "noise": simulator.noise.described(),
        "history": history,
    }
    proposal = package(net, scales, x, manifest)
    proposal.manifest["held_out"] = calibration(proposal, x, w)
    proposal.save(args.out)
    if not args.quiet:
        print(_report(proposal.manifest))
        print(f"Wrote {args.out}")


def of_campaign(config, snr, size, seed):
    """The simulator of a campaign's galaxies, and what is to be told of it.

    Parameters
    ----------
    config : Config
    snr : float
        See `Noise`.
    size, seed : int
        See `Simulator`.

    Returns
    -------
    Simulator
    dict
        ``bands``, ``labels``, ``zred_range`` and ``backend``, for the manifest.

    Raises
    ------
    SetupError
        If a galaxy's redshift is free or it is magnified, or there is none.
    """
    import numpy as np

    from prospect_emu.errors import SetupError
    from prospect_emu.fit.posterior import BatchedPosterior
    from prospect_emu.observe.filters import load_filters

    from .backends import load_backend
    from .catalogs import read_sample, select
    from .simulations import Noise, Simulator

    backend = load_backend(config.emulators[0])
    sample = read_sample(config.catalog)
    _, observed, _ = select(sample, config.select, backend.zred_range)
    galaxies = list(observed.values())
    if not galaxies or any(obs["zred"] is None for obs in galaxies):
        raise SetupError(
            "A proposal is learnt from the galaxies that a campaign selects, with fixed redshifts; "
            + ("the redshift of one of these is free." if galaxies else "none is selected.")
        )
    if any("magnification" in obs for obs in galaxies):
        raise SetupError(
            "A proposal is learnt from galaxies that are not magnified; leave "
            "catalog.magnification out, or fit this campaign by nested sampling."
        )
    bands = [f.name for f in galaxies[0]["filters"]]
    filters = list(load_filters(bands))
    floor = config.catalog.floor
    errors, zreds = [], np.array([obs["zred"] for obs in galaxies])
    for obs in galaxies:
        unc = np.asarray(obs.get("maggies_unc_catalog", obs["maggies_unc"]), dtype=float)
        errors.append(np.where(obs["phot_mask"], unc, np.nan))
    negative = config.catalog.mask_negative if config.catalog.kind == "3dhst" else np.inf
    noise = Noise(np.array(errors), zreds, floor, negative, snr)
    # A little beyond the galaxies, and not beyond the emulator.
    low, high = (float(np.clip(z, *backend.zred_range)) for z in (
        zreds.min() * 0.99, zreds.max() * 1.01))  # fmt: skip

    def posterior_at(zred, flux=None, unc=None, mask=None):
        ones = np.ones(len(bands))
        flux, unc = (1e-9 * ones, 1e-10 * ones) if flux is None else (flux, unc)
        obs = {"filters": filters, "maggies": flux, "maggies_unc": unc, "wavelength": None,
               "phot_mask": ones > 0 if mask is None else mask, "spectrum": None}  # fmt: skip
        return BatchedPosterior(backend.model(config.fit, zred), obs, backend.sps(filters))

    labels = list(backend.model(config.fit, 0.5 * (low + high)).theta_labels())
    if "zred" in labels:
        raise SetupError(
            "A proposal is learnt at fixed redshifts, and the model of this campaign leaves zred "
            "free; fix it in build_model, or fit by nested sampling."
        )
    told = {
        "bands": bands,
        "labels": labels,
        "zred_range": [low, high],
        "backend": backend.identity(config.fit),
    }
    return Simulator(posterior_at, noise, (low, high), size, seed), told


def calibration(proposal, x, w, draws=64, most=1024):
    """How good a proposal is on galaxies that it was not trained on.

    Parameters
    ----------
    proposal : Proposal
    x, w : ndarray, shape (n, nfeature) and (n, ndim)

    Returns
    -------
    dict
        ``log_density``, the mean at the truth; and by parameter ``rank_p``, the probability of
        ranks of the truth among `draws` draws that are less uniform.
    """
    import numpy as np
    from scipy.stats import kstest

    rng = np.random.default_rng(0)
    every = max(1, len(x) // most)
    codes, true = proposal.embed(x[::every]), w[::every]
    ranks, log_density = [], []
    for code, truth in zip(codes, true, strict=True):
        density = proposal.of(code)
        drawn, _ = density.draw(rng, draws)
        ranks.append(((drawn < truth).sum(axis=0) + rng.random(truth.size)) / (draws + 1))
        log_density.append(density.log_density(truth[None])[0])
    p = [float(kstest(r, "uniform").pvalue) for r in np.array(ranks).T]
    return {
        "galaxies": len(true),
        "log_density": float(np.mean(log_density)),
        "rank_p": dict(zip(proposal.manifest["labels"], p, strict=True)),
    }


def _report(manifest):
    held = manifest["held_out"]
    lines = [
        f"{manifest['simulated']} simulated galaxies, of which {held['galaxies']} others have",
        f"  log density of the truth  {held['log_density']:.2f}",
        "  ranks of the truth, p     "
        + ", ".join(f"{k} {v:.2g}" for k, v in held["rank_p"].items()),
    ]
    return "\n".join(lines)
