"""A campaign's settings: the sections of its TOML file and what each setting means."""

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class CatalogConfig:
    """``[catalog]``: where the photometry comes from.

    Attributes
    ----------
    kind : str
        "3dhst" (a folder), "table" (one file with a column map) or "mocks"
        (a file of `prospect_emu.fits.mocks`).
    path : str
        Relative to the TOML file. ``file.fits[NAME]`` is one of several tables in a file.
    error_floor : float
        Fraction of the flux added to each error in quadrature; 0.05 unless given, and 0 for
        mocks, whose errors are those of their noise.
    keep : tuple of str
        Catalog columns to copy into the results table.
    field, zeropoints, mips_factor, mask_lyman_alpha, mask_negative
        Of 3D-HST, see `prospect_emu.fits.threedhst.galaxy_obs`.
    id_column, zred_column
        Of a table; ids are kept as they are written there. "" for no redshifts.
    zred_error_column : str
        Of a table: where its value is positive, the redshift is free with a normal prior about
        `zred_column`; where it is 0 or missing, that is the redshift.
    zred_prior : str
        Of a table: prior of the redshift of galaxies without one, as in ``prospect-emu fit
        --zred-prior``. ``{id}`` in a file's name stands for the galaxy's id.
    magnification : str
        Of a table: a column of magnifications by lensing (missing is none), a number, or a file
        with the columns z and magnification; ``{id}`` in its name stands for the galaxy's id.
        Masses, rates and luminosities are then those of the source.
    layout : str
        Of a table: "uncover" reads a catalog of UNCOVER's layout and writes theirs besides the
        results, see `prospect_emu.fits.uncover_catalog`.
    spectrum : str
        Of a table: a column of files of spectra, relative to the catalog's folder, that are fitted
        with the photometry; galaxies without one are fitted to photometry alone.
    spectra : dict
        How these are read and fitted: ``resolution``, ``polyorder``, ``spectrum_unit``,
        ``wave_unit``, ``air``, ``degrade``, ``spectrum_floor``, as in ``prospect-emu fit``.
    unit : str
        Of flux columns that have none of their own; "zp 25" is AB 25 for a flux of 1.
    missing : tuple of float
        Of a table: what stands for no flux or no error, besides 99, -99 and the like.
    ebv_column : str
        Of a table: E(B-V) of the Milky Way, for which fluxes and errors are corrected by Cardelli
        et al. (1989)'s law, R_V = 3.1, at each band's pivot wavelength. "" if they are already.
    band_columns : tuple of str
        Of a table, instead of `bands`: how columns of flux and error are named, such as
        ``["f_{band}", "e_{band}"]``, with names of HST and JWST (f444w) or sedpy's.
    bands : dict
        Of a table: filter -> ``flux`` and ``error``, its columns; optionally ``unit``, ``floor``
        (instead of `error_floor`), ``factor`` (flux and error are multiplied by it), ``use`` and
        ``upper_limit``, columns of true and false.

    Settings of another kind of catalog are refused.
    """

    kind: str
    path: str
    error_floor: float | None = None
    keep: tuple = ()
    field: str = "cosmos"
    zeropoints: dict | None = None
    mips_factor: float | None = None
    mask_lyman_alpha: bool = True
    mask_negative: float = 2.0
    id_column: str = "id"
    zred_column: str = "zred"
    zred_error_column: str = ""
    zred_prior: str = ""
    magnification: str = ""
    spectrum: str = ""
    spectra: dict | None = None
    layout: str = ""
    unit: str = ""
    missing: tuple = ()
    ebv_column: str = ""
    band_columns: tuple = ()
    bands: dict | None = None

    @property
    def floor(self):
        """`error_floor`, or its default."""
        if self.error_floor is not None:
            return self.error_floor
        return 0.0 if self.kind == "mocks" else 0.05


@dataclass(frozen=True)
class SelectConfig:
    """``[select]``: which galaxies are fitted.

    Attributes
    ----------
    ids : tuple
        Only these.
    range : dict
        Column -> [lowest, highest], both allowed.
    equal : dict
        Column -> value.
    min_bands : int
        Unmasked bands that a galaxy must have.
    limit : int, optional
        This many of the selected ones, drawn at random with `seed`.
    seed : int
    unknown_bands : str
        "refuse" a campaign whose catalog has bands that an emulator does not
        know, or "mask" them in the fits with that emulator.
    """

    ids: tuple = ()
    range: dict = field(default_factory=dict)
    equal: dict = field(default_factory=dict)
    min_bands: int = 5
    limit: int | None = None
    seed: int = 0
    unknown_bands: str = "refuse"


