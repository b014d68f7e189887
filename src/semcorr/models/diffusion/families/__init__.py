"""The families of diffusion networks: a new one is a file here and a line below."""

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers

from semcorr.models.diffusion.families.family import Chat, Family, TextPart
from semcorr.models.diffusion.families.flux import FLUX_DEV, FLUX_SCHNELL
from semcorr.models.diffusion.families.flux2 import FLUX2_DEV, FLUX2_KLEIN
from semcorr.models.diffusion.families.hunyuan_dit import HUNYUAN_DIT
from semcorr.models.diffusion.families.lumina2 import LUMINA2
from semcorr.models.diffusion.families.pixart import PIXART_ALPHA, PIXART_SIGMA
from semcorr.models.diffusion.families.sana import SANA, SANA_SPRINT
from semcorr.models.diffusion.families.sd3 import SD3
from semcorr.models.diffusion.families.stable_diffusion import SD1, SD2, SDXL
from semcorr.models.diffusion.families.toy import TOY, TOY_TRANSFORMER

__all__ = ["FAMILIES", "SD1", "TRANSFORMERS", "Chat", "Family", "TextPart", "family_of"]

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        *(SD1, SD2, SDXL, TOY, TOY_TRANSFORMER),
        *(PIXART_ALPHA, PIXART_SIGMA, SANA, SANA_SPRINT, HUNYUAN_DIT),
        *(SD3, FLUX_DEV, FLUX_SCHNELL, FLUX2_DEV, FLUX2_KLEIN, LUMINA2),
    )
}
"""By name."""

TRANSFORMERS = frozenset(family.network for family in FAMILIES.values()) - {SD1.network}
"""Classes of diffusers that are supported beside the U-Net."""


def family_of(config: Mapping[str, Any], pipeline: object = None, mark: object = None) -> Family | None:
    """Return the family of a network's configuration; None if its class is of none.

    ``mark`` is the family that a folder's ``semcorr.json`` names: that of a network which was trained here.

    Of U-Nets only SDXL's adds pooled text and sizes to the time embedding; only from Stable Diffusion 2 on are the
    projections around the attention linear. Families that share a transformer differ by values of their
    configuration, in which those are often missing that are the class's own, or by the class of their pipeline; the
    last of them is then that of an unknown one.
    """
    kind = config.get("_class_name", SD1.network)
    marked = FAMILIES.get(str(mark))
    if marked and marked.marked and marked.network == kind:
        return marked
    if kind == SD1.network:
        if config.get("addition_embed_type") == "text_time":
            return SDXL
        return SD2 if config.get("use_linear_projection") else SD1
    families = [
        family
        for family in FAMILIES.values()
        if family.network == kind
        and not family.marked
        and all(config.get(key, _default(kind, key)) == value for key, value in family.traits.items())
    ]
    named = [family for family in families if pipeline in family.pipelines]
    return next(reversed(named or families), None)


def _default(kind: str, key: str) -> object:
    """Return what a class of diffusers takes for a value that its configuration lacks."""
    return inspect.signature(getattr(diffusers, kind).__init__).parameters[key].default
