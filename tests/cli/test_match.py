import json
import re
import subprocess

import numpy as np
import PIL.Image
import pytest

import semcorr as library
from closeness import assert_close_to_scale, leads
from semcorr.cli.arrays import arrays_file
from semcorr.matchers.keypoint_matches import read_keypoint_matches
from semcorr.matchers.results import Query
from semcorr.toy.render import render_scene

POINTS = ["-p", "10.5", "20", "-p", "90", "60"]


def test_prints_a_table_and_writes_a_figure_for_each_target(semcorr, images, quick, tmp_path):
    ran = semcorr("match", images[0], images[1], images[2], *POINTS, *quick, "-o", tmp_path / "out")
    assert ran.status == 0
    assert ran.out.count("10.5, 20.0") == 2
    for number in (1, 2):
        path = tmp_path / "out" / f"image-0-to-image-{number}.png"
        assert f"Figure: {path}" in ran.out
        with PIL.Image.open(path) as figure:
            figure.load()
            assert figure.width > figure.height > 300
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.slow
def test_it_is_said_what_confidence_was_calibrated_on(semcorr, images, tmp_path):
    drawings = []
    for seed in (0, 1):
        drawings.append(tmp_path / f"drawing-{seed}.png")
        PIL.Image.fromarray(render_scene(seed, 96, split="test").image).save(drawings[-1])
    words = ("-p", "20", "30", "--method", "dift", "--model", "toy", "--device", "cpu", "-o", tmp_path / "out")
    ran = semcorr("match", *drawings, *words)
    assert ran.status == 0
    assert "the probability that a point is right, calibrated on 2,225 points of toy val" in " ".join(ran.out.split())
    ran = semcorr("match", *images[:2], *words)
    assert ran.status == 0
    assert "(uncalibrated)" in ran.out
    assert "calibrated on" not in ran.out


def test_json_is_all_of_the_output_and_equals_the_result_in_python(semcorr, images, quick, tmp_path, tiny_sd):
    ran = semcorr("match", *images[:2], *POINTS, *quick, "--seed", 7, "--json", "-o", tmp_path / "out")
    assert ran.status == 0
    document = json.loads(ran.out)
    assert document["settings"]["rounds"] == 1
    assert document["settings"]["seed"] == 7
    assert document["model"] == str(tiny_sd)
    (target,) = document["targets"]
    assert target["target"] == str(images[1])
    assert target["figure"] == str(tmp_path / "out" / "image-0-to-image-1.png")

    settings = {"rounds": 1, "steps": 2, "locate_crops": 4, "resolution": 128, "seed": 7}
    points = [(10.5, 20), (90, 60)]
    chosen = {"method": "prompt", "model": str(tiny_sd), "device": "cpu"}
    matches = library.match(images[0], images[1], points, **chosen, **settings)
    np.testing.assert_allclose([point["target"] for point in target["points"]], matches.points)
    np.testing.assert_allclose([point["confidence"] for point in target["points"]], matches.confidence, rtol=1e-5)


def test_describe_then_locate_is_match(semcorr, images, quick, tmp_path):
    whole = semcorr("match", *images[:3], *POINTS, *quick, "--json", "-o", tmp_path / "a")
    query = tmp_path / "deep" / "query.safetensors"
    described = semcorr("describe", images[0], *POINTS, *quick, "-o", query)
    assert described.status == 0
    assert f"semcorr locate {query}" in described.out
    located = semcorr(
        "locate", query, *images[1:3], "--source", images[0], "--device", "cpu", "--json", "-o", tmp_path / "b"
    )
    assert located.status == 0
    first, second = (json.loads(ran.out) for ran in (whole, located))
    assert first["settings"] == second["settings"]
    for one, other in zip(first["targets"], second["targets"], strict=True):
        assert one["points"] == other["points"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        path.name for path in (tmp_path / "b").iterdir()
    )


