"""``semcorr calibrate``: turn a method's confidence into a probability."""

from pathlib import Path
from typing import Literal

from semcorr.cli import console
from semcorr.cli.options import Output
from semcorr.errors import SemcorrError, SettingsError


def calibrate(
    run: Path,
    /,
    *,
    output: Output,
    kind: Literal["auto", "platt", "isotonic"] = "auto",
    alpha: float = 0.1,
    threshold: str | None = None,
) -> int:
    """Fit a calibration to a run, for --calibration of the same method, model and settings.

    The run is one of `semcorr eval ... --calibration none`, of pairs that are not those one wants figures for. With it,
    a confidence is the probability that a point is right: in the run's own data set, and between images that are like
    the run's. Elsewhere it is uncalibrated.

    Args:
        run: Folder that `semcorr eval` wrote.
        output: The file to write, ending in .json.
        kind: platt: a logistic curve; isotonic: steps, which need more points; auto: whichever has the smaller error on
            pairs that it was not fitted to.
        alpha: A point is right within this fraction of the threshold's size.
        threshold: The rule for that size, as for `semcorr report`. [default: the data set's own]
    """
    from semcorr.evaluation.fit_calibration import calibrate as fit
    from semcorr.evaluation.runs.folder import read_run

    if output.suffix != ".json":
        raise SettingsError(f"Expected a file name that ends in .json after -o, got {str(output)!r}.")
    curve = fit(read_run(run), kind=kind, alpha=alpha, threshold=threshold)
    try:
        curve.save(output)
    except OSError as error:
        raise SemcorrError(
            f"{str(output)!r} cannot be written: {error.strerror or error}. Choose another -o."
        ) from error
    folds = curve.source["calibration_error_of_folds"]
    console.say(
        f"{output}: {curve.method}, {curve}, {curve.source['fit']}; calibration error in five folds {folds:.3f}"
    )
    if curve.domain is None:
        console.note(
            "The run's images are no longer where they were: the calibration holds for its own data set alone."
        )
    console.say(f"Use it with: --method {curve.method} --calibration {output}")
    return 0
