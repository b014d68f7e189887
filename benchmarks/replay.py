"""Run the method on recorded random draws and compare with the results that were recorded beside them.

A record is a ``.safetensors`` file into which another program, usually the authors' own code, has written its inputs,
every random draw, and its results. Given the same draws, this implementation must give the same results::

    from benchmarks.replay import replay
    from semcorr.models.diffusion import DiffusionModel

    model = DiffusionModel.from_pretrained("tests/golden/tiny-sd")
    result = replay(model, "tests/golden/point.safetensors")
    print(result.differences)

Tensors of a record (N points, R rounds, K draws; coordinates in pixels of the square model frame):

=====================  ====================  ==================================================================
name                   shape                 meaning
=====================  ====================  ==================================================================
source_S, target_S     S x S x 3, uint8      images; pixels are repeated to fill the model frame
src_kps                2 x N                 query points, x then y
context_init           N.R x tokens x dim    starting embeddings, point-major
crop                   K x 4                 left, top, width, height of every crop, in the order drawn
noise                  K x 1 x c x h x w     the noise added at the same draws
loss                   N.R.steps             the loss before each Adam step
contexts               N x R x 1 x tokens x dim  embeddings after the last step
maps_every_8th         N.R x L x s/8 x s/8   target maps, every 8th row and column
argmax_per_map         N.R x L               flat argmax of each whole map
est_keypoints          2 x N                 predicted points, x then y
latent, noisy          1 x c x h x w         the whole target's latent, and the same with ``capture_noise`` added
attention/up_<n>, ...  heads x queries       maps of ``noisy`` and ``contexts[0, 0]``: the upper half of the heads
=====================  ====================  ==================================================================

Layers are counted as the authors count them: cross-attentions with at most 32 x 32 queries, in the U-Net's order, and
in names from 0 within ``down``, ``mid`` and ``up``. The order of the draws is that of :class:`RecordedStreams`. The
metadata holds ``hyperparameters`` and ``timesteps`` as JSON.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from semcorr.errors import QueryError
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropLatents, CropRange
from semcorr.matchers.prompt.locate import fuse_layers, locate_rows
from semcorr.matchers.prompt.optimize import Example, optimize
from semcorr.matchers.prompt.presets import reference
from semcorr.matchers.prompt.random_streams import NoiseKind, Stage
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.models.diffusion import CrossAttentionLayer, DiffusionModel
from semcorr.progress import Progress
from semcorr.settings import override

_MOST_SIDE = 2048
"""Pixels of the model frame: the size that a record declares decides how much memory replaying takes."""

_NEEDED = ("src_kps", "context_init", "crop", "noise", "loss", "contexts", "maps_every_8th", "argmax_per_map")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """The results of a replay, and how far they are from the record.

    Attributes:
        tensors: Recomputed values under the record's own names and shapes.
        differences: The largest absolute difference for each name; ``loss`` is relative to the recorded loss;
            ``est_keypoints`` and ``argmax_per_map`` are distances in pixels of the model frame.
        peak_leads: By how much each point's peak leads every other pixel, in the unit of the attention maps. A point
            can only be expected to be equal where this is more than the maps' own difference.
        crops_outside: Recorded crops that this implementation's crop rule, applied to its own running peaks, does not
            allow; 0 when the rules agree.
        settings: The settings that the record was made with.
    """

    tensors: Mapping[str, np.ndarray]
    differences: Mapping[str, float]
    peak_leads: Float[np.ndarray, " points"]
    crops_outside: int
    settings: PromptSettings


def replay(
    model: DiffusionModel,
    record: str | os.PathLike[str],
    *,
    batch: int = 8,
    progress: Progress | None = None,
) -> Replay:
    """Recompute a record with a model and return the values and their differences.

    Each stage starts from this implementation's own results, not from recorded ones: locating reads the embeddings
    that were optimized here. Only ``attention/...`` starts from the recorded ``noisy`` and ``contexts``.

    Args:
        model: The model that the record was made with, in float32.
        record: The file.
        batch: Embeddings that run together; it changes rounding only.
        progress: As in :meth:`semcorr.PromptMatcher.describe` and ``locate``.

    Raises:
        QueryError: The file cannot be read, is not a record, or was made with another network or schedule.
        SettingsError: The record was made with a number that no setting takes.
    """
    tensors, reader = read_record(model, record)
    settings, side = reader.settings, reader.resolution
    streams = RecordedStreams(
        embeddings=tensors["context_init"].float(),
        crops=tensors["crop"].numpy(),
        noise=tensors["noise"][:, 0].float(),
        rounds=settings.rounds,
        steps=settings.steps,
        locate_crops=settings.locate_crops,
    )
    points = tensors["src_kps"].T.double()
    source, target = (_frame(tensors, name, side) for name in ("source_", "target_"))
    replayed: dict[str, Tensor] = {}
    example = Example.of_points(reader, CropLatents(model, source), points, streams)
    optimized = optimize(reader, [example], batch=batch, progress=progress)
    replayed["loss"], replayed["contexts"] = optimized.losses.flatten(), optimized.embeddings[:, :, None]
    located = list(
        locate_rows(reader, CropLatents(model, target), optimized.embeddings, streams, batch=batch, progress=progress)
    )
    maps = torch.stack([row_maps for _, row_maps in located])
    replayed["maps_every_8th"] = maps[..., ::8, ::8]
    replayed["argmax_per_map"] = maps.flatten(-2).argmax(-1)
    means = maps.reshape(-1, settings.rounds, *maps.shape[1:]).mean(dim=1)
    replayed["est_keypoints"] = torch.stack([heatmaps.peak(fuse_layers(mean, settings.fusion)) for mean in means]).T
    replayed |= _whole_target(reader, tensors, target)
    return Replay(
        tensors={name: value.cpu().numpy() for name, value in replayed.items()},
        differences=_differences(replayed, tensors, side),
        peak_leads=np.array([_lead(mean) for mean in means]),
        crops_outside=len(streams.outside),
        settings=settings,
    )


def read_record(model: DiffusionModel, record: str | os.PathLike[str]) -> tuple[dict[str, Tensor], AttentionReader]:
    """Return a record's tensors, whose shapes are checked, and a reader with the settings that it was made with.

    Raises:
        QueryError, SettingsError: As :func:`replay`.
    """
    tensors, metadata = _read(Path(record))
    reader = AttentionReader(model, record_settings(model, metadata))
    _check_shapes(tensors, reader)
    return tensors, reader


def record_settings(model: DiffusionModel, metadata: Mapping[str, str]) -> PromptSettings:
    """Return the settings that a record was made with: the ``reference`` preset with the numbers of its metadata.

    Raises:
        QueryError: The metadata is incomplete, or was made with another noise schedule or with mirrored images.
        SettingsError: A number that no setting takes.
    """
    try:
        numbers: dict[str, Any] = json.loads(metadata["hyperparameters"])
        timesteps: list[int] = json.loads(metadata["timesteps"])
        resolution = int(numbers["upsample_res"])
        if not 1 <= resolution <= _MOST_SIDE or not isinstance(timesteps, list):
            raise ValueError(f"a resolution of {resolution}, expected 1 to {_MOST_SIDE}")
        level = int(numbers["noise_level"])
        settings = override(
            reference(model.family),
            layers=tuple(_counted_layers(model, resolution)[number].name for number in numbers["layers"]),
            rounds=int(numbers["num_opt_iterations"]),
            steps=int(numbers["num_steps"]),
            lr=numbers["lr"],
            sigma=numbers["sigma"] / resolution,
            optimize_step=-level if level < 0 else len(timesteps) - level,
            steps_of=len(timesteps),
            optimize_crop=numbers["crop_percent"] / 100,
            locate_crop=numbers["crop_percent"] / 100,
            locate_crops=int(numbers["num_iterations"]),
            resolution=resolution,
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise QueryError(f"The record's metadata cannot be used: {type(error).__name__}: {error}.") from error
    if numbers.get("flip_prob", 0.0) != 0.0:
        raise QueryError("The record was made with mirrored images (flip_prob above 0), which cannot be replayed.")
    for step in (settings.optimize_step, settings.locate_step):
        if step > len(timesteps) or model.timestep(step, settings.steps_of) != timesteps[-step]:
            known = timesteps[-step] if step <= len(timesteps) else None
            raise QueryError(
                f"The record's time step {known} ({step} of {settings.steps_of} from the clean end) is "
                f"{model.timestep(step, settings.steps_of)} with {model.model_id!r}: use the record's own model."
            )
    return settings


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise QueryError(f"Cannot read the record {str(path)!r}: {error}. Expected a .safetensors file.") from error
    if any(tensor.is_complex() for tensor in tensors.values()):
        raise QueryError(f"{str(path)!r} is not a record of a run: it holds complex numbers.")
    missing = [name for name in _NEEDED if name not in tensors]
    if missing or not {"hyperparameters", "timesteps"} <= metadata.keys():
        raise QueryError(
            f"{str(path)!r} is not a record of a run: {', '.join(missing) or 'its metadata'} is missing. "
            "The module benchmarks.replay describes what a record holds."
        )
    return tensors, metadata


def _check_shapes(tensors: Mapping[str, Tensor], reader: AttentionReader) -> None:
    """Insist on the shapes that the module describes, on finite numbers, and on crops and points inside the frame.

    Raises:
        QueryError: They differ.
    """
    settings, model, latent, side = reader.settings, reader.model, reader.latent_shape, reader.resolution
    points = tensors["src_kps"].shape[-1] if tensors["src_kps"].ndim == 2 else 0
    draws = points * settings.rounds * (settings.steps + settings.locate_crops)
    expected: dict[str, tuple[int, ...]] = {
        "src_kps": (2, points),
        "context_init": (points * settings.rounds, reader.context_length, model.context_dim),
        "crop": (draws, 4),
        "noise": (draws, 1, *latent),
    }
    if "noisy" in tensors:
        contexts = (points, settings.rounds, 1, reader.context_length, model.context_dim)
        expected |= {"noisy": (1, *latent), "contexts": contexts}
    if "capture_noise" in tensors:
        expected |= {"capture_noise": (1, *latent)}
    for name, shape in expected.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape or not points:
            raise QueryError(f"The record's {name!r} has shape {tuple(tensor.shape)}, expected {shape}.")
        if not bool(tensor.double().isfinite().all()):
            raise QueryError(f"The record's {name!r} holds numbers that are not finite.")
    low, size = tensors["crop"].double()[:, :2], tensors["crop"].double()[:, 2:]
    inside = (low >= 0) & (size >= 1) & (low + size <= side)
    points_inside = (tensors["src_kps"] >= 0) & (tensors["src_kps"] <= side)
    if not bool(inside.all()) or not bool(points_inside.all()):
        raise QueryError(f"The record's crops or points lie outside of its frame of {side} x {side} pixels.")


def _frame(tensors: Mapping[str, Tensor], prefix: str, side: int) -> Float[Tensor, "3 {side} {side}"]:
    """The image of the record in the model frame: every pixel repeated."""
    name = next((name for name in tensors if name.startswith(prefix) and name.removeprefix(prefix).isdigit()), None)
    square = name is not None and tensors[name].ndim == 3 and tuple(tensors[name].shape[1:]) == (len(tensors[name]), 3)
    if name is None or not square or not len(tensors[name]) or side % len(tensors[name]):
        raise QueryError(f"The record needs an image {prefix}<side> whose side divides {side}, got {name}.")
    times = side // len(tensors[name])
    pixels = tensors[name].permute(2, 0, 1).float() / 255
    return pixels.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def _counted_layers(model: DiffusionModel, resolution: int) -> list[CrossAttentionLayer]:
    """The layers that the authors' code keeps and counts: at most 32 x 32 queries."""
    side = resolution // model.vae_factor
    return [layer for layer in model.layers if np.prod(layer.map_size(side, side)) <= 32**2]


