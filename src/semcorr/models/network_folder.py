"""Find a network that one configuration and one set of weights make: in a folder, or in a repository of the hub."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from semcorr.errors import ModelError
from semcorr.models import hub
from semcorr.models.fingerprint import fingerprint
from semcorr.models.names import PICKLED, is_hub_id, is_path_like, split_variant, with_variant
from semcorr.models.weights import (
    as_model_error,
    choose_weights,
    folder_weights,
    how_to_choose,
    lacking_weights,
    pickle_message,
    read_json,
    variants,
)
from semcorr.progress import Progress
from semcorr.storage.files import exists

STEM = "model"
"""File name of the weights, without variant and suffix."""

_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class NetworkKind:
    """What a user is to pass.

    Attributes:
        name: In a few words, such as "vision model".
        layout: The network and who saves it so, such as "a vision transformer as transformers saves it".
        expected: A sentence with examples of names.
        check: Raises ``ModelError`` if a configuration, of the model of this name, is of another kind.
    """

    name: str
    layout: str
    expected: str
    check: Callable[[Mapping[str, Any], str], object]


@dataclass(frozen=True, kw_only=True)
class NetworkFolder:
    """A folder with everything that a network is loaded from.

    Attributes:
        path: The folder.
        model_id: The name that it was found by.
        revision: Commit of a hub id, or None.
        variant: Variant of the file with the weights, such as "bf16".
        config, preprocessor: ``config.json``; ``preprocessor_config.json``, empty if there is none.
    """

    path: Path
    model_id: str
    revision: str | None
    variant: str | None
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]

    def weights(self) -> list[Path]:
        """Return the files of the weights."""
        names = folder_weights(self.path, STEM, self.variant)[1]
        return [self.path / name for name in names if name.endswith(".safetensors")]

    def fingerprint(self, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
        """Return a hash of the configuration, of the colours and of the weights."""
        # The version that wrote the file is no property of the network.
        stable = {key: value for key, value in self.config.items() if key != "transformers_version"}
        return fingerprint([stable, {"image_mean": mean, "image_std": std}], self.weights())


def find_network(
    model: str | Path,
    kind: NetworkKind,
    *,
    revision: str | None = None,
    variant: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> NetworkFolder:
    """Return the folder of a network; a hub id is downloaded if it is not cached.

    Args:
        model: A folder, or a hub id, of which a folder of the same name takes precedence; a colon and a variant may
            follow.
        kind: What is expected.
        revision: Branch, tag or commit of a hub id.
        variant: Variant of the files, such as "bf16"; the same as after the colon.
        local_files_only: Use only files on this machine.
        progress: Called with ("download", bytes done, bytes in all, file=name) while files are downloaded.

    Raises:
        ModelError: The name means nothing, or the files are missing, pickled, out of reach or of another kind.
    """
    full = str(with_variant(model, variant))
    name, variant = split_variant(full)
    required = NetworkFiles(kind, variant)
    path, commit = Path(name).expanduser(), None
    if exists(path):
        _check_folder(path, name, revision)
        if reason := required.missing(path):
            raise ModelError(_incomplete(path, full, reason, kind))
    elif isinstance(model, Path) or is_path_like(name):
        raise ModelError(f"There is no model at {name!r}: no such folder.\n{kind.expected}")
    elif not is_hub_id(name):
        raise ModelError(f"Unknown {kind.name} {name!r}.\n{kind.expected}")
    else:
        path = hub.fetch(name, required, revision=revision, local_files_only=local_files_only, progress=progress)
        commit = path.name
    with as_model_error("configuration", full):
        config, preprocessor = read_json(path / _CONFIG), read_json(path / _PREPROCESSOR)
    kind.check(config, full)
    return NetworkFolder(
        path=path, model_id=full, revision=commit, variant=variant, config=config, preprocessor=preprocessor
    )


@dataclass(frozen=True)
class NetworkFiles(hub.RequiredFiles):
    """The configuration and safetensors weights of a network of some kind, in a variant if one is given."""

    alternative: ClassVar[str] = "pass a folder that you have"
    kind: NetworkKind
    variant: str | None = None

    def missing(self, folder: Path) -> str:
        """Return what a folder lacks, or an empty string if it is complete."""
        return self._missing_in([file.name for file in folder.iterdir()])

    def choose(self, repo_id: str, names: Collection[str]) -> list[str]:
        """Return the files to download, weights last; raise ``ModelError`` if the repository lacks one."""
        reason = self._missing_in(names)
        if reason:
            raise ModelError(_incomplete(None, repo_id, reason, self.kind))
        configs = [name for name in (_CONFIG, _PREPROCESSOR) if name in names]
        return configs + choose_weights(names, STEM, self.variant)[1]

    def check(self, folder: Path, repo_id: str) -> None:
        """Raise ``ModelError`` if the configuration is of another kind."""
        with as_model_error("configuration", repo_id):
            config = read_json(folder / _CONFIG)
        self.kind.check(config, repo_id)

    def _missing_in(self, names: Collection[str]) -> str:
        if _CONFIG not in names:
            return f"{_CONFIG} is missing"
        top = [name for name in names if "/" not in name]
        chosen, files = choose_weights(names, STEM, self.variant)
        if self.variant is not None and chosen != self.variant:
            known = variants(top, STEM)
            return f"it has no whole variant {self.variant!r}: there is {', '.join(known) or 'none'}"
        return "" if files else lacking_weights(top, STEM)


def colours(
    values: Mapping[str, Any], mean: str = "image_mean", std: str = "image_std"
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the mean and the standard deviation of each colour channel that a configuration has under these names.

    ImageNet's, for images in [0, 1], where it has none.

    Raises:
        ValueError, TypeError: They are no three numbers, or a standard deviation is not above 0.
    """
    results = []
    for name, default in ((mean, _IMAGENET_MEAN), (std, _IMAGENET_STD)):
        red, green, blue = (float(value) for value in values.get(name) or default)
        if name == std and min(red, green, blue) <= 0:
            raise ValueError(f"{name} is {[red, green, blue]}, expected numbers above 0")
        results.append((red, green, blue))
    return results[0], results[1]


def _check_folder(path: Path, name: str, revision: str | None) -> None:
    if revision is not None:
        raise ModelError(f"{name} is on this machine and has no revision {revision!r}: only hub ids take a revision.")
    if path.is_dir():
        return
    if path.suffix.lower() in PICKLED:
        raise ModelError(pickle_message(name, "Use a folder with the model's config.json and model.safetensors."))
    raise ModelError(
        f"{name} is a file: weights alone do not say how the network is built. Pass the folder that holds "
        "config.json and model.safetensors."
    )


def _incomplete(folder: Path | None, model_id: str, reason: str, kind: NetworkKind) -> str:
    if "pickled" in reason:
        return (
            f"{model_id} cannot be loaded: {reason}. A pickle can run any code when it is read, so only safetensors "
            "are read: ask for a revision that has them (on the hub often refs/pr/1 or another pull request's, see the "
            "repository's Community tab), or, if you trust the file, load it once with the library that wrote it and "
            "save it again (transformers' save_pretrained writes safetensors)."
        )
    if " variant " in reason:
        return f"{model_id} cannot be loaded as it is: {reason}. {how_to_choose(reason)}".rstrip()
    where = "" if folder is None else f" (in {folder})"
    return f"{model_id} is not {kind.layout}: {reason}{where}. {kind.expected}"
