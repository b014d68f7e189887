"""Fetch the files of a checkpoint from the Hugging Face hub, or find them in its cache."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from semcorr.errors import ModelError
from semcorr.progress import Progress

# The common ancestor of every failed request, whichever HTTP library the hub's client is built on.
_HTTP_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]


class RequiredFiles(ABC):
    """The files that one kind of checkpoint needs of its repository."""

    alternative: ClassVar[str]
    """What a user without a copy and without a network can do instead; part of a sentence."""

    @abstractmethod
    def choose(self, repo_id: str, names: Collection[str]) -> list[str]:
        """Return the files to download, weights last; raise ``ModelError`` if the repository lacks one."""

    @abstractmethod
    def missing(self, folder: Path) -> str:
        """Return what a folder lacks, or an empty string if it is complete."""

    def check(self, folder: Path, repo_id: str) -> None:  # noqa: B027  # nothing to check by default
        """Raise ``ModelError`` if a checkpoint of these configuration files is not supported.

        Called before the weights are downloaded, to save gigabytes.
        """


def fetch(
    repo_id: str,
    required: RequiredFiles,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return the folder in the hub's cache that holds the required files of a repository; its name is the commit.

    A cached copy is used without asking the hub for a newer one; pass a revision for that. Otherwise the required
    files are downloaded, and no others. ``progress`` is called with ("download", bytes done, bytes in all, file=name).

    Raises:
        ModelError: The repository or revision does not exist, lacks a file, requires a login, or is neither cached
            nor within reach.
    """
    folder = cached(repo_id, required, revision=revision)
    if folder is not None:
        return folder
    if local_files_only:
        raise _out_of_reach(repo_id, revision, required, "no download was allowed (local_files_only)")
    if constants.HF_HUB_OFFLINE:
        raise _out_of_reach(repo_id, revision, required, "HF_HUB_OFFLINE is set")
    try:
        return _download(repo_id, revision, required, progress)
    except GatedRepoError as error:
        raise ModelError(
            f"{repo_id} requires its licence to be accepted and a login: accept it on {constants.ENDPOINT}/{repo_id}, "
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
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise _out_of_reach(repo_id, revision, required, f"{type(error).__name__}: {reason}") from error


def cached(repo_id: str, required: RequiredFiles, *, revision: str | None = None) -> Path | None:
    """Return the folder in the hub's cache that holds all required files of a repository; None if there is none."""
    folder = _cached_folder(repo_id, revision)
    # An interrupted download leaves a folder too.
    return None if folder is None or required.missing(folder) else folder


def _cached_folder(repo_id: str, revision: str | None) -> Path | None:
    try:
        # No pattern: whether the folder is complete depends on the variant, which the client does not know.
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=[], local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _download(repo_id: str, revision: str | None, required: RequiredFiles, progress: Progress | None) -> Path:
    """Download file by file.

    ``snapshot_download`` would list the repository again for each call, start on weights before their configuration
    was checked, report bytes without the names of files, and finish other files before a cancellation is noticed.
    """
    listing = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=30)
    sizes = {file.rfilename: file.size or 0 for file in listing.siblings or ()}
    names = required.choose(repo_id, sizes)
    weights = [name for name in names if name.endswith(".safetensors")]
    done, total = 0, sum(sizes[name] for name in names)
    for name in names:
        if name in weights[:1] and (folder := _cached_folder(repo_id, revision)) is not None:
            required.check(folder, repo_id)
        before, size = done, sizes[name]

        def report(count: int, name: str = name, before: int = before, size: int = size) -> None:
            if progress is not None:
                progress("download", before + min(count, size), total, file=name)

        report(0)
        # By the revision's own name, not by its commit, so that the cache knows what the name means.
        hf_hub_download(repo_id, name, revision=revision, tqdm_class=_reporting_bar(report))
        report(size)
        done += size
    folder = _cached_folder(repo_id, revision)
    reason = "it is not in the cache" if folder is None else required.missing(folder)
    if folder is None or reason:
        raise ModelError(f"{repo_id} changed while it was being downloaded ({reason}); try again.")
    return folder


def _out_of_reach(repo_id: str, revision: str | None, required: RequiredFiles, reason: str) -> ModelError:
    name = repo_id if revision is None else f"{repo_id} at revision {revision}"
    return ModelError(
        f"The checkpoint {name} is not on this machine and could not be downloaded.\n"
        f"Searched the cache {constants.HF_HUB_CACHE}, then {constants.ENDPOINT}: {reason}.\n"
        f"Run once where there is a network (the cache can be copied), or {required.alternative}."
    )


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
