"""What is supported of each family of diffusion networks, what is read by default, and what that was tested on."""

from dataclasses import dataclass

from semcorr.matchers.features.dift import DiftMatcher, published
from semcorr.matchers.prompt import preset
from semcorr.models.diffusion import FAMILIES


@dataclass(frozen=True, kw_only=True)
class FamilySupport:
    """One family; :class:`semcorr.models.diffusion.Family` has what is not explained here.

    Attributes:
        name, title, network: Its name, its name for people, and the class of diffusers.
        supported: What works on it: methods, "frozen queries" (the preset ``fast``), "words" and "regions".
        start: Where the embeddings of ``fast`` start: "least_squares" (in closed form) or "random".
        layers: Rules that select the cross-attention layers that are read by default.
        block: Block that DIFT reads by default.
        sources: Where these come from.
        tested: What its tests run on.
        trained: Whether it was ever run here with trained weights.
    """

    name: str
    title: str
    network: str
    supported: tuple[str, ...]
    start: str
    layers: tuple[str, ...]
    block: int
    sources: str
    tested: str
    trained: bool


def family_support() -> tuple[FamilySupport, ...]:
    """Return all families. What they support is read from the presets and methods themselves."""
    return tuple(_support(name) for name in FAMILIES)


def _support(name: str) -> FamilySupport:
    family, fast = FAMILIES[name], preset("fast", name)
    works = {
        "prompt": True,
        "frozen queries": fast.queries == "frozen",
        "words": bool(family.text),
        "dift": True,
        "regions": DiftMatcher.capabilities.regions,
    }
    return FamilySupport(
        name=name,
        title=family.title,
        network=family.network,
        supported=tuple(what for what, does in works.items() if does),
        start=fast.start,
        layers=preset("paper", name).layers,
        block=published(name).block,
        sources=family.sources,
        tested=family.tested,
        trained=family.trained,
    )
