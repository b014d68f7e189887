"""Bad input ends in one plain message and exit status 2, before anything slow begins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one point, got none. Give each with -p X Y"),
        (["-p", "nan", "3"], "finite"),
        (["-p", "97", "3"], "outside"),
        (["-p", "-1", "3"], "outside"),
        (["-p", "one", "3"], 'unable to convert "one" into float'),
        (["-p", "1", "3", "--set", "rounds"], "Expected --set name=value, got 'rounds'"),
        (["-p", "1", "3", "--set", "=3"], "Expected --set name=value, got '=3'"),
        (["-p", "1", "3", "--set", "seed=1", "--set", "seed=2"], "'seed' is given twice"),
        (["-p", "1", "3", "--set", "round=1"], "Did you mean 'rounds'?"),
        (["-p", "1", "3", "--set", "lr=many"], "Setting 'lr'"),
        (["-p", "1", "3", "--set", 'layers=["up/3"]'], "up_blocks.1.attentions.0"),
        (["-p", "1", "3", "--preset", "papre"], "Did you mean 'paper'?"),
        (["-p", "1", "3", "--dtype", "float8"], "float8"),
        (["-p", "1", "3", "--modle", "toy"], "Did you mean --model?"),
    ],
)
def test_wrong_input_is_refused_with_a_message(semcorr, images, quick, tmp_path, words, message):
    ran = semcorr("match", *images[:2], *quick, *words, "-o", tmp_path / "out")
    assert ran.status == 2
    assert message in ran.err
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_no_target(semcorr, images):
    ran = semcorr("match", images[0], "-p", 1, 1)
    assert ran.status == 2
    assert "at least one target image, got none" in ran.err


def test_images_are_read_before_the_model(semcorr, images, tmp_path):
    ran = semcorr("match", images[0], tmp_path / "none.png", "-p", 1, 1, "--model", "no/such-model")
    assert ran.status == 2
    assert "none.png" in ran.err
    ran = semcorr("match", tmp_path / "nothing.png", images[0], "-p", 1, 1, "--model", "no/such-model")
    assert ran.status == 2
    assert "nothing.png" in ran.err


def test_an_unknown_model_is_named(semcorr, images):
    ran = semcorr("match", *images[:2], "-p", 1, 1, "--model", "tyo")
    assert ran.status == 2
    assert "'tyo'" in ran.err


def test_an_unknown_command(semcorr):
    ran = semcorr("mtach", "a.png")
    assert ran.status == 2
    assert 'Did you mean "match"?' in ran.err


def test_a_query_file_is_safetensors(semcorr, images, quick, tmp_path):
    ran = semcorr("describe", images[0], "-p", 1, 1, *quick, "-o", tmp_path / "query.pt")
    assert ran.status == 2
    assert "ends in .safetensors" in ran.err


def test_a_file_that_is_no_query(semcorr, images, tmp_path, tiny_sd):
    weights = tiny_sd / "vae" / "diffusion_pytorch_model.safetensors"
    ran = semcorr("locate", weights, images[0])
    assert ran.status == 2
    assert "is not a query file" in ran.err
    ran = semcorr("locate", tmp_path / "none.safetensors", images[0])
    assert ran.status == 2
    assert "There is no query file" in ran.err


def test_offline_the_default_checkpoint_is_named_and_what_to_do(semcorr_process, images, tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    process = semcorr_process(
        *("match", *images[:2], "-p", 1, 1, "--method", "attention-dift"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    out, err = process.communicate(timeout=400)
    assert process.returncode == 2
    assert out == b""
    lines = err.decode().splitlines()
    assert len(lines) == 4, err.decode()
    assert lines[0] == "Matching with attention-dift (preset fast) on CompVis/stable-diffusion-v1-4."
    assert "CompVis/stable-diffusion-v1-4" in lines[1]
    assert "pass a folder" in lines[3]
    assert "--model toy" in lines[3]


@pytest.mark.parametrize(
    "words",
    [
        ["match", "LONG", "LONG", "-p", "1", "1"],
        ["match", "a.png", "a.png", "-p", "1", "1", "--model", "LONG"],
        ["match", "a.png", "a.png", "-p", "1", "1", "--method", "dino", "--model", "LONG"],
        ["locate", "LONG", "a.png"],
        ["transfer", "a.csv", "--images", "LONG", "-o", "out.json"],
        ["eval", "own", "--data", "LONG"],
        ["eval", "toy", "--data", "LONG"],
        ["eval", "toy", "--limit", "1", "-o", "LONG"],
        ["report", "LONG"],
        ["dense", "a.png", "a.png", "--model", "toy", "--method", "dift", "-o", "LONG"],
    ],
    ids=" ".join,
)
def test_a_name_too_long_for_the_system_is_refused(semcorr, images, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    shutil.copy(images[0], "a.png")
    Path("a.csv").write_text("image,name,x,y\na.png,ear,1,2\n", encoding="utf-8")
    ran = semcorr(*("x" * 300 if word == "LONG" else word for word in words))
    assert ran.status == 2
    assert "x" * 60 in ran.err
    assert "Traceback" not in ran.err
