"""The five fields of 3D-HST: catalog columns, sedpy filters, and what stands in for what.

Column names are those of Skelton et al. (2014), catalogs v4.1 (UDS: v4.2), in
lower case and without ``f_`` and ``e_``.
"""

from dataclasses import dataclass

_IRAC = {f"irac{i}": f"spitzer_irac_ch{i}" for i in (1, 2, 3, 4)}
_MIPS = {"mips_24um": "spitzer_mips_24"}
_WFC3 = {f"f{n}w": f"wfc3_ir_f{n}w" for n in (125, 140, 160)}
_NEWFIRM = {b: f"mayall_newfirm_{b.upper()}" for b in ("j1", "j2", "j3", "h1", "h2", "k")}
_WIRCAM = {"j": "cfht_wircam_J_8101", "h": "cfht_wircam_H_8201", "ks": "cfht_wircam_Ks_8302"}
_MEGACAM = {
    "u": "cfht_megacam_us_9301",
    "g": "cfht_megacam_gs_9401",
    "r": "cfht_megacam_rs_9601",
    "i": "cfht_megacam_is_9701",
    "z": "cfht_megacam_zs_9801",
}


def _medium(*names):
    return {f"ia{n}": f"subaru_suprimecam_ia{n}" for n in names}


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes
    ----------
    name : str
    bands : dict
        Catalog band -> sedpy filter, in the order of the photometry.
    twins : dict
        Catalog band -> another one through the same filter: their
        inverse-variance mean is the photometry of the former.
    substitutions : tuple of str
        Where a filter is not the catalog's own, and which it stands in for.
    """

    name: str
    bands: dict
    twins: dict
    substitutions: tuple = ()

    @property
    def columns(self):
        """Catalog bands that the photometry file must or may have."""
        return (*self.bands, *self.twins.values())


COSMOS = Field(
    "cosmos",
    {
        "f160w": "wfc3_ir_f160w", "u": "cfht_megacam_us_9301", "b": "subaru_suprimecam_B",
        "g": "cfht_megacam_gs_9401", "v": "subaru_suprimecam_V", "f606w": "acs_wfc_f606w",
        "r": "cfht_megacam_rs_9601", "rp": "subaru_suprimecam_rp", "i": "cfht_megacam_is_9701",
        "ip": "subaru_suprimecam_ip", "f814w": "acs_wfc_f814w", "z": "cfht_megacam_zs_9801",
        "zp": "subaru_suprimecam_zp", "uvista_y": "vista_vircam_Y", "f125w": "wfc3_ir_f125w",
        "j1": "mayall_newfirm_J1", "j2": "mayall_newfirm_J2", "j3": "mayall_newfirm_J3",
        "j": "cfht_wircam_J_8101", "uvista_j": "vista_vircam_J", "f140w": "wfc3_ir_f140w",
        "h1": "mayall_newfirm_H1", "h2": "mayall_newfirm_H2", "h": "cfht_wircam_H_8201",
        "uvista_h": "vista_vircam_H", "k": "mayall_newfirm_K", "ks": "cfht_wircam_Ks_8302",
        "uvista_ks": "vista_vircam_Ks", **_IRAC,
        **_medium(427, 464, 484, 505, 527, 574, 624, 679, 709, 738, 767, 827), **_MIPS,
    },
    {},
)  # fmt: skip

AEGIS = Field(
    "aegis",
    {
        **_MEGACAM, "f606w": "acs_wfc_f606w", "f814w": "acs_wfc_f814w",
        **_WFC3, **_NEWFIRM, **_WIRCAM, **_IRAC, **_MIPS,
    },
    {},
    ("i: CFHTLS observed with two i filters; the first, cfht_megacam_is_9701, stands for both",),
)  # fmt: skip

GOODSN = Field(
    "goodsn",
    {
        "u": "mayall_mosaic_U_k1001", "f435w": "acs_wfc_f435w", "b": "subaru_suprimecam_B",
        "g": "keck_lris_g", "v": "subaru_suprimecam_V", "f606w": "acs_wfc_f606w",
        "r": "subaru_suprimecam_Rc", "rs": "keck_lris_Rs", "i": "subaru_suprimecam_ip",
        "f775w": "acs_wfc_f775w", "z": "subaru_suprimecam_zp", "f850lp": "acs_wfc_f850lp", **_WFC3,
        "j": "subaru_moircs_J", "h": "subaru_moircs_H", "ks": "subaru_moircs_Ks", **_IRAC, **_MIPS,
    },
    {},
    ("i: observed through Subaru's Ic, which sedpy lacks; subaru_suprimecam_ip stands in",),
)  # fmt: skip

GOODSS = Field(
    "goodss",
    {
        "u38": "mpgeso_wfi_U38_eso841", "u": "vlt_vimos_U", "f435w": "acs_wfc_f435w",
        "b": "mpgeso_wfi_B_eso842", "v": "mpgeso_wfi_V_eso843", "f606w": "acs_wfc_f606w",
        "r": "vlt_vimos_R", "rc": "mpgeso_wfi_Rc_eso844", "f775w": "acs_wfc_f775w",
        "i": "mpgeso_wfi_Ic_eso845", "f814wcand": "acs_wfc_f814w", "f850lp": "acs_wfc_f850lp",
        **_WFC3, "j": "vlt_isaac_J", "tenisj": "cfht_wircam_J_8101", "h": "vlt_isaac_H",
        "tenisk": "cfht_wircam_Ks_8302", "ks": "vlt_isaac_Ks", **_IRAC,
        **_medium(427, 445, 505, 527, 550, 574, 598, 624, 651, 679, 738, 767, 797, 856), **_MIPS,
    },
    {"f606w": "f606wcand", "f850lp": "f850lpcand"},
    (
        "f606w, f850lp: GOODS and CANDELS exposures through one filter each; fitted is their "
        "inverse-variance mean",
    ),
)  # fmt: skip

UDS = Field(
    "uds",
    {
        "u": "cfht_megacam_us_9301", "b": "subaru_suprimecam_B", "v": "subaru_suprimecam_V",
        "f606w": "acs_wfc_f606w", "r": "subaru_suprimecam_Rc", "i": "subaru_suprimecam_ip",
        "f814w": "acs_wfc_f814w", "z": "subaru_suprimecam_zp", **_WFC3, "j": "ukirt_wfcam_J",
        "h": "ukirt_wfcam_H", "k": "ukirt_wfcam_K", **_IRAC, **_MIPS,
    },
    {},
    (
        "u: the CFHT u exposures of UDS are unpublished; the Megacam u filter in use then, "
        "cfht_megacam_us_9301, is taken",
    ),
)  # fmt: skip

FIELDS = {f.name: f for f in (COSMOS, AEGIS, GOODSN, GOODSS, UDS)}

# Bands that are not in every release of a catalog; others must be there.
OPTIONAL = frozenset(_MIPS)
SPACE_PREFIXES = ("acs_", "wfc3_", "spitzer_")
