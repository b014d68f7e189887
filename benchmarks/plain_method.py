"""The published procedure as it stands: the yardstick for speed, and an independent computation of the same numbers.

Nothing here is clever, on purpose (Hedlin et al., section 3, and their released code): one embedding at a time; at
every step a crop is cut, resized and encoded anew; the whole U-Net runs in float32; every attention is worked out in
the open (scores, softmax, product); the cross-attention of all layers with at most 32 x 32 queries is kept, all heads
and tokens of it, although one token of a few layers is read.

Settings have the meaning that they have in the package, and the draws are the package's seeded ones, so the numbers are
those of :class:`semcorr.matchers.prompt.PromptMatcher` with the same settings. What a setting says about saving work is
ignored.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from semcorr.errors import ModelError, SettingsError
from semcorr.imaging.geometry import Crop, check_points, scale_points, squash
from semcorr.imaging.image import ImageSource, load_image
from semcorr.matchers.prompt.crops import CORNERS, CropRange, crop_range
from semcorr.matchers.prompt.random_streams import SeededStream, SeededStreams
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.models.diffusion import CrossAttentionLayer, DiffusionModel
from semcorr.progress import Progress

MOST_KEPT = 32 * 32
"""Cross-attentions of more queries are not kept; the authors' code has the same bound."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """Embeddings of points of one image, on the CPU; ``points`` in its own pixels."""

    points: Float[np.ndarray, "points 2"]
    embeddings: Float[Tensor, "points rounds tokens dim"]
    losses: Float[Tensor, "points rounds steps"]


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where the points are in another image, in its own pixels, and their maps over the model frame."""

    points: Float[np.ndarray, "points 2"]
    heatmaps: Float[Tensor, "points side side"]


class PlainMatcher:
    """The published procedure with one model and one set of settings."""

    def __init__(self, model: DiffusionModel, settings: PromptSettings) -> None:
        """Take a model of Stable Diffusion 1.x's or 2.x's kind in float32.

        Raises:
            ModelError: another precision or kind.
            SettingsError: frozen queries, which the published procedure does not know.
        """
        if settings.queries != "live":
            raise SettingsError(f"The plain procedure has live queries, got {settings.queries!r}.")
        if model.dtype != torch.float32 or model.family == "sdxl":
            raise ModelError(
                f"The plain procedure is that of Stable Diffusion 1.x in float32, got {model.model_id} of family "
                f"{model.family!r} in {model.dtype}."
            )
        self.model, self.settings = model, settings
        self.layers = model.select_layers(settings.layers)
        self.side = settings.resolution or model.resolution
        self.tokens = settings.context_length or model.context_tokens

    def describe(self, image: ImageSource, points: ArrayLike, *, progress: Progress | None = None) -> Described:
        """Describe the points, one embedding after the other; ``progress`` as in the package."""
        source = load_image(image)
        checked = check_points(points, source.size)
        frame = squash(source.tensor(), self.side)
        in_frame = scale_points(checked, source.size, (self.side, self.side))
        draws = SeededStreams(self.settings.seed, source.sha256, checked)
        shared = [draws.shared("optimize")] if self.settings.optimize_crops else []
        positions = [stream.position() for stream in shared for _ in range(self.settings.optimize_crops or 0)]
        latent = (self.model.vae.config.latent_channels, *(self.side // self.model.vae_factor,) * 2)
        always = [stream.noise(latent, self.settings.noise) for stream in shared for _ in positions]
        bank = list(
            zip(positions, always if self.settings.optimize_noise == "shared" else [None] * len(positions), strict=True)
        )
        rows = [(point, round_) for point in range(len(checked)) for round_ in range(self.settings.rounds)]
        total, optimized = len(rows) * self.settings.steps, []
        with _in_the_open(self.model, self.layers) as kept:
            for number, (point, round_) in enumerate(rows):
                stream, losses = draws.optimizing(point, round_), []
                start = stream.embedding(self.tokens, self.model.context_dim)
                embedding = start[None].to(self.model.device).requires_grad_()
                adam = torch.optim.Adam([embedding], lr=self.settings.lr)
                for step in range(self.settings.steps):
                    loss = self._optimize_step(frame, in_frame[point], stream, bank, embedding, kept)
                    loss.backward()
                    adam.step()
                    adam.zero_grad()
                    losses.append(loss.detach().cpu())
                    if progress is not None:
                        progress("optimize", number * self.settings.steps + step + 1, total, loss=float(losses[-1]))
                optimized.append((embedding.detach()[0].cpu(), torch.stack(losses)))
        shape = (len(checked), self.settings.rounds)
        embeddings, all_losses = (torch.stack(values).unflatten(0, shape) for values in zip(*optimized, strict=True))
        return Described(points=checked, embeddings=embeddings, losses=all_losses)

    def locate(self, described: Described, image: ImageSource, *, progress: Progress | None = None) -> Located:
        """Find the points, one embedding and one crop after the other; ``progress`` as in the package."""
        target = load_image(image)
        frame = squash(target.tensor(), self.side)
        draws = SeededStreams(self.settings.seed, target.sha256, described.points)
        points, rounds = described.embeddings.shape[:2]
        total, done, heatmaps = points * rounds * self.settings.locate_crops, 0, []
        with _in_the_open(self.model, self.layers) as kept, torch.no_grad():
            for point in range(points):
                mean = torch.zeros(len(self.layers), self.side, self.side, device=self.model.device)
                for round_ in range(rounds):
                    stream = draws.locating(point, round_)
                    embedding = described.embeddings[point, round_][None].to(self.model.device)
                    canvas, coverage = torch.zeros_like(mean), torch.zeros_like(mean[0])
                    for number in range(self.settings.locate_crops):
                        self._locate_crop(frame, number, stream, embedding, kept, canvas, coverage)
                        done += 1
                        if progress is not None:
                            progress("locate", done, total)
                    mean += canvas / coverage.clamp(min=1) / rounds
                heatmaps.append(self._fused(mean).cpu())
        peaks = torch.stack([_argmax(heat) for heat in heatmaps]).double().numpy()
        return Located(points=scale_points(peaks, (self.side, self.side), target.size), heatmaps=torch.stack(heatmaps))

    def _optimize_step(
        self,
        frame: Float[Tensor, "3 side side"],
        point: Float[np.ndarray, "2"],
        stream: SeededStream,
        bank: Sequence[tuple[tuple[float, float], Tensor | None]],
        embedding: Float[Tensor, "1 tokens dim"],
        kept: dict[str, Tensor],
    ) -> Float[Tensor, ""]:
        """One crop (at one of the image's shared positions, if any, perhaps with its noise), one pass, one loss."""
        settings = self.settings
        allowed = self._allowed(point, settings.optimize_crop)
        position, noise = bank[stream.pick(len(bank))] if bank else (None, None)
        crop = allowed.at(*position) if position else stream.crop(allowed)
        self._pass(frame, crop, settings.optimize_step, stream, embedding, kept, noise)
        x, y = crop.to_crop(point, self.side).tolist()
        target = self._gaussian(x, y).to(self.model.device)
        maps = [_enlarged(one, self.side) for one in self._token_maps(kept)]
        if settings.loss == "mean_map":
            return F.mse_loss(torch.stack(maps).mean(dim=0), target)
        return torch.stack([F.mse_loss(one, target) for one in maps]).mean()

    def _locate_crop(
        self,
        frame: Float[Tensor, "3 side side"],
        number: int,
        stream: SeededStream,
        embedding: Float[Tensor, "1 tokens dim"],
        kept: dict[str, Tensor],
        canvas: Float[Tensor, "layers side side"],
        coverage: Float[Tensor, "side side"],
    ) -> None:
        """Read one crop into the canvas, in place: a corner first, later one that keeps the highest peak so far."""
        if number < len(CORNERS):
            keep = np.array(CORNERS[number]) * self.side
        else:
            keep = _argmax((canvas / coverage.clamp(min=1)).mean(dim=0)).double().numpy()
        crop = stream.crop(self._allowed(keep, self.settings.locate_crop))
        self._pass(frame, crop, self.settings.locate_step, stream, embedding, kept)
        for layer, one in enumerate(self._token_maps(kept)):
            canvas[layer, *crop.slices] += _enlarged(one, crop.width)
        coverage[crop.slices] += 1

    def _allowed(self, point: Float[np.ndarray, "2"], fraction: float) -> CropRange:
        x, y = point.tolist()
        return crop_range(x, y, resolution=self.side, fraction=fraction, margin=self.settings.crop_margin)

    def _pass(
        self,
        frame: Float[Tensor, "3 side side"],
        crop: Crop,
        step: int,
        stream: SeededStream,
        embedding: Float[Tensor, "1 tokens dim"],
        kept: dict[str, Tensor],
        noise: Tensor | None = None,
    ) -> None:
        """Cut, resize, encode, add noise, run the whole U-Net; ``kept`` then holds its cross-attention."""
        model, kind = self.model, self.settings.noise
        pixels = crop.cut(frame, self.side)[None].to(model.device)
        with torch.no_grad():
            latent = model.vae.encode(2 * pixels - 1).latent_dist.mean * model.vae.config.scaling_factor
        noise = (stream.noise(latent.shape[1:], kind) if noise is None else noise)[None].to(latent)
        t = model.timestep(step, self.settings.steps_of)
        noisy = model.scheduler.add_noise(latent, noise, torch.tensor([t], device=latent.device))
        kept.clear()
        model.unet(noisy, t, embedding)

    def _token_maps(self, kept: dict[str, Tensor]) -> list[Float[Tensor, "_h _w"]]:
        """The read token's map of every chosen layer, the mean over its heads."""
        latent = self.side // self.model.vae_factor
        maps = []
        for layer in self.layers:
            token = kept[layer.name][:, :, self.settings.token]
            token = token.reshape(layer.heads, *layer.map_size(latent, latent))
            if self.settings.heads == "upper_half":
                token = token[layer.heads // 2 :]
            elif self.settings.heads != "all":
                token = token[[int(head) for head in self.settings.heads]]
            maps.append(token.mean(dim=0))
        return maps

    def _gaussian(self, x: float, y: float) -> Float[Tensor, "side side"]:
        grid = torch.arange(self.side) + self.settings.pixel_centre
        squared = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2
        return torch.exp(-squared / (2 * (self.settings.sigma * self.side) ** 2))

    def _fused(self, mean: Float[Tensor, "layers side side"]) -> Float[Tensor, "side side"]:
        if self.settings.fusion == "softmax":
            mean = mean.flatten(1).softmax(dim=1).reshape(mean.shape)
        return mean.mean(dim=0)


def _enlarged(one: Float[Tensor, "_h _w"], side: int) -> Float[Tensor, "{side} {side}"]:
    return F.interpolate(one[None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]


def _argmax(heat: Float[Tensor, "side side"]) -> Float[Tensor, "2"]:
    """The centre (x, y) of the largest pixel."""
    index = int(heat.argmax())
    return torch.tensor([index % heat.shape[1] + 0.5, index // heat.shape[1] + 0.5])


class _Keeping:
    """A cross-attention in the open that keeps its probabilities (heads, queries, tokens)."""

    def __init__(self, name: str, kept: dict[str, Tensor], always: bool) -> None:
        self._name, self._kept, self._always = name, kept, always

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "1 queries _"],
        encoder_hidden_states: Float[Tensor, "1 tokens dim"],
        attention_mask: Tensor | None = None,  # noqa: ARG002  # as diffusers calls it; the U-Net gives none
        **_: object,
    ) -> Float[Tensor, "1 queries _"]:
        projected = (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        query, key, value = (attn.head_to_batch_dim(one) for one in projected)
        probabilities = attn.get_attention_scores(query, key)
        if self._always or probabilities.shape[1] <= MOST_KEPT:
            self._kept[self._name] = probabilities
        return attn.to_out[0](attn.batch_to_head_dim(torch.bmm(probabilities, value)))


@contextmanager
def _in_the_open(model: DiffusionModel, chosen: Sequence[CrossAttentionLayer]) -> Iterator[dict[str, Tensor]]:
    """Have all attention of the networks worked out in the open while the block runs; fill what is given by layer."""
    kept: dict[str, Tensor] = {}
    before = dict(model.unet.attn_processors), dict(model.vae.attn_processors)
    open_ones: dict[str, AttnProcessor | _Keeping] = {name: AttnProcessor() for name in before[0]}
    for layer in model.layers:
        part = layer.name if ".transformer_blocks." in layer.name else f"{layer.name}.transformer_blocks.0"
        open_ones[f"{part}.attn2.processor"] = _Keeping(layer.name, kept, layer in chosen)
    model.unet.set_attn_processor(open_ones)
    model.vae.set_attn_processor(AttnProcessor())
    try:
        yield kept
    finally:
        model.unet.set_attn_processor(before[0])
        model.vae.set_attn_processor(before[1])
        kept.clear()
