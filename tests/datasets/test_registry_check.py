"""Benchmarks by name, and the check of a copy."""

import pytest

from semcorr.datasets import registry
from semcorr.datasets.check import check
from semcorr.errors import DatasetError

# The table of the field: classes in alphabetical order.
SPAIR_COUNTS = [690, 650, 702, 702, 870, 644, 564, 600, 646, 640, 600, 600, 702, 650, 862, 664, 756, 692]


def test_what_is_known():
    spair = registry.BENCHMARKS["spair"].known["test", ""]
    assert [spair.by_category[category] for category in sorted(spair.by_category)] == SPAIR_COUNTS
    assert sum(SPAIR_COUNTS) == spair.pairs == 12_234
    assert {name: spec.pairs for name, spec in registry.BENCHMARKS.items() if spec.pairs} == {
        "spair": 12_234,
        "pf-willow": 900,
        "pf-pascal": 299,
        "toy": 312,
    }
    (source,) = registry.BENCHMARKS["spair"].sources
    assert (source.file, source.size) == ("SPair-71k.tar.gz", 226_961_117)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("spiar", {}, r"Unknown data set 'spiar'. Did you mean 'spair'\? Known: spair, spair-u,"),
        ("spair", {"split": "tset"}, r"SPair-71k has no split 'tset'. Did you mean 'test'\? Known: test, val, trn"),
        ("cub", {"setting": "asci"}, r"CUB-200-2011 has no setting 'asci'. Did you mean 'asic'\? Known: released"),
        ("spair", {"setting": "asic"}, r"SPair-71k has no setting 'asic'. It has no settings"),
        ("spair", {"categories": ["aeroplan"]}, r"has no category 'aeroplan'. Did you mean 'aeroplane'\?"),
        ("spair", {"flags": {"viewpont": ["0"]}}, r"has no flag 'viewpont'. Did you mean 'viewpoint'\?"),
        ("spair", {"flags": {"viewpoint": ["0", "3"]}}, r"has no viewpoint '3'\. Known: 0"),
        ("cub", {"flags": {"viewpoint": ["0"]}}, r"has no flag 'viewpoint'. It has no flags"),
        ("spair", {"limit": 0}, "Expected a limit of at least 1 pair, got 0"),
    ],
)
def test_unknown_names_are_refused(spair_copy, cub_copy, name, options, message):
    with pytest.raises(DatasetError, match=message):
        registry.load(name, cub_copy if name == "cub" else spair_copy, **options)


def test_flags_choose_pairs(spair_copy, literal, write_pairs):
    """Values of one flag are alternatives, of two flags all must hold."""
    flags = [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1)]
    records = [
        {**literal, "filename": f"{n}:aeroplane", "viewpoint_variation": viewpoint, "scale_variation": scale}
        for n, (viewpoint, scale) in enumerate(flags)
    ]
    write_pairs(spair_copy, records)

    def chosen(**flags):
        return [pair.id.partition(":")[0] for pair in registry.load("spair", spair_copy, flags=flags).pairs]

    assert chosen() == ["0", "1", "2", "3", "4"]
    assert chosen(viewpoint=["1", "2"]) == ["1", "2", "3", "4"]
    assert chosen(viewpoint=["1", "2"], scale=["1"]) == ["3", "4"]


@pytest.mark.parametrize(("folder", "name"), [("SPair-71k", "spair"), ("pf-willow", "pf-willow"), ("cub", "cub")])
def test_a_benchmark_by_its_folder(tmp_path, folder, name):
    assert registry.find_by_folder(tmp_path / folder).name == name
    with pytest.raises(DatasetError, match=r"No benchmark's folder is called 'photos' \(SPair-71k, .* as well"):
        registry.find_by_folder(tmp_path / "photos")


def test_limit(cub_copy):
    whole = registry.load("cub", cub_copy, setting="asic")
    some = registry.load("cub", cub_copy, setting="asic", limit=1)
    assert [pair.id for pair in some.pairs] == [whole.pairs[0].id]
    assert (some.setting, some.root) == ("asic", whole.root)


def messages(report):
    return [finding.message for finding in report.findings if finding.broken]


def test_a_small_copy_is_not_whole(spair_copy):
    report = check("spair", spair_copy.parent)
    assert (report.total.pairs, report.total.points, report.total.images) == (1, 3, 2)
    assert vars(report.categories["aeroplane"]) == {"pairs": 1, "points": 3, "images": 2}
    assert not report.whole
    problems = messages(report)
    assert problems[:2] == ["Expected 12234 pairs, got 1.", "Expected 18 categories, got 1."]
    assert "aeroplane: expected 690 pairs, got 1." in problems
    assert "bird: expected 702 pairs, got 0." in problems
    assert problems[-1] == "Expected 1800 files JPEGImages/*/*.jpg, got 2."


def test_missing_empty_broken_and_resized_images(spair_copy, save_image, literal, write_pairs):
    first = spair_copy / "JPEGImages" / "aeroplane" / "2008_002719.jpg"
    other = first.with_name("2008_004100.jpg")
    first.unlink()
    assert "1 of 2 images are missing: JPEGImages/aeroplane/2008_002719.jpg." in messages(check("spair", spair_copy))
    first.write_bytes(b"")
    assert "1 of 2 images are empty: JPEGImages/aeroplane/2008_002719.jpg." in messages(check("spair", spair_copy))
    first.write_bytes(other.read_bytes()[:300])
    save_image(other, (20, 10))
    assert not any("images" in message for message in messages(check("spair", spair_copy)))
    problems = messages(check("spair", spair_copy, deep=True))
    assert "1 images cannot be read: JPEGImages/aeroplane/2008_002719.jpg." in problems
    assert any("2008_004100.jpg (20 x 10, not 500 x 332)" in message for message in problems)


def test_notes_are_not_problems(spair_copy, literal, write_pairs):
    bare = {**literal, "filename": "2:aeroplane", "src_kps": [], "trg_kps": [], "kps_ids": []}
    write_pairs(spair_copy, [{**literal, "src_kps": [[600, 2], [1, 1], [2, 2]]}, bare])
    notes = [finding.message for finding in check("spair", spair_copy).findings if not finding.broken]
    assert notes[0] == "1 pairs have no common points and count in no figure."
    assert notes[1].startswith(
        "1 pairs have points outside their image; a run moves a source's onto its edge: 000001-2008_002719"
    )


def test_unknown_counts_are_reported(tmp_path, literal, write_pairs, save_image):
    write_pairs(tmp_path / "SPair-U", [literal])
    for name, size in (("2008_002719", (500, 333)), ("2008_004100", (500, 332))):
        save_image(tmp_path / "SPair-U" / "JPEGImages" / "aeroplane" / f"{name}.jpg", size)
    report = check("spair-u", tmp_path, deep=True)
    assert report.whole
    assert [finding.message for finding in report.findings] == [
        "How many pairs there should be is not known here: only what is there was checked."
    ]


def test_the_real_pf_willow_is_whole(photographs):
    report = check("pf-willow", photographs, deep=True)
    assert report.findings == []
    assert (report.total.pairs, report.total.points, report.total.images) == (900, 9000, 100)
