import numpy as np
import pytest
import torch

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, fast, override, paper
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.attention_targets import GaussianTargets
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.frozen_queries import FrozenQueries
from semcorr.matchers.prompt.least_squares import solved
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.models.diffusion import DiffusionModel


@pytest.fixture(scope="module")
def settings() -> PromptSettings:
    small = {"resolution": 128, "context_length": 4, "optimize_crops": 4, "rounds": 2, "steps": 1, "token": 2}
    return override(fast("sd1"), start="least_squares", neutral="zeros", **small)


def test_the_token_solves_the_problem_written_out(model: DiffusionModel, settings: PromptSettings, source: Image):
    """One equation a crop, layer, head and position, given to numpy's least squares."""
    reader = AttentionReader(model, settings)
    draws = SeededStreams(0, "image", np.zeros((1, 2)))
    latents = CropLatents(reader.model, squash(source.tensor(), 128))
    shared = FrozenQueries.of_image(reader, latents, "optimize", draws)
    points = [torch.tensor([30.0, 40.0]), torch.tensor([3.0, 126.0])]
    embeddings = torch.randn(2, 4, model.context_dim, generator=torch.Generator().manual_seed(1))
    targets = GaussianTargets(reader, torch.stack(points))
    equations = shared.token_equations(targets, [0, 1], embeddings)
    assert equations is not None
    solution = solved(embeddings, 2, [([0, 1], equations)])
    torch.testing.assert_close(solution[:, [0, 1, 3]], embeddings[:, [0, 1, 3]], rtol=0, atol=0)

    unit = torch.eye(model.context_dim)[None]
    for row, (x, y) in enumerate(point.tolist() for point in points):
        left, right = [], []
        for crop, queries in zip(shared.crops, shared.queries, strict=True):
            for layer in reader.layers:
                query = queries[layer.name].double().numpy()
                heads, height, width, _ = query.shape
                adds = model.keys(unit, [layer])[layer.name][0].double().numpy()
                keys = model.keys(embeddings[row : row + 1, [0, 1, 3]], [layer])[layer.name][0].double().numpy()
                for head in range(heads):
                    for j in range(height):
                        for i in range(width):
                            # The cell's middle in the frame, and its distance in parts of the frame.
                            across = crop.left + (i + 0.5) / width * crop.width - x
                            down = crop.top + (j + 0.5) / height * crop.height - y
                            part = np.hypot(across / crop.width, down / crop.height)
                            share = np.exp(-(part**2) / (2 * settings.sigma**2))
                            logit = -8.0 if share < 1e-8 else np.log(share / (1 - share))
                            rest = np.log(np.exp(keys[head] @ query[head, j, i]).sum())
                            left.append(adds[head] @ query[head, j, i])
                            right.append(np.clip(logit, -8, 8) + rest)
        equations = np.stack(left)
        ridge = 1e-3 * np.mean((equations**2).sum(axis=0))
        extended = np.concatenate([equations, np.sqrt(ridge) * np.eye(model.context_dim)])
        extended_right = np.concatenate([np.array(right), np.zeros(model.context_dim)])
        expected, *_ = np.linalg.lstsq(extended, extended_right)
        np.testing.assert_allclose(solution[row, 2].numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_optimization_starts_there(model: DiffusionModel, settings: PromptSettings, source: Image):
    """The first loss is far below that of a random start, and a point does not depend on those beside it."""
    points = [(20.0, 30.0), (100.0, 60.0)]
    closed = PromptMatcher(model, settings).describe(source, points)
    random = PromptMatcher(model, override(settings, start="random")).describe(source, points)
    assert (closed.tensors["losses"] < random.tensors["losses"]).all()
    alone = PromptMatcher(model, settings, memory_budget=1).describe(source, points[1:])
    np.testing.assert_allclose(closed.tensors["losses"][1:], alone.tensors["losses"], rtol=1e-3)


def test_live_queries_have_no_closed_form():
    with pytest.raises(SettingsError, match="least_squares needs frozen queries"):
        override(paper("sd1"), start="least_squares")
