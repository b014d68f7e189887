"""``semcorr words``: where the network attends to each word of a prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.diffusion_model import load_diffusion_model
from semcorr.cli.options import Device, DType, Json, Offload, Output, Quantize
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.matchers.prompt.word_attention import WordMaps

_DEFAULT_OUTPUT = Path("output")


def words(
    image: str,
    prompt: str,
    /,
    *,
    word: Annotated[str | None, Parameter(show_default=False)] = None,
    model: Annotated[str, Parameter(show_default=False)] = "",
    output: Output = _DEFAULT_OUTPUT,
    json: Json = False,
    revision: str | None = None,
    dtype: DType = "auto",
    device: Device = "auto",
    offload: Offload = False,
    quantize: Quantize = None,
    seed: int = 0,
    samples: int = 8,
) -> int:
    """Show where in IMAGE the network attends to each word of PROMPT, a sentence that says what the image shows.

    Writes one figure: IMAGE under each word's heat map. Words that name nothing visible ("a", "with") are left out.

    Args:
        image: The image.
        prompt: What it shows, in quotes: "a cat with a red tail".
        word: Draw the map of this word alone, or of several consecutive words in quotes: "front leg".
        model: Hub id, diffusers folder, or "toy" for the bundled model of drawings; it needs a text encoder.
            [default: CompVis/stable-diffusion-v1-4]
        output: Folder for the figure, or a file ending in .png.
        json: Print one JSON document instead of a table.
        revision: Branch, tag or commit of a hub id.
        dtype: Precision of the network; auto takes the fastest, as for semcorr match.
        device: Where it runs; auto takes a GPU if there is one.
        offload: Less memory of the device and more time, as for semcorr match.
        quantize: Weights in fewer bits, as for semcorr match.
        seed: Seed of the noise.
        samples: Number of noise samples to average.
    """
    from semcorr.imaging.image import load_image, save_image
    from semcorr.matchers.prompt.word_attention import check_words, word_maps
    from semcorr.visualization.heatmap_grids import draw_word_maps

    loaded = load_image(image)
    check_words(prompt, word)  # before gigabytes are loaded
    if samples < 1:
        raise SettingsError(f"Expected --samples to be at least 1, got {samples}.")
    network = load_diffusion_model(model, revision, dtype, device, offload=offload, quantize=quantize)
    with console.TerminalProgress() as progress:
        maps = word_maps(network, loaded, prompt, samples=samples, seed=seed, progress=progress)
    path = _path(output, image, word)
    save_image(draw_word_maps(maps, loaded, word), path)
    if json:
        console.show_json(
            {
                "model": network.model_id,
                "revision": network.revision,
                "image": image,
                "image_size": maps.image_size,
                "prompt": prompt,
                "layer_names": maps.layer_names,
                "figure": str(path),
                "words": [_word(maps, number) for number in range(len(maps.words))],
            }
        )
        return 0
    console.show(_table(image, maps))
    console.say(f"Figure: {path}")
    return 0


def _path(output: Path, image: str, word: str | None) -> Path:
    """Return the requested file, or one in the requested folder, named after the image and the word."""
    if output.suffix.lower() == ".png":
        return output
    what = "words" if word is None else "-".join("".join(c if c.isalnum() else " " for c in word).split())
    return output / f"{Path(image).stem}-{what}.png"


def _word(maps: "WordMaps", number: int) -> dict[str, object]:
    x, y = maps.peak_of(number)
    return {"word": maps.words[number], "peak": [x, y], "attention": float(np.max(maps.heatmaps[number]))}


def _table(image: str, maps: "WordMaps") -> Table:
    table = Table(title=image, title_justify="left")
    table.add_column("word")
    table.add_column("highest at x, y", justify="right")
    table.add_column("attention there", justify="right")
    for number, word in enumerate(maps.words):
        x, y = maps.peak_of(number)
        table.add_row(word, f"{x:.1f}, {y:.1f}", f"{np.max(maps.heatmaps[number]):.2f}")
    return table
