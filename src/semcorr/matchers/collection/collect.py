"""Train a collection of images in a folder: what ``semcorr collect`` does."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from semcorr.errors import ImageError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.collection.folder import CollectionFolder, ImageEntry, common_arrays, read_result
from semcorr.matchers.collection.prepared import LEAST_IMAGES, Prepared, prepare
from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.matchers.collection.train import train
from semcorr.matchers.spec import MatcherSpec
from semcorr.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectionSummary:
    """What a training did.

    Attributes:
        folder: Where the collection is.
        images: Number of images.
        matches: Pseudo-correspondences of all pairs of images.
        foreground: Share of the images' cells that count as the object.
        losses: Means over the last steps.
        continued: Steps that were done before this call.
    """

    folder: Path
    images: int
    matches: int
    foreground: float
    losses: dict[str, float]
    continued: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}


def collect(
    matcher: Matcher,
    spec: MatcherSpec,
    images: Sequence[str | Path],
    folder: Path,
    settings: CollectionSettings | None = None,
    *,
    masks: Path | None = None,
    progress: Progress | None = None,
) -> CollectionSummary:
    """Map images of one kind to one canonical grid, and write the collection that method "asic" is loaded from.

    The same call continues a training that was stopped, with equal results; of a finished one it reads the result.

    Args:
        matcher: A method on features.
        spec: What loads the same method again, for images that are not of the collection.
        images: Files, at least three different ones.
        folder: Where the collection is written.
        settings: Of the training.
        masks: Folder of a mask for each image, of its size and with the same name up to the suffix: white where the
            object is. By default the object is where mutual neighbours are.
        progress: Called as ("features", images done, in all), ("compare", pairs of images done, in all) and
            ("train", steps done, in all); raise from it to stop.

    Raises:
        SettingsError: The method compares no features.
        ImageError: Fewer than three images, the same twice, one that cannot be read, a mask that is missing or does not
            fit, or images that share too little.
        RunError: The folder holds another collection, cannot be written, or another process is training it.
        OutOfMemoryError: One image does not fit into memory.
        NumericsError: A loss is NaN or infinite.
    """
    chosen = settings or CollectionSettings()
    if not matcher.capabilities.features:
        raise SettingsError(
            f"A collection is trained from features, and method {matcher.method!r} compares none. Choose one that "
            "does, for instance --method hypercolumn or dift."
        )
    paths = [Path(one) for one in images]
    entries, mask_images = _entries(paths), _masks(paths, masks)
    identity = {
        "features": {"method": matcher.method, **matcher.identity()},
        "settings": chosen.to_dict(),
        "images": [entry.sha256 for entry in entries],
        "masks": None if mask_images is None else [mask.sha256 for mask in mask_images],
    }
    store = CollectionFolder(folder, identity, _loaded_by(spec.as_loaded(matcher)), entries)
    with store.locked():
        continued = chosen.steps
        if not store.finished:
            continued = _train(store, matcher, paths, chosen, mask_images, progress)
        summary, _ = read_result(folder)
    return CollectionSummary(
        folder=folder,
        images=len(entries),
        matches=int(summary["matches"]),
        foreground=float(summary["foreground"]),
        losses=dict(summary["losses"]),
        continued=continued,
    )


def _train(
    store: CollectionFolder,
    matcher: Matcher,
    paths: Sequence[Path],
    settings: CollectionSettings,
    masks: Sequence[Image] | None,
    progress: Progress | None,
) -> int:
    """Train, and return how many steps were done before."""
    prepared = store.read_prepared()
    if prepared is None:
        reads = [_reader(path) for path in paths]
        prepared = prepare(matcher, reads, [path.name for path in paths], settings, masks=masks, progress=progress)
        store.write_prepared(prepared)
    before = [0]
    network, losses = train(prepared, settings, store, progress=progress, restored=before.append)
    with torch.no_grad():
        coordinates = torch.cat([network.coordinates(one[None]) for one in prepared.features])
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    store.finish(
        _summary(prepared, losses),
        {**common_arrays(prepared), "coordinates": coordinates.numpy()}
        | {f"network.{name}": value for name, value in arrays.items()},
    )
    return before[-1]


def _summary(prepared: Prepared, losses: dict[str, float]) -> dict[str, Any]:
    return {
        "matches": sum(len(one.source) for one in prepared.matches),
        "foreground": float(prepared.inside.float().mean()),
        "losses": losses,
    }


def _reader(path: Path) -> Callable[[], Image]:
    return lambda: load_image(path)


def _entries(paths: Sequence[Path]) -> list[ImageEntry]:
    """Read all images once, one at a time, before anything slow begins."""
    entries: dict[str, ImageEntry] = {}
    for path in paths:
        image = load_image(path)
        if image.sha256 in entries:
            raise ImageError(f"{entries[image.sha256].path} and {path} are the same image. Name it once.")
        entries[image.sha256] = ImageEntry(path=str(path), sha256=image.sha256, size=image.size)
    if len(entries) < LEAST_IMAGES:
        raise ImageError(
            f"Expected at least {LEAST_IMAGES} images of one kind, got {len(entries)}. What two images have in common, "
            "semcorr mutual and semcorr dense show without training."
        )
    return list(entries.values())


def _masks(paths: Sequence[Path], folder: Path | None) -> list[Image] | None:
    if folder is None:
        return None
    result = []
    for path in paths:
        candidates = sorted(folder.glob(f"{_escaped(path.stem)}.*"))
        if len(candidates) != 1:
            raise ImageError(
                f"Expected one mask for {path.name} in {str(folder)!r}, called {path.stem} with a suffix such as .png, "
                f"got {len(candidates)}."
            )
        mask, size = load_image(candidates[0]), load_image(path).size
        if mask.size != size:
            raise ImageError(
                f"The mask {candidates[0].name!r} is {mask.size[0]} x {mask.size[1]} pixels, and {path.name!r} "
                f"{size[0]} x {size[1]}. Expected a mask of the image's size."
            )
        result.append(mask)
    return result


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _loaded_by(spec: MatcherSpec) -> dict[str, Any]:
    """A spec as JSON holds it."""
    plain = str | int | float | bool | list
    options = {name: value for name, value in spec.options.items() if isinstance(value, plain)}
    return {"method": spec.method, "model": str(spec.model_name), "preset": spec.preset, "options": options}
