"""The skeleton of a method that runs a frozen network."""

# ruff: noqa: ARG002, ARG003  # what a base does by default does not need all that its sub-classes do
import copy
import inspect
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from semcorr.errors import PointError, QueryError, SettingsError, suggest
from semcorr.imaging.domain import statistics
from semcorr.imaging.geometry import PointsLike
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base.matcher import Matcher
from semcorr.matchers.base.model_identity import ModelIdentity
from semcorr.matchers.examples import check_examples
from semcorr.matchers.regions.examples import Example as LabelledImage
from semcorr.matchers.regions.examples import MaskSource, read_examples
from semcorr.matchers.regions.refine import regions_of
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.results import Example, Matches, Query
from semcorr.models.names import PHOTO_MODEL
from semcorr.progress import Progress
from semcorr.settings import Settings, in_short, override

N = TypeVar("N", bound="NetworkMatcher")

Tensors = Mapping[str, np.ndarray]


class NetworkMatcher(Matcher):
    """A method that runs a frozen network: what it is loaded from, its presets, its queries and their checks.

    A sub-class names its ``method``, ``settings_type``, ``presets`` and ``network_type``, and says how points are
    described (:meth:`_describe`) and located (:meth:`_locate`). Keyword-only arguments of its constructor, such as
    ``memory_budget``, are options of :meth:`from_pretrained` too.

    Args:
        model: The frozen network.
        settings: Complete settings.
    """

    settings_type: ClassVar[type[Settings]]
    """The class of its settings."""

    presets: ClassVar[Mapping[str, Callable[..., Settings]]] = {}
    """Functions from a network's family to complete settings, by the preset's name; the usual one first."""

    network_type: ClassVar[Any] = None
    """The class of its network, which has ``from_pretrained`` and ``family``; None if it needs none."""

    default_model: ClassVar[str] = PHOTO_MODEL
    """The network that photographs are matched with unless another is named."""

    def __init__(self, model: Any, settings: Any) -> None:
        self.model, self.settings = model, settings

    @classmethod
    def from_pretrained(
        cls: type[N],
        model: str | os.PathLike[str] | None = None,
        preset: str | None = None,
        *,
        revision: str | None = None,
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
        device: str = "auto",
        offload: bool = False,
        quantize: Literal["int8", "nf4"] | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> N:
        """Load a model and make a matcher of it.

        Args:
            model: A bundled name, a folder, a ``.safetensors`` file or a hub id; the class's ``default_model`` if None.
                See :meth:`semcorr.models.diffusion.DiffusionModel.from_pretrained`.
            preset: The settings by name, one of the class's ``presets``; the first if None.
            revision: Branch, tag or commit of a hub id.
            dtype: Precision of the network.
            device: Where it runs; ``"auto"`` takes a GPU if there is one.
            offload: Keep the weights of a diffusion network in main memory, and each layer's on the device for as long
                as the layer runs: less memory and more time; results stay the same.
            quantize: Store the weights of a diffusion network in fewer bits.
            local_files_only: Use nothing but files that are on this machine.
            progress: Called during a download.
            **options: Settings of the preset to replace, by name, and keyword-only arguments of the constructor.

        Raises:
            ModelError: The model cannot be found, read or used.
            LayerError: A layer that was asked for is not in the model.
            SettingsError: Unknown preset, unknown setting, or a value that does not fit; or the method's network can
                be neither offloaded nor quantised.
        """
        memory = cls._memory_options(offload=offload, quantize=quantize)
        parameters = inspect.signature(cls).parameters.values()
        own = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
        arguments = {name: value for name, value in options.items() if name in own}
        changes = {name: value for name, value in options.items() if name not in own}
        # A misspelt name is an error now, not after gigabytes are loaded.
        requested = override(cls._preset(preset), **changes)
        cls._check_arguments(**arguments)
        networks = cls._load_networks(
            Path(model) if isinstance(model, os.PathLike) else model or cls.default_model,
            requested,
            revision=revision,
            dtype=dtype,
            device=device,
            local_files_only=local_files_only,
            progress=progress,
            **memory,
        )
        families = [network.family for network in networks if network is not None]
        construct: Callable[..., N] = cls
        return construct(*networks, override(cls._preset(preset, *families), **changes), **arguments)

    @classmethod
    def _preset(cls, name: str | None, *families: str) -> Settings:
        if name is None:
            name = next(iter(cls.presets), None)
        if name is None:
            return cls.settings_type()
        if name not in cls.presets:
            known = ", ".join(cls.presets) or "none"
            raise SettingsError(f"Unknown preset {name!r}.{suggest(name, cls.presets)} Presets are: {known}.")
        # A preset may give the settings that the method shares with another; its own are at their defaults then.
        return cls.settings_type(**vars(cls.presets[name](*families)))

    def _families(self) -> list[str]:
        """The families of its networks, which presets depend on."""
        return [] if self.model is None else [self.model.family]

    def _facts(self) -> list[str]:
        presets = {name: self._preset(name, *self._families()) for name in self.presets}
        return [*super()._facts(), *in_short(self.settings, presets or {"": self._preset(None)})]

    @classmethod
    def _check_arguments(cls, **arguments: Any) -> None:
        """Refuse arguments of the constructor before anything slow begins; a sub-class says which."""

    @classmethod
    def _memory_options(cls, **options: Any) -> dict[str, Any]:
        """Return the requested options that fit a network into less memory, if it has them."""
        requested = {name: value for name, value in options.items() if value}
        for name in requested:
            if name not in getattr(cls.network_type, "memory_options", ()):
                raise SettingsError(
                    f"Method {cls.method!r} takes no {name!r}: only the networks of diffusion models can be offloaded "
                    "and quantised. Leave it out."
                )
        return requested

    @classmethod
    def _load_networks(cls, model: str | Path, settings: Any, **loading: Any) -> tuple[Any, ...]:
        """Load all networks that the constructor takes, the one that is called ``model`` first."""
        return (None if cls.network_type is None else cls.network_type.from_pretrained(model, **loading),)

    def network(self) -> ModelIdentity:
        """Return which network results depend on."""
        return ModelIdentity.of(self.model)

    def identity(self) -> dict[str, Any]:
        """Return the network and the complete settings, as JSON holds them."""
        return {**self.network().to_dict(), "settings": self.settings.to_dict()}

    def with_settings(self: N, settings: Any) -> N:
        """Return the same method on the same network with other settings."""
        other = copy.copy(self)
        other.settings, other.load_again = settings, None
        return other

    def describe(
        self,
        image: "ImageSource | Sequence[ImageSource]",
        points: "PointsLike",
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Describe points of an image, or of several; see :meth:`Matcher.describe`."""
        images, checked = check_examples(image, points)
        count = checked.shape[1]
        if names is not None and len(names) != count:
            raise PointError(f"Expected one name for each of the {count} points, got {len(names)}.")
        if len(images) == 1:
            tensors, shared = self._describe(images[0], checked[0], progress)
        else:
            tensors, shared = self._describe_examples(images, checked, progress)
        first, network = images[0], self.network()
        return Query(
            method=self.method,
            model_id=network.model_id,
            model_revision=network.model_revision,
            model_fingerprint=network.model_fingerprint,
            settings=self.settings.to_dict(),
            points=checked[0],
            names=None if names is None else tuple(names),
            image_size=first.size,
            image_sha256=first.sha256,
            source_statistics=statistics(first),
            tensors=tensors,
            shared=shared,
            further_examples=tuple(
                Example(points=own, image_size=one.size, image_sha256=one.sha256)
                for one, own in zip(images[1:], checked[1:], strict=True)
            ),
        )

    def locate(
        self, query: Query, image: "ImageSource", *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Find a query's points in another image; see :meth:`Matcher.locate`."""
        settings = self.settings_of(query)
        return self._locate(query, load_image(image), settings, trace=trace, progress=progress)

    def settings_of(self, query: Query | RegionQuery) -> Any:
        """Return the settings that a query was made with.

        Raises:
            QueryError: The query belongs to another model or method.
        """
        if query.method != self.method:
            raise QueryError(f"The query was made by method {query.method!r}, expected {self.method!r}.")
        self.network().check(query)
        return self.settings_type.from_dict(query.settings)

    def describe_regions(
        self,
        images: "ImageSource | Sequence[ImageSource]",
        masks: MaskSource | Sequence[MaskSource],
        *,
        settings: RegionSettings | None = None,
        progress: Progress | None = None,
    ) -> RegionQuery:
        """Describe regions of one or a few images; see :meth:`Matcher.describe_regions`."""
        if not self.capabilities.regions:
            return super().describe_regions(images, masks)
        examples, names = read_examples(images, masks)
        how, network = settings or RegionSettings(), self.network()
        return RegionQuery(
            method=self.method,
            model_id=network.model_id,
            model_revision=network.model_revision,
            model_fingerprint=network.model_fingerprint,
            settings=self.settings.to_dict(),
            region_settings=how.to_dict(),
            names=names,
            image_sha256=tuple(image.sha256 for image, _ in examples),
            tensors=self._describe_regions(examples, names, how, progress),
        )

    def locate_regions(self, query: RegionQuery, image: "ImageSource", *, progress: Progress | None = None) -> Regions:
        """Find a query's regions in another image; see :meth:`Matcher.locate_regions`."""
        if not self.capabilities.regions:
            return super().locate_regions(query, image)
        settings, how = self.settings_of(query), RegionSettings.from_dict(query.region_settings)
        target = load_image(image)
        return regions_of(self._region_scores(query, target, settings, how, progress), target, query.names, how)

    def _describe_regions(
        self,
        examples: Sequence[LabelledImage],
        names: Mapping[int, str],
        how: RegionSettings,
        progress: Progress | None,
    ) -> Tensors:
        """Return what a query keeps of regions, where the method finds them (``capabilities.regions``)."""
        raise NotImplementedError

    def _region_scores(
        self, query: RegionQuery, target: Image, settings: Any, how: RegionSettings, progress: Progress | None
    ) -> Float[Any, "labels _height _width"]:
        """Return the scores of the background and each label on a grid over the whole target, not negative."""
        raise NotImplementedError

    @abstractmethod
    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        """Return what a query keeps of each point (points first), and of the whole image: its tensors and shared."""

    def _describe_examples(
        self, images: Sequence[Image], points: Float[np.ndarray, "examples points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        """Return the same of points that several images show; NaN where one does not.

        Raises:
            SettingsError: The method takes one image (``capabilities.examples``).
        """
        raise SettingsError(
            f"Method {self.method!r} describes points of one image, got {len(images)} images. Describe each by itself, "
            "and let semcorr transfer fuse what is found by each; or use a method that takes several: prompt or "
            "attention-dift."
        )

    @abstractmethod
    def _locate(
        self, query: Query, target: Image, settings: Any, *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Find the points of a query that is this method's and network's."""