@pytest.mark.slow
def test_resources_change_no_result_and_a_cache_of_latents_is_used_by_both_halves(semcorr, images, tmp_path):
    """On the bundled model: what checkpointing rounds moves no peak there."""
    small = ("rounds=1", "steps=2", "locate_crops=4", "resolution=64")
    toy = ["--model", "toy", "--method", "prompt", "--device", "cpu", *(f"--set={one}" for one in small)]
    whole = semcorr("match", *images[:2], *POINTS, *toy, "--json", "-o", tmp_path / "a")
    cache, query = tmp_path / "cache", tmp_path / "query.safetensors"
    resources = ["--latents-cache", cache, "--gradient-checkpointing"]
    assert semcorr("describe", images[0], *POINTS, *toy, *resources, "-o", query).status == 0
    described = set(cache.rglob("*.safetensors"))
    assert described
    located = semcorr("locate", query, images[1], "--device", "cpu", "--latents-cache", cache, "--json")
    assert located.status == 0
    assert set(cache.rglob("*.safetensors")) > described
    heatmaps = library.load_matcher("prompt", "toy", device="cpu").locate(Query.load(query), images[1]).heatmaps
    assert leads(heatmaps).min() > 1e-5 * heatmaps.max()
    first, second = (json.loads(ran.out) for ran in (whole, located))
    assert first["settings"] == second["settings"]
    for one, other in zip(first["targets"][0]["points"], second["targets"][0]["points"], strict=True):
        np.testing.assert_allclose(other["target"], one["target"], atol=1e-3)


@pytest.mark.slow
def test_locate_in_several_processes_prints_the_same(semcorr_process, semcorr, images, quick, tmp_path):
    """In the targets' order, one of which is broken by then."""
    query = tmp_path / "query.safetensors"
    assert semcorr("describe", images[0], *POINTS, *quick, "-o", query).status == 0
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    words = ["locate", query, *images[1:], broken, *images[1:], "--source", images[0], "--device", "cpu"]

    process = semcorr_process(*words, "--workers", 2, "-o", tmp_path / "out", stdout=subprocess.PIPE)
    out, _ = process.communicate()
    serial = semcorr(*words, "-o", tmp_path / "out")
    assert (process.returncode, out.decode()) == (serial.status, serial.out)
    assert serial.status == 1
    assert "at least 1" in semcorr(*words, "--workers", 0).err


def test_locate_without_the_source_finds_but_draws_nothing(semcorr, images, quick, tmp_path):
    query = tmp_path / "query.safetensors"
    semcorr("describe", images[0], "-p", "10", "20", *quick, "-o", query)
    ran = semcorr("locate", query, images[1], "--device", "cpu", "-o", tmp_path / "out")
    assert ran.status == 0
    assert re.search(r"10\.0, 20\.0", ran.out)
    assert not (tmp_path / "out").exists()
    assert f"No figures are written to {tmp_path / 'out'}: --source IMAGE" in ran.err
    assert "No figures" not in semcorr("locate", query, images[1], "--device", "cpu").err


def test_locate_refuses_another_source(semcorr, images, quick, tmp_path):
    query = tmp_path / "query.safetensors"
    semcorr("describe", images[0], "-p", "10", "20", *quick, "-o", query)
    ran = semcorr("locate", query, images[1], "--source", images[2], "-o", tmp_path / "out")
    assert ran.status == 2
    assert "made from another image" in ran.err


