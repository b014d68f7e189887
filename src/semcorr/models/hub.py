"""Fetch the needed files of a checkpoint from the Hugging Face hub, or find them in its cache."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
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

from semcorr.errors import ModelError
from semcorr.progress import Progress

# The common ancestor of every failed request, whichever HTTP library the hub's client is built on.
_HTTP_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What of a repository is needed.

    Attributes:
        marker: a file of every such repository; where the cache has it, there is the copy.
        choose: names the files to download, given the repository's id and all its file names; weights last, because
            with them a copy counts as complete. Raises ``ModelError`` when something is lacking.
        missing: says what a folder lacks; an empty string when it is complete.
        otherwise: what else a person can do who has neither a copy nor a network; a part of a sentence.
        accept: called with the folder and the repository's id when all but the weights is there; raises ``ModelError``
            where these could not be used, so that gigabytes are not downloaded in vain.
    """

    marker: str
    choose: Callable[[str, Collection[str]], list[str]]
    missing: Callable[[Path], str]
    otherwise: str
    accept: Callable[[Path, str], None] = lambda folder, repo_id: None  # noqa: ARG005


def fetch(
    repo_id: str,
    needed: Needed,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return the folder, in the hub's cache, that holds what is needed of a repository; its name is the commit.

    A copy in the cache is used without asking the hub whether there is a newer one; name a revision for
    that. Otherwise what is needed is downloaded, and nothing else of the repository. ``progress`` is told
    ("download", bytes done, bytes in all, file=name).

    Raises:
        ModelError: there is no such repository or revision, it lacks something, it wants a login, or it is
            neither in the cache nor within reach.
    """
    cached = _in_cache(repo_id, revision, needed)
    if cached is not None:
        return cached
    if local_files_only:
        raise _out_of_reach(repo_id, revision, needed, "no download was allowed (local_files_only)")
    if constants.HF_HUB_OFFLINE:
        raise _out_of_reach(repo_id, revision, needed, "HF_HUB_OFFLINE is set")
    try:
        return _download(repo_id, revision, needed, progress)
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
        raise _out_of_reach(repo_id, revision, needed, f"{type(error).__name__}: {_first_line(error)}") from error


def _in_cache(repo_id: str, revision: str | None, needed: Needed) -> Path | None:
    try:
        found = try_to_load_from_cache(repo_id, needed.marker, revision=revision)
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = _root(found, needed.marker)
    # A download that was broken off leaves a folder too.
    return None if needed.missing(folder) else folder


def _download(repo_id: str, revision: str | None, needed: Needed, progress: Progress | None) -> Path:
    listing = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=30)
    sizes = {file.rfilename: file.size or 0 for file in listing.siblings or ()}
    files = needed.choose(repo_id, sizes)
    done, total = 0, sum(sizes[name] for name in files)
    folder, first = Path(), next((name for name in files if name.endswith(".safetensors")), "")
    for name in files:
        if name == first and done:
            needed.accept(folder, repo_id)
        before, size = done, sizes[name]

        def report(read: int, name: str = name, before: int = before, size: int = size) -> None:
            if progress is not None:
                progress("download", before + min(read, size), total, file=name)

        report(0)
        # By the revision's own name, not by its commit, so that the cache learns what the name means.
        path = hf_hub_download(repo_id, name, revision=revision, tqdm_class=_reporting_bar(report))
        report(size)
        done += size
        folder = _root(path, name)
    reason = needed.missing(folder)
    if reason:
        raise ModelError(f"{repo_id} changed while it was being downloaded ({reason}); try again.")
    return folder


def _root(file: str, name: str) -> Path:
    """The folder below which a file is called ``name``."""
    return Path(file).parents[name.count("/")]


def _out_of_reach(repo_id: str, revision: str | None, needed: Needed, reason: str) -> ModelError:
    wanted = repo_id if revision is None else f"{repo_id} at revision {revision}"
    return ModelError(
        f"The checkpoint {wanted} is not on this machine and could not be downloaded.\n"
        f"Looked in the cache {constants.HF_HUB_CACHE}, then at {constants.ENDPOINT}: {reason}.\n"
        f"Run once where there is a network (the cache can be copied), or {needed.otherwise}."
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
