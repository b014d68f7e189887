"""Fetch the needed files of a checkpoint from the Hugging Face hub, or find them in its cache."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from semcorr.diffusion.folder import WEIGHT_STEMS, missing
from semcorr.diffusion.parts import choose_weights
from semcorr.errors import ModelError
from semcorr.progress import Progress

NETWORK = ("unet", "vae")
# Small files that say how the network is to be used; a repository may lack any of them.
_NOTES = (
    "model_index.json",
    "semcorr.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
)
# The common ancestor of every failed request, whichever HTTP library the hub's client is built on.
_HTTP_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]


def fetch(
    repo_id: str,
    *,
    revision: str | None = None,
    parts: Sequence[str] = NETWORK,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return the folder, in the hub's cache, that holds ``parts`` of a repository; its name is the commit.

    A copy in the cache is used without asking the hub whether there is a newer one; name a revision for
    that. Otherwise the configuration and the safetensors weights of the parts are downloaded, and nothing
    else of the repository. ``progress`` is told ("download", bytes done, bytes in all, file=name).

    Raises:
        ModelError: there is no such repository or revision, it lacks a part, it wants a login, or it is
            neither in the cache nor within reach.
    """
    cached = _in_cache(repo_id, revision, parts)
    if cached is not None:
        return cached
    if local_files_only:
        raise _out_of_reach(repo_id, revision, "no download was allowed (local_files_only)")
    if constants.HF_HUB_OFFLINE:
        raise _out_of_reach(repo_id, revision, "HF_HUB_OFFLINE is set")
    try:
        return _download(repo_id, revision, parts, progress)
    except GatedRepoError as error:
        raise ModelError(
            f"{repo_id} wants its licence accepted and a login: accept it on {constants.ENDPOINT}/{repo_id}, "
            "then run 'hf auth login' or set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{repo_id} has no revision {revision!r} at {constants.ENDPOINT}.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"Unknown model {repo_id!r}: there is no such public repository at {constants.ENDPOINT}. "
            "Check the spelling, or set HF_TOKEN for a private one."
        ) from error
    except (OSError, EntryNotFoundError, _HTTP_ERROR) as error:
        raise _out_of_reach(repo_id, revision, f"{type(error).__name__}: {_first_line(error)}") from error


def _in_cache(repo_id: str, revision: str | None, parts: Sequence[str]) -> Path | None:
    try:
        found = try_to_load_from_cache(repo_id, "unet/config.json", revision=revision)
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent.parent
    # A download that was broken off leaves a folder too.
    return None if any(missing(folder, part) for part in parts) else folder


def _download(repo_id: str, revision: str | None, parts: Sequence[str], progress: Progress | None) -> Path:
    listing = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=30)
    sizes = {file.rfilename: file.size or 0 for file in listing.siblings or ()}
    files = _needed(repo_id, sizes, parts)
    done, total = 0, sum(sizes[name] for name in files)
    for name in files:
        before, size = done, sizes[name]

        def report(read: int, name: str = name, before: int = before, size: int = size) -> None:
            if progress is not None:
                progress("download", before + min(read, size), total, file=name)

        report(0)
        # By the revision's own name, not by its commit, so that the cache learns what the name means.
        path = hf_hub_download(repo_id, name, revision=revision, tqdm_class=_reporting_bar(report))
        report(size)
        done += size
    folder = Path(path).parents[name.count("/")]
    reasons = [reason for reason in (missing(folder, part) for part in parts) if reason]
    if reasons:
        raise ModelError(f"{repo_id} changed while it was being downloaded ({reasons[0]}); try again.")
    return folder


def _needed(repo_id: str, names: Any, parts: Sequence[str]) -> list[str]:
    """Choose the files of a repository to download: weights last, because with them a copy counts as complete."""
    small = [name for name in _NOTES if name in names]
    large: list[str] = []
    for part in parts:
        inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
        if part not in WEIGHT_STEMS:
            small += [f"{part}/{name}" for name in inside if name.endswith((".json", ".txt", ".model"))]
            continue
        chosen = choose_weights(inside, WEIGHT_STEMS[part])
        if chosen is None or "config.json" not in inside:
            raise ModelError(_lacking(repo_id, part, inside))
        small.append(f"{part}/config.json")
        large += [f"{part}/{name}" for name in chosen[1]]
    return [*dict.fromkeys(small), *large]


def _lacking(repo_id: str, part: str, inside: Sequence[str]) -> str:
    if any(name.endswith((".bin", ".ckpt")) for name in inside):
        return (
            f"{repo_id} has the weights of its {part} only as a pickle, which can run any code when it is read; "
            "only safetensors are. Ask for a revision that has them, or use another copy of the model."
        )
    return (
        f"{repo_id} is not a Stable Diffusion checkpoint as diffusers saves it: it has no {part}/ with "
        "config.json and safetensors weights. Expected Stable Diffusion 1.x, 2.x or SDXL."
    )


def _out_of_reach(repo_id: str, revision: str | None, reason: str) -> ModelError:
    wanted = repo_id if revision is None else f"{repo_id} at revision {revision}"
    return ModelError(
        f"The checkpoint {wanted} is not on this machine and could not be downloaded.\n"
        f"Looked in the cache {constants.HF_HUB_CACHE}, then at {constants.ENDPOINT}: {reason}.\n"
        f"Run once where there is a network (the cache can be copied), or pass a folder or .safetensors file "
        "that you have; to try semcorr without a download use the bundled model 'toy'."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def _reporting_bar(report: Callable[[int], None]) -> type[tqdm]:
    """Make a progress bar class that draws nothing and reports the most that any of its bars has reached.

    The client makes one bar for a plain download and two for one through its chunk store.
    """
    reached = 0

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal reached
            self.n += n or 0
            if self.n > reached:
                reached = int(self.n)
                report(reached)
            return None

    return Bar