@pytest.mark.slow
def test_arrays_of_all_targets_are_those_of_python(semcorr, images, quick, tmp_path, tiny_sd):
    file, saved, pairs = tmp_path / "new" / "out.npz", tmp_path / "query.safetensors", tmp_path / "pairs.json"
    ran = semcorr(
        "match", *images[:3], *POINTS, *quick, "--layers", "--arrays", file, "-o", tmp_path / "out", "--pairs", pairs
    )
    assert ran.status == 0, ran.err
    assert f"Arrays: {file}\nPairs: {pairs}" in ran.out
    settings = {"rounds": 1, "steps": 2, "locate_crops": 4, "resolution": 128}
    matcher = library.load_matcher("prompt", tiny_sd, device="cpu", **settings)
    query = matcher.describe(images[0], [(10.5, 20), (90, 60)], names=["eye", "tail"])
    located = list(matcher.locate_many(query, images[1:3]))
    with np.load(file) as arrays:
        assert arrays["targets"].tolist() == [str(image) for image in images[1:3]]
        assert arrays["names"].tolist() == ["1", "2"]
        assert arrays["calibrated"].tolist() == [False, False]
        assert arrays["sizes"].tolist() == [[64, 80], [72, 72]]
        np.testing.assert_array_equal(arrays["query_points"], query.points)
        np.testing.assert_allclose(arrays["points"], [one.points for one in located])
        np.testing.assert_allclose(arrays["confidence"], [one.confidence for one in located], rtol=1e-5)
        assert tuple(arrays["layer_names"]) == located[0].layer_names
        for number, image in enumerate(images[1:3]):
            assert_close_to_scale(arrays[f"heatmaps_{number}"], located[number].heatmaps)
            assert_close_to_scale(arrays[f"layer_heatmaps_{number}"], matcher.layer_heatmaps(query, image))

    for (_, target, score), one in zip(read_keypoint_matches(pairs), located, strict=True):
        order = np.argsort(-one.confidence, kind="stable")
        np.testing.assert_allclose(target, one.points[order])
        np.testing.assert_allclose(score, one.confidence[order], rtol=1e-5)

    query.save(saved)
    assert "is a folder, expected" in semcorr("locate", saved, images[1], "--arrays", tmp_path).err
    ran = semcorr("locate", saved, images[1], tmp_path / "none.png", "--device", "cpu", "--arrays", file, "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["arrays"] == str(file)
    with np.load(file) as arrays:
        assert arrays["names"].tolist() == ["eye", "tail"]
        np.testing.assert_allclose(arrays["points"], [located[0].points])
        assert "layer_heatmaps_0" not in arrays


def test_arrays_of_what_is_done_stay_when_the_rest_is_stopped(images, tmp_path):
    """And a file of before stays where nothing is done."""
    file = tmp_path / "out.npz"
    matcher = library.load_matcher("dift", "toy", device="cpu", samples=1)
    query = matcher.describe(images[0], [(10, 20)])
    matches = matcher.locate(query, images[1])

    def write(targets: list[str], error: BaseException) -> None:
        with arrays_file(file, query) as add:
            for target in targets:
                add(target, matches, None)
            raise error

    with pytest.raises(KeyboardInterrupt):
        write(["one.png"], KeyboardInterrupt())
    with pytest.raises(OSError, match="full"):
        write([], OSError("full"))
    with np.load(file) as arrays:
        assert arrays["targets"].tolist() == ["one.png"]
        np.testing.assert_array_equal(arrays["heatmaps_0"], matches.heatmaps)
        assert arrays["points"].shape == (1, 1, 2)
    assert [path.name for path in tmp_path.glob("*.npz*")] == ["out.npz"]


def test_a_broken_target_is_reported_and_the_others_are_done(semcorr, images, quick, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(images[1].read_bytes()[:200])
    ran = semcorr(
        "match", images[0], images[1], broken, tmp_path / "none.png", images[2], *POINTS, *quick,
        "--json", "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.status == 1
    assert "broken.png" in ran.err
    assert "none.png" in ran.err
    document = json.loads(ran.out)
    assert [target["target"] for target in document["targets"]] == [str(images[1]), str(images[2])]
    assert [entry["target"] for entry in document["broken"]] == [str(broken), str(tmp_path / "none.png")]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_targets_of_one_name_have_figures_of_their_own(semcorr, images, quick, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / images[1].name
    twin.write_bytes(images[2].read_bytes())
    ran = semcorr("match", images[0], images[1], twin, *POINTS, *quick, "-o", tmp_path / "out")
    assert ran.status == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"image-0-to-image-1.png", "image-0-to-image-1-2.png"}


@pytest.mark.parametrize("blocked", ["match", "describe"])
def test_a_folder_that_cannot_be_written_is_reported(semcorr, images, quick, tmp_path, blocked):
    # A file where a folder is expected.
    (tmp_path / "out").write_text("in the way")
    words = {
        "match": ["match", *images[:2], *POINTS, *quick, "-o", tmp_path / "out"],
        "describe": ["describe", images[0], *POINTS, *quick, "-o", tmp_path / "out" / "query.safetensors"],
    }[blocked]
    ran = semcorr(*words)
    assert ran.status == 2
    assert "cannot be written" in ran.err
    assert "Traceback" not in ran.err
