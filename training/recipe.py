"""Training recipes: what is emulated, and from which distribution of parameters."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from prospect_emu.errors import ProspectEmuError
from prospect_emu.files import fingerprint
from prospect_emu.networks.vector import BOX, FIXED, PARAMETERS, RATIO_NAMES
from prospect_emu.prospector import priors
from prospect_emu.prospector.mathews23 import default_priors

DISTRIBUTIONS = ("fat_tailed", "prior")

# The 137 bands of Mathews et al. (2023), by survey and increasing wavelength
# within it; their hsc_zpp, which sedpy lacks, is sedpy's hsc_z.
MATHEWS23_FILTERS = tuple(
    """
    galex_FUV galex_NUV
    sdss_u0 sdss_g0 sdss_r0 sdss_i0 sdss_z0
    cfht_megacam_us_9301 cfht_megacam_gs_9401 cfht_megacam_rs_9601
    cfht_megacam_is_9701 cfht_megacam_zs_9801
    mayall_mosaic_U_k1001 vlt_vimos_U vlt_vimos_R keck_lris_g keck_lris_Rs
    mpgeso_wfi_U38_eso841 mpgeso_wfi_B_eso842 mpgeso_wfi_V_eso843
    mpgeso_wfi_Rc_eso844 mpgeso_wfi_Ic_eso845
    subaru_suprimecam_B subaru_suprimecam_V subaru_suprimecam_rp subaru_suprimecam_Rc
    subaru_suprimecam_ip subaru_suprimecam_zp
    subaru_suprimecam_ia427 subaru_suprimecam_ia445 subaru_suprimecam_ia464
    subaru_suprimecam_ia484 subaru_suprimecam_ia505 subaru_suprimecam_ia527
    subaru_suprimecam_ia550 subaru_suprimecam_ia574 subaru_suprimecam_ia598
    subaru_suprimecam_ia624 subaru_suprimecam_ia651 subaru_suprimecam_ia679
    subaru_suprimecam_ia709 subaru_suprimecam_ia738 subaru_suprimecam_ia767
    subaru_suprimecam_ia797 subaru_suprimecam_ia827 subaru_suprimecam_ia856
    wfc3_uvis_f275w wfc3_uvis_f336w wfc3_uvis_f390w wfc3_uvis_f475w wfc3_uvis_f555w
    wfc3_uvis_f606w wfc3_uvis_f814w
    acs_wfc_f435w acs_wfc_f475w acs_wfc_f555w acs_wfc_f606w acs_wfc_f625w
    acs_wfc_f775w acs_wfc_f814w acs_wfc_f850lp
    wfc3_ir_f105w wfc3_ir_f110w wfc3_ir_f125w wfc3_ir_f140w wfc3_ir_f160w
    hsc_z hsc_y
    vista_vircam_Z vista_vircam_Y vista_vircam_J vista_vircam_H vista_vircam_Ks
    mayall_newfirm_J1 mayall_newfirm_J2 mayall_newfirm_J3
    mayall_newfirm_H1 mayall_newfirm_H2 mayall_newfirm_K
    cfht_wircam_J_8101 cfht_wircam_H_8201 cfht_wircam_Ks_8302
    vlt_isaac_J vlt_isaac_H vlt_isaac_Ks
    twomass_J twomass_H twomass_Ks
    ukirt_wfcam_J ukirt_wfcam_H ukirt_wfcam_K
    subaru_moircs_J subaru_moircs_H subaru_moircs_Ks
    jwst_f070w jwst_f090w jwst_f115w jwst_f140m jwst_f150w jwst_f162m jwst_f182m
    jwst_f200w jwst_f210m jwst_f250m jwst_f277w jwst_f300m jwst_f335m jwst_f356w
    jwst_f360m jwst_f410m jwst_f430m jwst_f444w jwst_f460m jwst_f480m
    wise_w1 wise_w2
    spitzer_irac_ch1 spitzer_irac_ch2 spitzer_irac_ch3 spitzer_irac_ch4
    jwst_f560w jwst_f770w jwst_f1000w jwst_f1130w jwst_f1280w jwst_f1500w
    jwst_f1800w jwst_f2100w jwst_f2550w
    spitzer_mips_24
    herschel_pacs_70 herschel_pacs_100 herschel_pacs_160
    herschel_spire_250 herschel_spire_350 herschel_spire_500
    1d3mm
    """.split()
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training sample is.

    Attributes
    ----------
    name : str
    distribution : {"fat_tailed", "prior"}
        ``fat_tailed``: each non-uniform parameter is drawn from an even mixture
        of its fit prior, widened by `widen`, and a uniform over its box;
        uniform priors stay. ``prior``: the fit priors themselves.
    widen : float
        Factor on the standard deviation or scale of the non-uniform priors.
    uniform_fraction : float
        Share of the uniform component in the mixture.
    zred_range : (float, float)
        Redshifts, drawn uniformly.
    filters : tuple of str
    quadrature : {"converged", "sedpy"}
    fixed : dict
        Fixed FSPS and Prospector parameters.
    seed : int
    """

    name: str = "mathews23"
    distribution: str = "fat_tailed"
    widen: float = 2.5
    uniform_fraction: float = 0.5
    zred_range: tuple = BOX["zred"]
    filters: tuple = MATHEWS23_FILTERS
    quadrature: str = "converged"
    fixed: dict = field(default_factory=lambda: dict(FIXED))
    seed: int = 23

    def __post_init__(self):
        if self.distribution not in DISTRIBUTIONS:
            raise ProspectEmuError(
                f"Recipe distribution {self.distribution!r} is unknown; use one of {DISTRIBUTIONS}."
            )
        low, high = self.zred_range
        if not 0.0 < low < high < np.inf:
            raise ProspectEmuError(
                f"Redshifts from {low:g} to {high:g} are not a range; give 0 < lowest < highest "
                "(--zmin 0.5 --zmax 3)."
            )
        object.__setattr__(self, "filters", tuple(self.filters))
        object.__setattr__(self, "zred_range", tuple(float(z) for z in self.zred_range))

    @property
    def bounds(self):
        """Range of each parameter, shape (18, 2)."""
        return np.array([self.zred_range if p == "zred" else BOX[p] for p in PARAMETERS])

    def as_dict(self):
        """JSON-serialisable content."""
        d = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in d.items()}

    @property
    def fingerprint(self):
        return fingerprint(self.as_dict())


