"""Downloads, from a real server on this machine, and archives that mean no good."""

import hashlib
import io
import tarfile
import zipfile

import numpy as np
import pytest

from semcorr.datasets.archive import unpack
from semcorr.datasets.benchmark import Source
from semcorr.datasets.download import download
from semcorr.errors import DatasetError

FILES = {"SPair-71k/Layout/large/test.txt": b"one:cat\n", "SPair-71k/README": np.random.default_rng(1).bytes(50_000)}


def tar(members, mode="w:gz"):
    """An archive of (name, content) or of ready-made entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return out.getvalue()


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = tar([("attributes.txt", b"beside"), *FILES.items()])


@pytest.fixture
def serve(server):
    """Serves content under a name and returns its source."""

    def offer(content, *, inside="SPair-71k", file="set.tgz", size=None, md5=None):
        server.files[file] = content
        return [Source(url=f"{server.address}/{file}", inside=inside, size=size, md5=md5)]

    return offer


def everything(folder):
    """All that lies below a folder: nothing may be left behind."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("content", [GOOD, tar(FILES.items(), "w"), tar(FILES.items(), "w:xz"), zipped(FILES.items())])
def test_a_good_archive(tmp_path, serve, content):
    steps = []
    sources = serve(content, size=len(content), md5=md5(content))
    folder = download("spair", tmp_path / "data", sources=sources, progress=lambda *step, **_: steps.append(step))
    assert folder == tmp_path / "data" / "SPair-71k"
    assert everything(tmp_path / "data") == [
        *("SPair-71k", "SPair-71k/Layout", "SPair-71k/Layout/large", "SPair-71k/Layout/large/test.txt"),
        "SPair-71k/README",
    ]
    for name, text in FILES.items():
        assert (tmp_path / "data" / name).read_bytes() == text
    assert ("download", len(content), len(content)) in steps


def test_an_archive_and_a_plain_file(tmp_path, serve):
    sources = serve(GOOD) + serve(b"source,target\n", inside=None, file="pairs.csv")
    folder = download("spair", tmp_path, sources=sources)
    assert (folder / "pairs.csv").read_bytes() == b"source,target\n"
    assert (folder / "README").is_file()


def test_what_was_cut_off_is_gone_on_with(tmp_path, serve, server):
    sources = serve(GOOD, md5=md5(GOOD))
    cut = len(GOOD) // 3
    server.cut = cut
    for have in (cut, 2 * cut):
        expected = rf"cut off after {have} of {len(GOOD)} bytes.*the same command continues"
        with pytest.raises(DatasetError, match=expected):
            download("spair", tmp_path, sources=sources)
        assert everything(tmp_path) == ["set.tgz.part"]
        assert (tmp_path / "set.tgz.part").read_bytes() == GOOD[:have]
    server.cut = None
    assert download("spair", tmp_path, sources=sources).is_dir()
    assert [requested for _, requested in server.asked] == [None, f"bytes={cut}-", f"bytes={2 * cut}-"]
    assert not (tmp_path / "set.tgz.part").exists()


def test_a_server_without_ranges_begins_anew(tmp_path, serve, server):
    sources = serve(GOOD)
    (tmp_path / "set.tgz.part").write_bytes(b"something of an earlier day that is shorter")
    server.ranges = False
    assert (download("spair", tmp_path, sources=sources) / "README").is_file()


def test_a_part_that_is_complete_is_unpacked(tmp_path, serve, server):
    sources = serve(GOOD)
    (tmp_path / "set.tgz.part").write_bytes(GOOD)
    assert (download("spair", tmp_path, sources=sources) / "README").is_file()
    assert [requested for _, requested in server.asked] == [f"bytes={len(GOOD)}-"]


def test_a_part_that_is_too_long_is_thrown_away(tmp_path, serve):
    sources = serve(GOOD)
    (tmp_path / "set.tgz.part").write_bytes(GOOD + b"more")
    assert (download("spair", tmp_path, sources=sources) / "README").is_file()


