"""``semcorr data``: list, download, check."""

import io
import json
import tarfile

import pytest

from semcorr.cli.data import data_app
from semcorr.cli.main import app, main
from semcorr.datasets.registry import BENCHMARKS
from semcorr.toy.spair_layout import write_spair


@pytest.fixture(autouse=True)
def _registered():
    if "data" not in app:
        app.command(data_app)


def test_the_list(semcorr):
    ran = semcorr("data", "list")
    assert ran.status == 0
    for spec in BENCHMARKS.values():
        assert f" {spec.name} " in ran.out
        assert spec.origin in ran.out
    assert "12234" in ran.out
    document = json.loads(semcorr("data", "list", "--json").out)
    assert [row["name"] for row in document["datasets"]] == list(BENCHMARKS)
    (willow,) = [row for row in document["datasets"] if row["name"] == "pf-willow"]
    assert (willow["pairs"], willow["threshold"]) == (900, "keypoints")


def test_checking_a_small_copy(semcorr, tmp_path):
    write_spair(tmp_path / "SPair-71k", images=2, size=48)
    ran = semcorr("data", "check", "spair", tmp_path, "--deep")
    assert ran.status == 1
    assert "wrong: Expected 12234 pairs, got 8." in ran.out
    assert ran.out.splitlines()[-1] == f"spair test in {tmp_path / 'SPair-71k'}: not whole."
    document = json.loads(semcorr("data", "check", tmp_path / "SPair-71k", "--split", "val", "--json").out)
    assert document["split"] == "val"
    assert document["total"]["pairs"] == 8
    assert document["whole"] is False


def test_checking_the_real_one(semcorr, photographs):
    ran = semcorr("data", "check", "pf-willow", photographs)
    assert ran.status == 0
    assert ran.out.splitlines()[-1].endswith("pf-willow: nothing is missing.")
    assert ran.out.count(" 90 ") == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "spiar", "."], "Did you mean 'spair'?"),
        (["check", "spair", "nowhere"], "expected the folder Layout/large in 'nowhere'"),
        (["check", "cub", ".", "--setting", "asci"], "Did you mean 'asic'?"),
        (["download", "ap10k"], "AP-10K has no address"),
        (["download", "willow"], "Did you mean 'pf-willow'?"),
    ],
)
def test_bad_requests_are_refused(semcorr, words, message):
    ran = semcorr("data", *words)
    assert ran.status == 2
    assert message in ran.err
    assert ran.out == ""


def test_download(tmp_path, capsys, monkeypatch, local_archive):
    spec = BENCHMARKS["spair"]
    monkeypatch.setitem(vars(spec.sources[0]), "url", local_archive)
    monkeypatch.setitem(vars(spec.sources[0]), "size", None)
    assert main(["data", "download", "spair", "--to", str(tmp_path / "data")]) == 0
    captured = capsys.readouterr()
    folder = tmp_path / "data" / "SPair-71k"
    assert (folder / "README").read_bytes() == b"hello"
    assert captured.out == f"SPair-71k: {folder}   Check it: semcorr data check spair {folder}\n"
    assert "Terms: its authors' own terms" in captured.err


@pytest.fixture
def local_archive(tmp_path):
    """The address of an archive on a server of this test's own."""
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    with tarfile.open(tmp_path / "served" / "SPair-71k.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("SPair-71k/README")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/SPair-71k.tar.gz"
        server.shutdown()
        thread.join()
