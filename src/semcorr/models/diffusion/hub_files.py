"""The files of a hub repository that make a diffusion checkpoint."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from semcorr.errors import ModelError
from semcorr.models.diffusion.kinds import SUPPORTED
from semcorr.models.diffusion.load_folder import WEIGHT_STEMS, check_folder, missing, missing_in, network_part
from semcorr.models.hub import RequiredFiles
from semcorr.models.names import PICKLED
from semcorr.models.weights import choose_weights, how_to_choose

# Small files that say how the network is used; a repository may lack any of them.
_CONFIGS = (
    "model_index.json",
    "semcorr.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
)


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles(RequiredFiles):
    """The configuration and safetensors weights of some parts, and the files that say how they are used.

    ``parts`` are folders of the repository besides those of the network and VAE, ``variant`` the preferred variant of
    their files.
    """

    alternative: ClassVar[str] = (
        "pass a folder or .safetensors file that you have; to try semcorr on drawings, without a download, "
        "use the bundled model 'toy' (--model toy)"
    )
    parts: Sequence[str] = ()
    variant: str | None = None

    def missing(self, folder: Path) -> str:
        """Return what a folder lacks, or an empty string if it is complete."""
        parts = self._all_parts(one.name for one in folder.iterdir())
        return next((reason for part in parts if (reason := missing(folder, part, self.variant))), "")

    def _all_parts(self, names: Iterable[str]) -> list[str]:
        return [network_part(names), "vae", *self.parts]

    def check(self, folder: Path, repo_id: str) -> None:
        """Raise ``ModelError`` if the network is of an unsupported kind."""
        check_folder(folder, repo_id)

    def choose(self, repo_id: str, names: Collection[str]) -> list[str]:
        """Return the files to download, weights last; raise ``ModelError`` if the repository lacks one."""
        small = [name for name in _CONFIGS if name in names]
        large: list[str] = []
        for part in self._all_parts(names):
            inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
            if part not in WEIGHT_STEMS:
                small += [f"{part}/{name}" for name in inside if name.endswith((".json", ".txt", ".model", ".jinja"))]
                continue
            reason = missing_in(inside or None, part, self.variant)
            if reason:
                raise ModelError(_incomplete(repo_id, part, inside, reason))
            small.append(f"{part}/config.json")
            large += [f"{part}/{name}" for name in choose_weights(inside, WEIGHT_STEMS[part], self.variant)[1]]
        return [*dict.fromkeys(small), *large]


def _incomplete(repo_id: str, part: str, inside: Sequence[str], reason: str) -> str:
    if " variant " in reason:
        return f"{repo_id} cannot be loaded as it is: {reason}. {how_to_choose(reason)}".rstrip()
    if any(name.endswith(PICKLED) for name in inside):
        return (
            f"{repo_id} has the weights of its {part} only as a pickle, which can run any code when it is read; "
            "only safetensors are read. Use a revision that has them, or another copy of the model."
        )
    return (
        f"{repo_id} is not a diffusion checkpoint as diffusers saves it: it has no {part}/ with "
        f"config.json and safetensors weights ({reason}). {SUPPORTED}; other "
        "transformers, Stable Cascade, adapters and single parts are not supported."
    )
