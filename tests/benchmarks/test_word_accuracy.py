from benchmarks.command import main
from benchmarks.word_accuracy import app, measure
from semcorr.models.diffusion import DiffusionModel


def test_the_figures_are_printed(toy_model: DiffusionModel, capsys):
    assert main(app, ["--drawings", "1", "--split", "val"]) == 0
    hits = measure(toy_model, "val", 1)
    printed = capsys.readouterr().out
    assert f"1 val drawings, {hits.words} words of visible parts" in printed
    assert f"on the part for {100 * hits.inside / hits.words:.1f} %" in printed
    assert hits.inside <= hits.words


def test_no_drawings_are_refused(capsys):
    assert main(app, ["--drawings", "0"]) == 2
    assert "at least 1, got 0" in capsys.readouterr().err