@dataclass(frozen=True)
class FitConfig:
    """``[fit]``: how each fit is made.

    Attributes
    ----------
    model : tuple of str
        Prospector's templates, joined in this order; the redshift is the catalog's. Without
        this and `params`, the 18-parameter model.
    params : str
        Instead: a parameter file of Prospector, relative to the TOML file, whose ``build_model``
        is called with ``zred`` and ``object_redshift`` of each galaxy.
    params_options : tuple of str
        Options of that file, such as "--add_neb=True".
    preset : str
        "quick", "standard" or "careful": what is not set below
        (`prospect_emu.sampling.settings.PRESETS`).
    nlive, walks, moves, dlogz, n_eff, max_error, max_runs : optional
        See `prospect_emu.sampling.settings.NestedSettings`; "fsps", which Prospector samples,
        has dynesty's moves, and is not repeated.
    max_batch : int, optional
        Batches after the initial run; 0 for a static run.
    max_calls : int, optional
        Budget of likelihood calls; a fit that ends on it is "stalled".
    max_seconds : float, optional
        Budget of wall time. Unlike `max_calls` it makes results depend on the
        machine's load.
    queue_size : int, optional
    inflate : bool
        Add the emulator's error to the observed one.
    certificate : int
        Compare this many posterior draws of each fit with exact fluxes, see
        `prospect_emu.fit.certificate`; 0 for none.
    tables : str
        ExactSPS tables for that, relative to the TOML file.
    draws : int
        Keep this many draws of each posterior in its file instead of all nested samples: 1000
        take a tenth of the space, in single precision. The results table is made of all samples
        nevertheless. 0 for all.
    sampler : str
        "nested", or "amortised": by draws of a learnt proposal where these suffice, and by nested
        sampling with the settings above where they do not.
    proposal : str
        For that: a file of ``prospect-emu train posterior``, relative to the TOML file, or the
        name of a bundled one.
    restframe : tuple of str
        Rest-frame magnitudes and colours to derive: filters, two joined by "-" for a colour,
        "M_UV", or "UVJ"; see `prospect_emu.fit.restframe.columns_of`.
    """

    model: tuple = ()
    params: str = ""
    params_options: tuple = ()
    preset: str = "standard"
    nlive: int | None = None
    walks: int | None = None
    moves: str | None = None
    dlogz: float | None = None
    n_eff: int | None = None
    max_error: float | None = None
    max_runs: int | None = None
    max_batch: int | None = None
    max_calls: int | None = None
    max_seconds: float | None = None
    queue_size: int | None = None
    inflate: bool = True
    certificate: int = 0
    tables: str = ""
    draws: int = 0
    sampler: str = "nested"
    proposal: str = ""
    restframe: tuple = ()

    @property
    def other_model(self):
        """Whether another model than that of 18 parameters is fitted."""
        return bool(self.model or self.params)


@dataclass(frozen=True)
class ExecutorConfig:
    """``[executor]``: where the fits run. Nothing here changes a result.

    Attributes
    ----------
    kind : str
        "local" (processes), "dask" or "slurm" (job arrays).
    workers : int
        Local processes, or Dask workers that are started, or fits at a time in
        each task of a Slurm array.
    address : str
        Of an existing Dask scheduler.
    jobqueue : str
        A cluster class of dask-jobqueue ("SLURMCluster", "PBSCluster", ...).
    options : dict
        For the Dask cluster's class.
    chunks : int
        Tasks of the Slurm array.
    sbatch : tuple of str
        Further ``#SBATCH`` lines, such as "--time=04:00:00".
    setup : tuple of str
        Shell lines before the fits, such as "module load python".
    """

    kind: str = "local"
    workers: int = 1
    address: str = ""
    jobqueue: str = ""
    options: dict = field(default_factory=dict)
    chunks: int = 10
    sbatch: tuple = ()
    setup: tuple = ()


@dataclass(frozen=True)
class Config:
    """A campaign.

    Attributes
    ----------
    catalog, select, fit, executor
        The sections.
    emulators : tuple of str
        Names or files of emulators, "exact" or "fsps"; see `prospect_emu.fits.backends`. With
        ``fit.model`` or ``fit.params`` it is ["exact"], and need not be given.
    output : str
        Folder of the results, relative to the TOML file.
    name : str
    repeats : int
        Fits of each galaxy with each emulator, with different seeds.
    seed : int
        A fit's seed is made from this, the galaxy's id and the repeat.
    retries : int
        Further attempts at a fit that failed by no fault of its data.
    """

    catalog: CatalogConfig
    emulators: tuple
    output: str
    select: SelectConfig = field(default_factory=SelectConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    name: str = "campaign"
    repeats: int = 1
    seed: int = 0
    retries: int = 2

    def as_dict(self):
        """Plain dictionaries, for JSON."""
        return asdict(self)
