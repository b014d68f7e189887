"""What is known of a family of networks beforehand, and no configuration says: data, one file a family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Chat:
    """How a prompt is put into a conversation, with the tokenizer's own template, as a pipeline of diffusers does it.

    Attributes:
        system: What comes before it: "MODULE:NAME" of a text in diffusers; empty if nothing does.
        listed: Whether the template takes a list of texts, not a text.
        marked: Whether the tokenizer adds the marks to the whole that it adds to other texts.
        options: What else the template takes.
    """

    system: str = ""
    listed: bool = False
    marked: bool = False
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """One of a checkpoint's text encoders.

    Attributes:
        tokenizer, encoder: Folders of the checkpoint.
        kind: Class of transformers.
        tokens: Its share of the context's positions; None is all of them.
        hidden: Which hidden state is read: the last, normalised ("last"), the last but one ("penultimate"), or several
            side by side, by their numbers; 0 is the embedding of the tokens.
        large: Whether it has billions of weights: it is then kept in bfloat16 if the network is.
        chat: What a prompt is put into; None leaves it as it is.
        masked: Whether its other tokens do not attend to padding.
    """

    tokenizer: str
    encoder: str
    kind: str
    tokens: int | None = None
    hidden: str | tuple[int, ...] = "last"
    large: bool = False
    chat: Chat | None = None
    masked: bool = False


CLIP = TextPart(tokenizer="tokenizer", encoder="text_encoder", kind="CLIPTextModel")
T5 = TextPart(tokenizer="tokenizer", encoder="text_encoder", kind="T5EncoderModel", large=True)

DITF: Mapping[str, object] = {"adaptive_norm": True, "discard": "massive"}
"""How DiTF reads a block of a transformer: the adaptive layer norm of its input, without massive channels."""

RANDOM = "tiny random networks of diffusers' own classes"


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of networks. Its numbers are defaults; ``sources`` says where they come from.

    Attributes:
        name: Its name in settings and files.
        title: Its name for people.
        network: Class of diffusers.
        vae: Class of diffusers.
        pipelines: Classes of pipelines by which families of one ``network`` differ; empty if it has one.
        traits: Values of the configuration by which families of one ``network`` differ.
        marked: Whether a folder is of the family only if its ``semcorr.json`` says so: networks that were trained here.
        layers: Rules that select the layers whose attention is read.
        text: The text encoders.
        padded: Whether a context is padded to its full length: the padding of CLIP's contexts takes part in the
            attention. Where the network masks padding, or replaces it, contexts come without.
        tokens: Positions of a context; None is what the text encoder's configuration says.
        schedule: The noise schedule of a checkpoint without one, in diffusers' words.
        shift: The logarithm of what time is shifted by, given positions of the image and steps in all, where a
            pipeline computes it itself; the scheduler must ask for a shift by size.
        float32_vae: Whether activations of the VAE overflow in float16.
        prompt: What the presets of the prompt method change for it.
        fast: What the preset ``fast`` changes besides.
        dift: What DIFT's settings change for it.
        discovery: What the settings of the discovery of key-points change for it.
        sources: Where the numbers come from.
        tested: What its tests run on.
        trained: Whether it was ever run here with trained weights.
    """

    name: str
    title: str
    network: str = "UNet2DConditionModel"
    vae: str = "AutoencoderKL"
    pipelines: Sequence[str] = ()
    traits: Mapping[str, object] = field(default_factory=dict)
    marked: bool = False
    layers: tuple[str, ...]
    text: tuple[TextPart, ...] = (CLIP,)
    padded: bool = True
    tokens: int | None = None
    schedule: Mapping[str, Any]
    shift: Callable[[int, int], float] | None = None
    float32_vae: bool = False
    prompt: Mapping[str, object] = field(default_factory=dict)
    fast: Mapping[str, object] = field(default_factory=dict)
    dift: Mapping[str, object] = field(default_factory=dict)
    discovery: Mapping[str, object] = field(default_factory=dict)
    sources: str
    tested: str = RANDOM
    trained: bool = False