BAD = {
    "wrong checksum": (GOOD, {"md5": "0" * 32}, "expected MD5 0{32}, got .*The file was removed"),
    "wrong size": (GOOD[:-20], {"size": len(GOOD)}, rf"expected {len(GOOD)} bytes, got {len(GOOD) - 20}"),
    "truncated tar": (GOOD[: len(GOOD) * 2 // 3], {}, "set.tgz: expected a whole archive, got a broken one"),
    "truncated plain tar": (tar(FILES.items(), "w")[:20_000], {}, "got a broken one"),
    "truncated zip": (zipped(FILES.items())[:-30], {}, "expected a tar or zip archive, got something else"),
    "a page": (b"<html>sorry</html>", {}, "expected a tar or zip archive"),
    "nothing": (b"", {}, "expected a tar or zip archive"),
    "another folder": (tar([("else/a", b"a")]), {}, "expected the folder 'SPair-71k' in it, got else"),
    "..": (tar([*FILES.items(), ("../evil", b"x")]), {}, r"a path that leads out of the folder: '\.\./evil'"),
    ".. deep": (tar([("SPair-71k/a/../../../evil", b"x")]), {}, "leads out of the folder"),
    "absolute": (tar([("/srv/evil", b"x")]), {}, "an absolute path: '/srv/evil'"),
    "drive": (tar([("C:\\evil", b"x")]), {}, "an absolute path"),
    "backslash": (tar([("SPair-71k\\..\\evil", b"x")]), {}, "leads out of the folder"),
    "symbolic link": (tar([entry("SPair-71k/x", tarfile.SYMTYPE, "/etc")]), {}, "got a link: 'SPair-71k/x'"),
    "link within": (tar([*FILES.items(), entry("SPair-71k/x", tarfile.SYMTYPE, "README")]), {}, "got a link"),
    "hard link": (tar([*FILES.items(), entry("SPair-71k/x", tarfile.LNKTYPE, "SPair-71k/README")]), {}, "got a link"),
    "device": (tar([entry("SPair-71k/x", tarfile.CHRTYPE)]), {}, "got a device"),
    "pipe": (tar([entry("SPair-71k/x", tarfile.FIFOTYPE)]), {}, "got a device"),
    "file as folder": (tar([("SPair-71k/x", b"x"), ("SPair-71k/x/y", b"y")]), {}, "got a broken one"),
    "zip ..": (zipped([("../evil", b"x")]), {}, "leads out of the folder"),
    "zip absolute": (zipped([("/evil", b"x")]), {}, "an absolute path"),
    "zip backslash": (zipped([("..\\evil", b"x")]), {}, "leads out of the folder"),
}


def zip_link():
    info = zipfile.ZipInfo("SPair-71k/x")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return zipped([(info, b"/etc")])


def zip_nameless():
    """In the list of members, the name's one byte becomes a note's."""
    content = bytearray(zipped([("q", b"x")]))
    listed = content.index(b"PK\x01\x02")
    content[listed + 28 : listed + 32] = (0, 0, 1, 0)
    return bytes(content)


BAD["zip without a name"] = (zip_nameless(), {}, "expected")
BAD["zip link"] = (zip_link(), {}, "got a link: 'SPair-71k/x'")
flipped = bytearray(zipped(FILES.items()))
flipped[60] ^= 0xFF
BAD["zip with a wrong byte"] = (bytes(flipped), {}, "expected a whole archive, got a broken one")


@pytest.mark.parametrize("case", BAD)
def test_refused_with_nothing_left_behind(tmp_path, serve, case):
    content, known, message = BAD[case]
    with pytest.raises(DatasetError, match=message):
        download("spair", tmp_path / "deep" / "data", sources=serve(content, **known))
    assert everything(tmp_path) in ([], ["deep"])
    assert not (tmp_path.parent / "evil").exists()


def test_an_address_that_is_gone(tmp_path, server):
    with pytest.raises(DatasetError, match=r"answered 404 Not Found\. The address may have changed"):
        download("spair", tmp_path, sources=[Source(url=f"{server.address}/gone.tgz", inside="x")])
    with pytest.raises(DatasetError, match=r"127\.0\.0\.1:9/x\.tgz is out of reach.*Connection refused"):
        download("spair", tmp_path, sources=[Source(url="http://127.0.0.1:9/x.tgz", inside="x")])
    with pytest.raises(DatasetError, match="begins with https:// or http://, got 'file:///etc/passwd'"):
        download("spair", tmp_path, sources=[Source(url="file:///etc/passwd", inside="x")])
    assert everything(tmp_path) == []


def test_nothing_is_overwritten(tmp_path, serve):
    (tmp_path / "SPair-71k").mkdir()
    with pytest.raises(DatasetError, match=r"is there already\. See whether it is whole: semcorr data check spair"):
        download("spair", tmp_path, sources=serve(GOOD))


def test_without_an_address(tmp_path):
    with pytest.raises(DatasetError, match="AP-10K has no address to download it from here"):
        download("ap10k", tmp_path)
    with pytest.raises(DatasetError, match="Unknown data set 'spiar'"):
        download("spiar", tmp_path)


def test_a_folder_that_cannot_be_written_keeps_the_part(tmp_path, serve):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"cannot be written into .*Name a folder that can be written"):
        download("spair", tmp_path / "file", sources=serve(GOOD))


def test_stopped_while_unpacking(tmp_path, serve):
    def stop(stage, *_, **__):
        if stage == "unpack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("spair", tmp_path, sources=serve(GOOD), progress=stop)
    assert everything(tmp_path) == ["set.tgz.part"]
    assert (download("spair", tmp_path, sources=serve(GOOD)) / "README").is_file()


def test_all_members_are_judged_before_the_first_is_written(tmp_path):
    (tmp_path / "a.tgz").write_bytes(BAD[".."][0])
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DatasetError, match="Nothing was unpacked"):
        unpack(tmp_path / "a.tgz", out)
    assert everything(out) == []


@pytest.mark.slow
def test_a_bomb_is_not_unpacked(tmp_path):
    """1.2 GB of nothing in a megabyte, as tar and as zip: refused from what they say of themselves."""
    head = tarfile.TarInfo("folder/zeros")
    head.size = 12 * 10**8
    (tmp_path / "a.tar").write_bytes(head.tobuf() + bytes(10**6))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as stream:
        for _ in range(1_100):
            stream.write(bytes(10**6))
    (tmp_path / "b.zip").write_bytes(out.getvalue())
    for name in ("a.tar", "b.zip"):
        folder = tmp_path / f"out-{name}"
        folder.mkdir()
        with pytest.raises(DatasetError, match=r"expected at most 1\.1 GB in at most 1,000,000 files"):
            unpack(tmp_path / name, folder)
        assert not list(folder.iterdir())


def test_notes_of_any_length_are_not_read(tmp_path):
    head = tarfile.TarInfo("notes")
    head.type, head.size = tarfile.XHDTYPE, 5 * 10**9
    (tmp_path / "a.tar").write_bytes(head.tobuf() + bytes(2048))
    with pytest.raises(DatasetError, match="expected a tar or zip archive"):
        unpack(tmp_path / "a.tar", tmp_path)


def test_a_name_that_no_system_has_is_a_broken_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped([("x" * 300, b"text")]))
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match="expected a whole archive, got a broken one"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
