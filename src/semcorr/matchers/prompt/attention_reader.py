"""What optimizing and locating share: the layers, time steps and frame that settings stand for, and one pass."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import NumericsError, SettingsError
from semcorr.imaging.geometry import Size
from semcorr.matchers.prompt.crops import CropRange, anywhere, crop_range
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.models.diffusion import FAMILIES, CrossAttentionLayer, DiffusionModel
from semcorr.models.diffusion.attention import attention_to


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One embedding: a point and a round, both counted from 0. Batches consist of rows."""

    point: int
    round_: int


def rows_of(points: int, rounds: int) -> list[Row]:
    """All rows, point-major."""
    return [Row(point=point, round_=round_) for point in range(points) for round_ in range(rounds)]


@contextmanager
def naming(step: str, rows: Sequence[Row]) -> Iterator[None]:
    """Add the step to a :class:`NumericsError`, and the points and rounds, counted from 1."""
    try:
        yield
    except NumericsError as error:
        points, rounds = {row.point + 1 for row in rows}, {row.round_ + 1 for row in rows}
        raise error.at(f"{step}, {_span('point', points)}, {_span('round', rounds)}") from None


def _span(name: str, numbers: set[int]) -> str:
    first, last = min(numbers), max(numbers)
    return f"{name} {first}" if first == last else f"{name}s {first} to {last}"


class AttentionReader:
    """Settings bound to a model: reads the chosen token's maps from noisy latents.

    A sub-class may read several ``tokens`` of each context (:class:`semcorr.matchers.prompt.labels.LabelReader`): maps
    then have an axis of them.

    With ``gradient_checkpointing`` a backward pass computes the network's activations again.

    Raises:
        LayerError: a layer of the settings is not in the model.
        SettingsError: a head, token or resolution of the settings does not fit the model.
    """

    def __init__(
        self, model: DiffusionModel, settings: PromptSettings, *, gradient_checkpointing: bool = False
    ) -> None:
        self.model, self.settings, self.gradient_checkpointing = model, settings, gradient_checkpointing
        self.layers: tuple[CrossAttentionLayer, ...] = model.select_layers(settings.layers)
        self.tokens: tuple[int, ...] = (settings.token,)
        self.resolution = settings.resolution or model.resolution
        self.heads = {layer.name: _head_slice(layer, settings) for layer in self.layers}
        self.context_length = settings.context_length or model.context_tokens
        if settings.token >= self.context_length:
            raise SettingsError(
                f"Setting 'token': expected less than the {self.context_length} tokens of a context of "
                f"{model.model_id!r}, got {settings.token}."
            )
        model.check_side(settings.resolution)
        if settings.queries == "frozen":
            model.check_frozen_queries()
        if settings.start == "least_squares" and not model.network.linear_keys:
            raise SettingsError(
                f"Setting 'start': least_squares needs keys that are linear in the context, and those of "
                f"{model.model_id!r} are not ({FAMILIES[model.family].title}). Set start=random."
            )

    @property
    def token_axis(self) -> tuple[int, ...]:
        """What maps have between their rows and pixels: nothing, or the number of tokens where several are read."""
        return ()

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of a crop, resized to the frame's side."""
        side = self.resolution // self.model.vae_factor
        return (self.model.vae.config.latent_channels, side, side)

    @property
    def optimize_t(self) -> int:
        """The time step of the optimization."""
        return self.model.timestep(self.settings.optimize_step, self.settings.steps_of, resolution=self.resolution)

    @property
    def locate_t(self) -> int:
        """The time step while locating."""
        return self.model.timestep(self.settings.locate_step, self.settings.steps_of, resolution=self.resolution)

    @property
    def grid(self) -> Size:
        """(columns, rows) of the finest layer's maps of the frame: the cells in which peaks are refined."""
        side = self.resolution // self.model.vae_factor
        rows, columns = max(layer.map_size(side, side) for layer in self.layers)
        return (columns, rows)

    def optimize_range(self, x: float, y: float) -> CropRange:
        """The crops allowed while optimizing for the point (x, y) of the model frame."""
        return self._range(x, y, self.settings.optimize_crop)

    def optimize_anywhere(self) -> CropRange:
        """All crops of the optimization's size, for what has no point that they must contain."""
        return anywhere(resolution=self.resolution, fraction=self.settings.optimize_crop)

    def locate_range(self, x: float, y: float) -> CropRange:
        """The crops allowed while locating with the running peak at (x, y) of the model frame."""
        return self._range(x, y, self.settings.locate_crop)

    def _range(self, x: float, y: float, fraction: float) -> CropRange:
        return crop_range(x, y, resolution=self.resolution, fraction=fraction, margin=self.settings.crop_margin)

    def maps(
        self,
        latents: Float[Tensor, "rows channels h w"],
        noise: Float[Tensor, "rows channels h w"],
        t: int,
        embeddings: Float[Tensor, "rows context dim"],
    ) -> list[Float[Tensor, "rows *tokens _h _w"]]:
        """Return the token's maps, averaged over the chosen heads, one tensor a layer in the U-Net's order.

        Averaging heads before a map is enlarged gives what averaging after it would: both are linear.
        """
        noisy = self.model.add_noise(latents, noise.to(latents), t)
        attention = self.model.attention(
            noisy,
            t,
            embeddings,
            self.layers,
            tokens=self.tokens,
            gradient_checkpointing=self.gradient_checkpointing,
        )
        return [self._over_heads(attention[layer.name][:, self.heads[layer.name]]) for layer in self.layers]

    def _over_heads(
        self, attention: Float[Tensor, "rows heads tokens h w"]
    ) -> Float[Tensor, "rows h w"] | Float[Tensor, "rows tokens h w"]:
        """Return one map for each row, or for each of its tokens, of the attention of heads."""
        return attention[:, :, 0].mean(dim=1)

    def frozen_maps(
        self,
        queries: Mapping[str, Float[Tensor, "heads _h _w _dim"]],
        keys: Mapping[str, Float[Tensor, "rows heads context _dim"]],
    ) -> list[Float[Tensor, "rows *tokens _h _w"]]:
        """Return every row's maps of one crop from its frozen queries. Both mappings are by layer."""
        return [
            attention_to(self.settings.token, queries[layer.name][heads], keys[layer.name][:, heads]).mean(dim=1)
            for layer in self.layers
            for heads in [self.heads[layer.name]]
        ]


def stack_noise(noises: Sequence[Float[Tensor, "channels h w"]], like: Tensor) -> Float[Tensor, "rows channels h w"]:
    """Stack the rows' noise on the device and in the precision of the latents."""
    return torch.stack(list(noises)).to(like)


def _head_slice(layer: CrossAttentionLayer, settings: PromptSettings) -> slice | list[int]:
    if settings.heads == "all":
        return slice(None)
    if settings.heads == "upper_half":
        return slice(layer.heads // 2, None)
    heads = [int(head) for head in settings.heads]
    if not heads or max(heads) >= layer.heads:
        raise SettingsError(
            f"Setting 'heads': expected numbers from 0 to {layer.heads - 1} for layer {layer.name!r}, got {heads}."
        )
    return heads
