"""Complete settings: as in the paper's text, as in its authors' code, and a fast variant.

Each is a function of the model's family, since layers and optimization numbers belong to the pair of model and preset.
"""

from collections.abc import Callable

from semcorr.errors import SettingsError, suggest
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.models.diffusion import FAMILIES, Family
from semcorr.settings import override

# With frozen queries every crop takes a pass of the network, and nothing else does.
_FAST: dict[str, object] = {
    "queries": "frozen",
    "start": "least_squares",
    "optimize_crops": 8,
    "locate_crops": 6,
    "rounds": 1,
    "steps": 20,
    "lr": 0.03,
    "peak": "parabola",
}


def paper(family: str = "sd1") -> PromptSettings:
    """The method as the paper's text describes it (sections 3 and 4).

    Gaussian noise, the same diffusion step in both stages, all heads, crops that merely contain the point, the mean
    map against one Gaussian, layers fused by their mean. Numbers that the text does not give (learning rate, sigma,
    crop size, repetitions) are those of the authors' code; family ``"toy"`` has its own. 12 crops, each with its
    noise, are drawn for an image and shared by its points and rounds, since encoding one costs about as much as a step.
    """
    own = _family(family)
    return override(PromptSettings(layers=own.layers, optimize_crops=12, optimize_noise="shared"), **own.prompt)


def reference(family: str = "sd1") -> PromptSettings:
    """The authors' released code with its deviations from the text; the published figures come from it.

    Uniform noise, step 3 while locating, the upper half of the heads, a crop margin of 15 %, one comparison for
    each layer, softmax over pixels before layers are averaged, the target Gaussian on integer pixel centres, a fresh
    crop at every step.
    """
    return override(
        paper(family),
        noise="uniform",
        locate_step=3,
        heads="upper_half",
        crop_margin=0.15,
        loss="per_layer",
        fusion="softmax",
        pixel_centre=0.0,
        optimize_crops=None,
        optimize_noise="fresh",
    )


def fast(family: str = "sd1") -> PromptSettings:
    """``paper`` with frozen queries: the network runs once a crop, whatever the number of points, rounds and steps.

    Peaks are finer than a cell, by a parabola: no worse on validation drawings
    (``python -m benchmarks.peak_refinement``).
    Its numbers were chosen on the toy world, not all of them on validation drawings alone (``docs/performance.md``); no
    checkpoint for photographs has been measured.
    """
    return override(paper(family), **{**_FAST, **_family(family).fast})


PRESETS: dict[str, Callable[[str], PromptSettings]] = {"paper": paper, "reference": reference, "fast": fast}
"""The presets by name; each takes the name of a model's family, such as "sd1"."""


def preset(name: str, family: str = "sd1") -> PromptSettings:
    """Return the settings of a preset for a model family.

    Raises:
        SettingsError: no such preset, or no such family.
    """
    if name not in PRESETS:
        raise SettingsError(f"Unknown preset {name!r}.{suggest(name, PRESETS)} Presets are: {', '.join(PRESETS)}.")
    return PRESETS[name](family)


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise SettingsError(
            f"Unknown model family {name!r}.{suggest(name, FAMILIES)} Families are: {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]