def _whole_target(
    reader: AttentionReader, tensors: Mapping[str, Tensor], target: Float[Tensor, "3 side side"]
) -> dict[str, Tensor]:
    """Recompute the latent, the noisy latent and every counted layer's attention, as far as the record has them."""
    model, replayed, t = reader.model, {}, reader.optimize_t
    if "latent" in tensors:
        replayed["latent"] = model.encode(target[None])
    if {"noisy", "latent", "capture_noise"} <= tensors.keys():
        replayed["noisy"] = model.add_noise(
            replayed["latent"], tensors["capture_noise"].to(model.device), reader.optimize_t
        )
    if "noisy" in tensors:
        layers = _counted_layers(model, reader.resolution)
        with torch.no_grad():
            noisy, context = (tensors[name].to(model.device) for name in ("noisy", "contexts"))
            maps = model.attention(noisy, t, context[0, 0], layers)
        seen: Counter[str] = Counter()
        for layer in layers:
            name = f"attention/{layer.section}_{seen[layer.section]}"
            seen[layer.section] += 1
            if name in tensors:
                replayed[name] = maps[layer.name][0, layer.heads // 2 :, 0].flatten(-2)
    return replayed


def _differences(replayed: Mapping[str, Tensor], recorded: Mapping[str, Tensor], side: int) -> dict[str, float]:
    result = {}
    for name, value in replayed.items():
        if name not in recorded:
            continue
        ours, theirs = value.cpu().double(), recorded[name].double()
        if ours.shape != theirs.shape:
            raise QueryError(f"The record's {name!r} has shape {tuple(theirs.shape)}, expected {tuple(ours.shape)}.")
        if name == "argmax_per_map":
            ours, theirs = (torch.stack((flat % side, flat // side)) for flat in (ours, theirs))
        gap = (ours - theirs).abs()
        if name == "loss":
            gap = gap / theirs.abs()
        elif name in ("argmax_per_map", "est_keypoints"):
            gap = gap.pow(2).sum(dim=0).sqrt()
        result[name] = float(gap.max())
    return result


def _lead(maps: Float[Tensor, "layers side side"]) -> float:
    """How far the peak of the softmax fusion leads all other pixels, in the unit of the attention maps.

    The logarithm undoes the softmax up to a constant, so that a difference of logarithms is one of attention. In
    float64, because float32 has no room left for it.
    """
    first, second = fuse_layers(maps.double(), "softmax").log().flatten().topk(2).values.tolist()
    return float(first - second)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordedStreams:
    """Recorded draws, given back in the order in which they were made.

    For each point: for each round ``steps`` draws of the optimization; then for each round ``locate_crops`` draws of
    locating. A draw is a crop and a noise. Crops that the rule of :func:`semcorr.matchers.prompt.crops.crop_range` does
    not allow are used all the same.

    Attributes:
        embeddings: Starting embeddings, point-major.
        crops: Left, top, width and height of every crop in model-frame pixels.
        noise: The noise of every draw.
        rounds: Rounds of each point.
        steps: Draws of the optimization in each round.
        locate_crops: Draws of locating in each round.
        outside: The numbers of the crops, so far, that the rule does not allow.
    """

    embeddings: Float[Tensor, "rows tokens dim"]
    crops: Int[np.ndarray, "draws 4"]
    noise: Float[Tensor, "draws channels height width"]
    rounds: int
    steps: int
    locate_crops: int
    outside: set[int] = dataclasses.field(default_factory=set, init=False)

    def optimizing(self, point: int, round_: int) -> "RecordedStream":
        """The stream of a row whose embedding is optimized, from its start."""
        return self._stream(point, round_, round_ * self.steps)

    def locating(self, point: int, round_: int) -> "RecordedStream":
        """The stream of a row that is located, from its start."""
        return self._stream(point, round_, self.rounds * self.steps + round_ * self.locate_crops)

    def shared(self, stage: Stage) -> "RecordedStream":  # noqa: ARG002  # as RandomStreams has it
        """There is none: ``ValueError``."""
        raise ValueError("A record holds a fresh crop for every step, and no shared ones.")

    def _stream(self, point: int, round_: int, first: int) -> "RecordedStream":
        of_point = point * self.rounds * (self.steps + self.locate_crops)
        return RecordedStream(self, self.embeddings[point * self.rounds + round_], of_point + first)


class RecordedStream:
    """The draws of one row of :class:`RecordedStreams`."""

    def __init__(self, record: RecordedStreams, embedding: Float[Tensor, "tokens dim"], first: int) -> None:
        self._record, self._embedding, self._next = record, embedding, first

    def embedding(self, tokens: int, dim: int) -> Float[Tensor, "tokens dim"]:
        """The recorded start."""
        if self._embedding.shape != (tokens, dim):
            raise ValueError(f"The record holds embeddings {tuple(self._embedding.shape)}, not {(tokens, dim)}.")
        return self._embedding.clone()

    def crop(self, allowed: CropRange) -> Crop:
        """The recorded crop; it is counted as outside if the rule does not allow it."""
        crop = Crop(*self._record.crops[self._next].tolist())
        if not allowed.contains(crop):
            self._record.outside.add(self._next)
        return crop

    def noise(self, shape: Sequence[int], kind: NoiseKind) -> Float[Tensor, "..."]:  # noqa: ARG002  # as recorded
        """The recorded noise; it ends the draw."""
        noise = self._record.noise[self._next]
        if noise.shape != tuple(shape):
            raise ValueError(f"The record holds noise {tuple(noise.shape)}, not {tuple(shape)}.")
        self._next += 1
        return noise

    def position(self) -> tuple[float, float]:
        """There is none: ``ValueError``."""
        raise ValueError("A record holds no shared crops.")

    def pick(self, count: int) -> int:  # noqa: ARG002  # as RandomStream has it
        """There is none: ``ValueError``."""
        raise ValueError("A record holds no shared crops.")
