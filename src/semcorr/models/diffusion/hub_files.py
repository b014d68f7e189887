"""Which files of a hub repository make a Stable Diffusion checkpoint."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from semcorr.errors import ModelError
from semcorr.models.diffusion.kinds import SUPPORTED
from semcorr.models.diffusion.load_folder import WEIGHT_STEMS, check_folder, lacking, missing
from semcorr.models.hub import Needed
from semcorr.models.weights import PICKLED, choose_weights, how_to_choose

NETWORK = ("unet", "vae")
# Small files that say how the network is to be used; a repository may lack any of them.
_NOTES = (
    "model_index.json",
    "semcorr.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
)


def needed(parts: Sequence[str] = NETWORK, variant: str | None = None) -> Needed:
    """The configuration and safetensors weights of ``parts``, and what says how they are to be used."""
    return Needed(
        marker="unet/config.json",
        choose=partial(_choose, parts, variant),
        missing=partial(_missing, parts, variant),
        accept=check_folder,
        otherwise="pass a folder or .safetensors file that you have; to try semcorr on drawings, without a download, "
        "use the bundled model 'toy' (--model toy)",
    )


def _missing(parts: Sequence[str], variant: str | None, folder: Path) -> str:
    return next((reason for reason in (missing(folder, part, variant) for part in parts) if reason), "")


def _choose(parts: Sequence[str], variant: str | None, repo_id: str, names: Collection[str]) -> list[str]:
    small = [name for name in _NOTES if name in names]
    large: list[str] = []
    for part in parts:
        inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
        if part not in WEIGHT_STEMS:
            small += [f"{part}/{name}" for name in inside if name.endswith((".json", ".txt", ".model"))]
            continue
        _, weights = choose_weights(inside, WEIGHT_STEMS[part], variant)
        reason = lacking(inside or None, part, variant)
        if reason:
            raise ModelError(_lacking(repo_id, part, inside, reason))
        small.append(f"{part}/config.json")
        large += [f"{part}/{name}" for name in weights]
    return [*dict.fromkeys(small), *large]


def _lacking(repo_id: str, part: str, inside: Sequence[str], reason: str) -> str:
    if " variant " in reason:
        return f"{repo_id} cannot be loaded as it is: {reason}. {how_to_choose(reason)}".rstrip()
    if any(name.endswith(PICKLED) for name in inside):
        return (
            f"{repo_id} has the weights of its {part} only as a pickle, which can run any code when it is read; "
            "only safetensors are. Ask for a revision that has them, or use another copy of the model."
        )
    return (
        f"{repo_id} is not a Stable Diffusion checkpoint as diffusers saves it: it has no {part}/ with "
        f"config.json and safetensors weights ({reason}). {SUPPORTED}; Stable Diffusion 3, Flux, PixArt and other "
        "transformers, Stable Cascade, adapters and single parts are not supported."
    )
