"""The paper's method, DIFT and words on tiny random transformers, from folders to points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.diffusion.transformer_networks import JOINT, SIDE, TRANSFORMERS, save_transformer
from semcorr import load_matcher
from semcorr.errors import SettingsError
from semcorr.matchers.attention_dift import settings_of
from semcorr.matchers.features.dift import DiftMatcher, published
from semcorr.matchers.prompt import PromptMatcher, preset
from semcorr.matchers.prompt.word_attention import word_maps
from semcorr.models.diffusion import FAMILIES, DiffusionModel
from semcorr.models.diffusion.joint_transformers import Flux
from semcorr.models.model_kind import model_kind
from semcorr.settings import override

# Wide enough that random queries and features differ from position to position.
_WIDE = {"num_attention_heads": 4, "attention_head_dim": 48}
WIDE: dict[str, dict[str, Any]] = {
    "pixart-alpha": _WIDE | {"cross_attention_dim": 192},
    "pixart-sigma": _WIDE | {"cross_attention_dim": 192},
    "sana": {
        "num_attention_heads": 8,
        "attention_head_dim": 24,
        "num_cross_attention_heads": 4,
        "cross_attention_head_dim": 48,
        "cross_attention_dim": 192,
        "qk_norm": None,
    },
    "hunyuan-dit": _WIDE | {"hidden_size": 192},
    "sd3": _WIDE | {"caption_projection_dim": 192},
    "flux-dev": _WIDE | {"axes_dims_rope": (16, 16, 16)},
    "flux2-dev": _WIDE | {"axes_dims_rope": (12, 12, 12, 12)},
    "lumina2": {"num_attention_heads": 4, "num_kv_heads": 2, "hidden_size": 192, "axes_dim_rope": (16, 16, 16)},
}
EVERY = (*TRANSFORMERS, *JOINT)
LAYERS = {family: ("block/1:1,2" if "sana" in family else "block/2:1,2",) for family in EVERY}
QUICK = {"rounds": 2, "steps": 60, "context_length": 6, "sigma": 0.06, "optimize_step": 1, "locate_step": 1}
WHOLE = {"optimize_crop": 1.0, "locate_crop": 1.0, "optimize_crops": 1, "locate_crops": 1, "optimize_noise": "shared"}
PLAIN = {"adaptive_norm": False, "discard": "none"}
"""Outputs of blocks as they are."""
POINTS = np.array([[20.0, 20.0], [36.0, 28.0], [28.0, 36.0], [44.0, 20.0]])
"""In the middle of patches of 8 pixels; Sana's positions are of 4."""


@pytest.fixture(autouse=True)
def small_native_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUX has no native size in its configuration, and its own takes minutes here."""
    monkeypatch.setattr(Flux, "native_size", SIDE)


def wide_model(folder: Path, family: str) -> DiffusionModel:
    """A model in which the image, not the positions of its patches, decides what a patch is."""
    model = DiffusionModel.from_pretrained(save_transformer(folder, family, **WIDE[family]), device="cpu")
    for name, weight in model.network.module.named_parameters():
        if name.endswith(("embed.proj.weight", "x_embedder.weight")):
            weight.mul_(5)
    model.vae.register_to_config(scaling_factor=2.0 if family == "sana" else 20.0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("family", list(WIDE))
def test_points_are_located_in_a_shifted_copy_at_least_as_well_as_by_the_features(tmp_path: Path, family: str) -> None:
    model = wide_model(tmp_path, family)
    canvas = np.kron(np.random.default_rng(0).integers(0, 256, (24, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    # Hunyuan-DiT, FLUX and Lumina turn queries by their position: random ones are no others' in another position.
    x, y = (0, 0) if family in ("hunyuan-dit", "flux-dev", "flux2-dev", "lumina2") else (8, 16)
    points = POINTS - 2 if family == "sana" else POINTS
    source, target = canvas[16:80, 16:80], canvas[16 - y : 80 - y, 16 - x : 80 - x]
    lr = 0.3 if family == "sana" else 0.1
    queries = "live" if family in JOINT else "frozen"
    settings = override(preset("paper", family), layers=LAYERS[family], queries=queries, lr=lr, **QUICK, **WHOLE)
    errors = []
    for matcher in (
        PromptMatcher(model, settings),
        DiftMatcher(model, override(published(family), **PLAIN, block=1, samples=1, t=0, resolution=None)),
    ):
        matches = matcher.locate(matcher.describe(source, points), target)
        errors.append(np.linalg.norm(matches.points - points - np.array([x, y]), axis=1))
    assert errors[0].max() < 8
    assert errors[0].mean() <= errors[1].mean()


@pytest.mark.parametrize(
    "family", ["sana", *(pytest.param(family, marks=pytest.mark.slow) for family in EVERY if family != "sana")]
)
def test_live_queries_words_and_both_methods_together(tmp_path: Path, family: str) -> None:
    folder = save_transformer(tmp_path, family)
    assert model_kind(folder) == "diffusion"
    few = {"rounds": 1, "steps": 2, "layers": LAYERS[family], "context_length": 6, "resolution": 32}
    image = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    live = load_matcher("prompt", folder, device="cpu", locate_crops=4, **few)
    own = {"dift_block": 1, "dift_samples": 1, "dift_resolution": 64, "dift_discard": "massive"}
    together = load_matcher("attention-dift", folder, device="cpu", **own, **few)
    for matcher in (live, together):
        assert matcher.settings.start == "random"
        matches = matcher.locate(matcher.describe(image, [[20.0, 10.0]]), image)
        assert matches.points.shape == (1, 2)
        assert np.isfinite(matches.heatmaps).all()
    maps = word_maps(live.model, image, "a red cat", samples=1)
    assert maps.words == ("a", "red", "cat")
    # Of the tokens that share 1, the marks at the ends and padding have the rest.
    assert 0 < maps.heatmaps.sum(axis=0).max() < 1
    assert maps.heatmaps.std(axis=(1, 2)).min() > 1e-5
    refused = "no frozen queries" if family in JOINT else "keys that are linear in the context, .* Set start=random"
    frozen = {"queries": "frozen", "start": "least_squares"}
    with pytest.raises(SettingsError, match=refused):
        load_matcher("prompt", folder, preset="fast", device="cpu", layers=LAYERS[family], **frozen)
    with pytest.raises(SettingsError, match=rf"multiple of {live.model.side_factor} \(the VAE's factor"):
        load_matcher("prompt", folder, device="cpu", resolution=50)


def test_every_family_has_complete_settings_and_says_where_its_numbers_come_from() -> None:
    for name, family in FAMILIES.items():
        assert family.name == name
        assert family.sources.endswith(".")
        assert settings_of("fast", name).layers == family.layers
        assert published(name).t == (260 if name.startswith("flux-") else 261)