def draw_parameters(recipe, n, stream):
    """Reproducible parameter vectors.

    Parameters
    ----------
    recipe : Recipe
    n : int
    stream : tuple of int
        Names an independent random stream of the recipe's seed: the same
        stream gives the same vectors, whatever was drawn before.

    Returns
    -------
    ndarray, shape (n, 18)
    """
    rng = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=tuple(stream)))
    theta = np.empty((n, len(PARAMETERS)))
    column = {p: theta[:, i] for i, p in enumerate(PARAMETERS)}
    fat = recipe.distribution == "fat_tailed"
    widen = recipe.widen if fat else 1.0
    prior = default_priors()
    unit = rng.random((n, len(PARAMETERS)))
    unit_of = {p: unit[:, i] for i, p in enumerate(PARAMETERS)}

    for name in PARAMETERS:
        if name == "logzsol":
            continue
        lo, hi = recipe.zred_range if name == "zred" else BOX[name]
        if name in RATIO_NAMES:
            p = prior["logsfr_ratios"].params
            scale = float(np.mean(p["scale"])) * widen
            dist = priors.TruncatedStudentT2(mean=0.0, scale=scale, mini=lo, maxi=hi)
        elif isinstance(prior.get(name), priors.TruncatedNormal):
            p = prior[name].params
            dist = priors.TruncatedNormal(
                mean=p["mean"], sigma=p["sigma"] * widen, mini=lo, maxi=hi
            )
        else:
            dist = priors.Uniform(mini=lo, maxi=hi)
        column[name][:] = dist.unit_transform(unit_of[name])

    lo, hi = BOX["logzsol"]
    mean, sigma = priors.MassMet.metallicity_mean_sigma(column["logmass"])
    dist = priors.TruncatedNormal(mean=mean, sigma=sigma * widen, mini=lo, maxi=hi)
    column["logzsol"][:] = dist.unit_transform(unit_of["logzsol"])

    if fat:
        # A uniform parameter stays uniform under this mixture, so it needs no exception.
        bounds = recipe.bounds
        flat = bounds[:, 0] + rng.random(theta.shape) * np.diff(bounds, axis=1).T
        pick = rng.random(theta.shape) < recipe.uniform_fraction
        theta = np.where(pick, flat, theta)
    return theta
