"""Options that several commands share, and how their text is parsed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from semcorr.errors import PointError, SettingsError
from semcorr.matchers.registry import AUTO, DEFAULT_METHOD, EVALUATED_METHOD, find_method
from semcorr.matchers.spec import MatcherSpec

if TYPE_CHECKING:
    from semcorr.storage.record_store import Shard

Points = Annotated[list[tuple[float, float]] | None, Parameter(name=("--point", "-p"), negative="")]
"""Repeated ``-p X Y``: pixels of the source image, x right, y down, (0, 0) its top-left corner."""


DType = Literal["auto", "float32", "float16", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Quantize = Annotated[Literal["int8", "nf4"] | None, Parameter(show_default=False)]
Offload = Annotated[bool, Parameter(negative="")]
Output = Annotated[Path, Parameter(name=("--output", "-o"))]
Json = Annotated[bool, Parameter(name="--json", negative="")]
Repeated = Annotated[tuple[str, ...], Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MatcherOptions:
    """What to match with.

    Attributes:
        model: Hub id, diffusers folder, single .safetensors file, or a bundled one: "lite0" for photographs, "toy" for
            drawings. Any of a diffusion model's +FILE.safetensors takes its U-Net from a file. For dino a vision
            transformer: hub id or folder. [default: the method's; CompVis/stable-diffusion-v1-4 for prompt]
        method: "auto": the one that fits --model; without it attention-dift where there is a GPU and
            CompVis/stable-diffusion-v1-4 was downloaded before, else hypercolumn on lite0, which downloads nothing.
            Others: "prompt" (the paper's), "dift", another of `semcorr doctor`'s list, or a class of your own as
            MODULE:CLASS.
        revision: Branch, tag or commit of a hub id.
        variant: Of the model's files, such as bf16 or non_ema, where a folder or hub id has several; the same as the
            model's name with a colon and the variant after it.
        preset: The method's settings by name. For prompt: "paper" (the text's), "reference" (the authors' code with its
            quirks), "fast" (frozen queries). [default: the method's first]
        set: NAME=VALUE, repeated: changes one setting of the preset, for instance --set rounds=1.
        dtype: Precision of the network; auto takes the fastest: bfloat16 or float16 on a GPU, bfloat16 on a processor
            with instructions for it, float32 on others and for bundled models.
        device: Where it runs; auto takes a GPU if there is one.
        offload: Keep the weights of a diffusion network in main memory, and each layer's on the device for as long as
            it runs: less memory and more time; results stay the same.
        quantize: Store the weights of a diffusion network in fewer bits; semcorr plan --memory says how many bytes that
            saves.
        seed: Seed of every random draw.
        align_pose: Search each target's mirror image as well, and keep the better result.
        calibration: File that `semcorr calibrate` wrote for this method, model and settings, or "none". [default: the
            package's own, if it has one]
        gradient_checkpointing: Optimize in less memory and more time; results stay the same.
        latents_cache: Folder that keeps encoded crops for later runs on the same images; results stay the same.
    """

    model: Annotated[str, Parameter(show_default=False)] = ""
    method: str = DEFAULT_METHOD
    revision: str | None = None
    variant: str | None = None
    preset: Annotated[str | None, Parameter(show_default=False)] = None
    set: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None
    dtype: DType = "auto"
    device: Device = "auto"
    offload: Offload = False
    quantize: Quantize = None
    seed: int | None = None
    align_pose: Annotated[bool, Parameter(negative="")] = False
    calibration: Annotated[str | None, Parameter(show_default=False)] = None
    gradient_checkpointing: Annotated[bool, Parameter(negative="")] = False
    latents_cache: Path | None = None

    def overrides(self) -> dict[str, object]:
        """Return the settings that ``--set`` and ``--seed`` change."""
        changes = parse_settings(self.set or ())
        if self.seed is not None:
            changes["seed"] = self.seed
        return changes

    def spec(self) -> MatcherSpec:
        """Return what the options name; :func:`semcorr.cli.targets.chosen` replaces "auto" by a method.

        Raises:
            SettingsError: No such method.
        """
        method = None if self.method == AUTO else find_method(self.method)
        # By name: the command says what it matches with before anything can fail.
        model = self.model or (method.default_model if method else None)
        return MatcherSpec(method=self.method, model=model, preset=self.preset, options=self.loading())

    def loading(self) -> dict[str, Any]:
        """Return the options of :func:`semcorr.load_matcher`."""
        return {
            "revision": self.revision,
            "variant": self.variant,
            "dtype": self.dtype,
            "device": self.device,
            "align_pose": self.align_pose,
            "calibration": self.calibration,
            **memory_options(offload=self.offload, quantize=self.quantize),
            **self.resources(),
            **self.overrides(),
        }

    def resources(self) -> dict[str, object]:
        """Return the requested options that change time or memory but no result, as arguments of the loading method."""
        options = {"gradient_checkpointing": self.gradient_checkpointing, "latents_cache": self.latents_cache}
        # Only what is requested, because not every method takes every option.
        return {name: value for name, value in options.items() if value}


def memory_options(*, offload: bool, quantize: Quantize) -> dict[str, Any]:
    """Return the requested ones of the options that fit a network into less memory, as arguments."""
    return {name: value for name, value in {"offload": offload, "quantize": quantize}.items() if value}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ToyOptions(MatcherOptions):
    """The same for drawings of the toy world.

    A class of its own, because a default object would lose its model as soon as another option is given.

    Attributes:
        model: Hub id, diffusers folder, single .safetensors file, or "toy" for the bundled model of drawings.
        method: "attention-dift", "prompt" (the paper's), "dift", or another of `semcorr doctor`'s list.
    """

    model: str = "toy"
    method: str = EVALUATED_METHOD


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FeatureOptions(MatcherOptions):
    """The same for methods on features; attention-dift would optimize an embedding for each of thousands of points.

    Attributes:
        method: "auto": the one on features that fits --model; without it dift where there is a GPU and
            CompVis/stable-diffusion-v1-4 was downloaded before, else hypercolumn on lite0, which downloads nothing.
            Others: "dino", or another of `semcorr doctor`'s list.
    """


_NO_SETTINGS = ("method", "model", "preset", "progress", "self", "cls")
"""Arguments of the loading method that are not settings."""


def parse_settings(assignments: Sequence[str]) -> dict[str, object]:
    """Turn ``name=value`` texts into settings.

    A value that is JSON is parsed (``80``, ``0.1``, ``true``, ``["up/4", "up/2:0"]``); any other is a string
    (``uniform``). Names and types are checked later, by the settings themselves.

    Raises:
        SettingsError: No "=", no name, or the same name twice.
    """
    changes: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise SettingsError(f"Expected --set name=value, got {assignment!r}. For example: --set rounds=1")
        if name in _NO_SETTINGS:
            raise SettingsError(f"{name!r} is no setting, it cannot be given with --set. See: semcorr match --help")
        if name in changes:
            raise SettingsError(f"The setting {name!r} is given twice. Give each setting once.")
        try:
            changes[name] = json.loads(text)
        except (ValueError, RecursionError):  # RecursionError: deeply nested brackets
            changes[name] = text
    return changes


def require_points(points: list[tuple[float, float]] | None) -> list[tuple[float, float]]:
    """Return the points, or raise an error that says how to give one."""
    if not points:
        raise PointError("Expected at least one point, got none. Give each with -p X Y, in pixels of the source image.")
    return points


def parse_shard(text: str) -> "Shard":
    """Read ``i/n``.

    Raises:
        SettingsError: The text has another form.
        RunError: There is no such shard.
    """
    from semcorr.storage.record_store import Shard

    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise SettingsError(f"Expected --shard i/n, such as 1/4, got {text!r}.")
    return Shard(number=int(number), count=int(count))
