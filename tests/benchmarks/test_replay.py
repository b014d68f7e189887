"""The core of the method's tests: records of the authors' own code, run unmodified, are reproduced."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from benchmarks.replay import RecordedStreams, record_settings, replay
from semcorr.errors import QueryError, SettingsError
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt import reference
from semcorr.matchers.prompt.crops import crop_range
from semcorr.models.diffusion import DiffusionModel


def _check(tiny_model: DiffusionModel, path: Path) -> None:
    result = replay(tiny_model, path)
    differences = result.differences
    recorded = load_file(path)
    compared = set(recorded) - {"context_init", "crop", "noise", "src_kps", "source_128", "target_128", "capture_noise"}
    assert set(differences) == compared
    assert len([name for name in differences if name.startswith("attention/")]) == 11
    assert max(value for name, value in differences.items() if name.startswith("attention/")) <= 2e-5
    assert differences["loss"] <= 1e-5
    assert differences["contexts"] <= 1e-4
    assert differences["maps_every_8th"] <= 1e-4
    assert differences["latent"] <= 1e-5
    assert differences["noisy"] <= 1e-5
    assert differences["est_keypoints"] <= 1.0
    # Where the peak leads by more than the maps differ, and more than float32 resolves in a softmax, it must be equal.
    clear = result.peak_leads > 2 * differences["maps_every_8th"] + 2.4e-7
    predicted = result.tensors["est_keypoints"]
    assert np.array_equal(predicted[:, clear], recorded["est_keypoints"][:, clear])
    # Ours is a rule, theirs a draw: the rule, computed from our own running peaks, must allow all of theirs.
    assert result.crops_outside == 0


def test_one_point_is_reproduced(tiny_model: DiffusionModel, golden: Path):
    _check(tiny_model, golden / "point.safetensors")


@pytest.mark.slow
def test_two_points_with_two_rounds_are_reproduced(tiny_model: DiffusionModel, golden: Path):
    _check(tiny_model, golden / "pair.safetensors")


def _metadata(path: Path) -> dict[str, str]:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return dict(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"])


def test_a_record_stands_for_the_reference_preset(tiny_model: DiffusionModel, golden: Path):
    settings = record_settings(tiny_model, _metadata(golden / "point.safetensors"))
    ours = reference("sd1").to_dict()
    changed = {name for name, value in settings.to_dict().items() if value != ours[name]}
    # sigma and the crops are the preset's to rounding; the record has fewer steps and names its layers.
    assert changed <= {
        "layers",
        "steps",
        "rounds",
        "locate_crops",
        "resolution",
        "sigma",
        "optimize_crop",
        "locate_crop",
    }
    assert settings.sigma == pytest.approx(ours["sigma"])
    assert settings.optimize_crop == pytest.approx(ours["optimize_crop"])
    named = tiny_model.select_layers(settings.layers)
    assert named == tiny_model.select_layers(reference("sd1").layers)
    assert (settings.steps, settings.rounds, settings.locate_crops) == (6, 1, 6)


@pytest.mark.slow
def test_a_crop_that_the_rule_forbids_is_counted(tiny_model: DiffusionModel, golden: Path, tmp_path: Path):
    """The check of the crops can fail: a record whose first locating crop is not the corner is noticed."""
    path = golden / "point.safetensors"
    record = load_file(path)
    metadata = _metadata(path)
    numbers = json.loads(metadata["hyperparameters"])
    numbers |= {"num_steps": 1, "num_iterations": 4}
    kept = [0, 6, 7, 8, 9]
    record["crop"] = record["crop"][kept]
    record["crop"][1, :2] = 17
    record["noise"] = record["noise"][kept]
    record["loss"] = record["loss"][:1]
    changed = tmp_path / "changed.safetensors"
    save_file(record, changed, metadata=metadata | {"hyperparameters": json.dumps(numbers)})
    result = replay(tiny_model, changed)
    assert result.crops_outside == 1
    assert result.differences["loss"] <= 1e-5
    # Six steps were recorded and one was made.
    assert result.differences["contexts"] > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip_prob": 0.5}, "mirrored"),
        ({"layers": [5, 99]}, "IndexError"),
        ({"noise_level": "-8x"}, "ValueError"),
    ],
)
def test_a_record_that_cannot_be_replayed_says_why(
    tiny_model: DiffusionModel, golden: Path, changes: dict[str, object], message: str
):
    metadata = _metadata(golden / "point.safetensors")
    numbers = json.loads(metadata["hyperparameters"]) | changes
    with pytest.raises(QueryError, match=message):
        record_settings(tiny_model, metadata | {"hyperparameters": json.dumps(numbers)})


def test_a_number_that_no_setting_takes_is_named(tiny_model: DiffusionModel, golden: Path):
    metadata = _metadata(golden / "point.safetensors")
    numbers = json.loads(metadata["hyperparameters"]) | {"num_iterations": 3}
    with pytest.raises(SettingsError, match="'locate_crops': expected at least 4"):
        record_settings(tiny_model, metadata | {"hyperparameters": json.dumps(numbers)})


def test_another_schedule_is_refused(tiny_model: DiffusionModel, golden: Path):
    metadata = _metadata(golden / "point.safetensors")
    shifted = [step + 1 for step in json.loads(metadata["timesteps"])]
    with pytest.raises(QueryError, match=r"time step 141 .* is 140"):
        record_settings(tiny_model, metadata | {"timesteps": json.dumps(shifted)})


def test_other_files_are_refused(tiny_model: DiffusionModel, tmp_path: Path):
    with pytest.raises(QueryError, match="Cannot read the record"):
        replay(tiny_model, tmp_path / "missing.safetensors")
    save_file({"crop": np.zeros((2, 4), dtype=np.int64)}, tmp_path / "other.safetensors")
    with pytest.raises(QueryError, match="not a record of a run: src_kps"):
        replay(tiny_model, tmp_path / "other.safetensors")


def _recorded() -> RecordedStreams:
    # Two points, two rounds, three draws of the optimization and one of locating each: the noise of draw k is k.
    draws = 2 * (2 * 3 + 2 * 1)
    return RecordedStreams(
        embeddings=torch.arange(4.0)[:, None, None].expand(4, 2, 3).clone(),
        crops=np.array([[number, 0, 8, 8] for number in range(draws)]),
        noise=torch.arange(float(draws))[:, None, None, None].expand(draws, 1, 2, 2).clone(),
        rounds=2,
        steps=3,
        locate_crops=1,
    )


def test_recorded_draws_come_in_the_order_in_which_they_were_made():
    record, order = _recorded(), []
    allowed = crop_range(60.0, 60.0, resolution=128, fraction=0.5, margin=0.0)
    for point in range(2):
        for stage, count in (("optimizing", 3), ("locating", 1)):
            for round_ in range(2):
                stream = getattr(record, stage)(point, round_)
                assert float(stream.embedding(2, 3)[0, 0]) == point * 2 + round_
                for _ in range(count):
                    crop = stream.crop(allowed)
                    noise = stream.noise((1, 2, 2), "uniform")
                    assert crop.left == float(noise[0, 0, 0])
                    order.append(crop.left)
    assert order == list(range(16))


def test_recorded_crops_that_the_rule_does_not_allow_are_counted_once():
    record = _recorded()
    fits = crop_range(1.0, 1.0, resolution=9, fraction=0.9, margin=0.0)
    for _ in range(2):
        stream = record.optimizing(0, 0)
        for expected in (0, 1, 2):
            assert stream.crop(fits) == Crop(expected, 0, 8, 8)
            stream.noise((1, 2, 2), "uniform")
    assert record.outside == {2}


def test_recorded_draws_of_another_shape_are_refused():
    stream = _recorded().optimizing(0, 0)
    with pytest.raises(ValueError, match=r"\(2, 3\), not \(77, 64\)"):
        stream.embedding(77, 64)
    with pytest.raises(ValueError, match=r"\(1, 2, 2\), not \(4, 8, 8\)"):
        stream.noise((4, 8, 8), "uniform")
