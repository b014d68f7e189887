"""Fit a calibration to a run: the fraction of right points at each confidence."""

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from semcorr.errors import CalibrationError, ImageError, SettingsError
from semcorr.evaluation.metrics.confidence import calibration_error
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.evaluation.metrics.protocol import named
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.runs.baselines import BASELINES
from semcorr.evaluation.runs.records import Run
from semcorr.imaging.domain import Domain, statistics
from semcorr.imaging.image import load_image
from semcorr.matchers.wrappers.calibration import Calibration, key_of

Kind = Literal["auto", "platt", "isotonic"]

_FOLDS = 5
_LEAST = 100
"""With fewer points a curve would fit noise."""


def calibrate(run: Run, *, kind: Kind = "auto", alpha: float = 0.1, threshold: str | None = None) -> Calibration:
    """Fit a curve from a run's confidence to the fraction of right points.

    Args:
        run: A finished run of pairs other than those that figures will be reported for.
        kind: ``"platt"``: a logistic curve; ``"isotonic"``: non-decreasing steps, which need more points; ``"auto"``:
            the one with the smaller calibration error on pairs that it was not fitted to, in five folds.
        alpha: A point is right within this fraction of the threshold's size.
        threshold: The rule for that size; the data set's own by default.

    Raises:
        CalibrationError: A baseline's run, an unfinished or a small one, or one whose confidence is calibrated already.
        SettingsError: The rule is unknown or needs boxes that are missing, or scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise SettingsError('Calibrating needs scikit-learn: pip install "semcorr[eval]"')
    method, dataset = run.settings["method"], run.settings["dataset"]
    if method["name"] in BASELINES:
        raise CalibrationError(f"A run of {method['name']!r} has no confidence. Calibrate a method's run.")
    if "calibration" in method:
        raise CalibrationError(
            f"The confidence in {run.folder} is calibrated already. Make the run again with --calibration none."
        )
    if len(run.records) < run.expected:
        raise CalibrationError(
            f"{run.folder} has {len(run.records)} of {run.expected} pairs: finish it with `semcorr eval` first."
        )
    protocol = named(threshold or str(dataset.get("threshold") or "target-box"))
    scores = score([record for record in run.records if not record.error], protocol)
    right = is_correct(scores.errors, alpha)
    if len(right) < _LEAST or right.all() or not right.any():
        raise CalibrationError(
            f"{run.folder} has {len(right)} points, {int(right.sum())} of them right. Expected at least {_LEAST}, some "
            "right and some wrong: run more pairs."
        )
    confidence = np.concatenate([record.confidence for record in scores.records])
    errors = {each: _cross_validated_error(each, confidence, right, scores.pair % _FOLDS) for each in _FITS}
    chosen = min(errors, key=lambda each: errors[each]) if kind == "auto" else kind
    corners = _FITS[chosen](confidence, right)
    return Calibration(
        method=method["name"],
        key=key_of(method["name"], method),
        confidence=tuple(corners[0].tolist()),
        probability=tuple(corners[1].tolist()),
        source={
            "model": method["model_id"],
            "model_fingerprint": method["model_fingerprint"],
            "preset": method.get("preset"),
            "dataset": dataset["name"],
            **{name: dataset[name] for name in ("split", "setting", "content") if dataset.get(name)},
            "categories": sorted({record.category for record in scores.records}),
            "right": f"within {alpha:g} of the {protocol}",
            "pairs": len(scores.records),
            "points": len(right),
            "fit": chosen,
            "calibration_error_of_folds": round(errors[chosen], 4),
            "semcorr": version("semcorr"),
        },
        domain=domain_of(run),
    )


def domain_of(run: Run) -> Domain | None:
    """The statistics of a run's images; None if one of them is no longer where it was in the run."""
    root = Path(run.settings["dataset"].get("root", "."))
    files = sorted({root / name for record in run.records for name in (record.source, record.target)})
    try:
        return Domain.of(statistics(load_image(file)) for file in files)
    except ImageError:
        return None


def _cross_validated_error(
    kind: str,
    confidence: Float[np.ndarray, " points"],
    right: Bool[np.ndarray, " points"],
    fold: Int[np.ndarray, " points"],
) -> float:
    """The calibration error on points whose fold was left out of the fit."""
    fitted = np.zeros(len(right))
    for number in range(_FOLDS):
        out = fold == number
        fitted[out] = np.interp(confidence[out], *_FITS[kind](confidence[~out], right[~out]))
    return calibration_error(fitted, right)


def _platt(
    confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    # Hardly any penalty: two parameters from hundreds of points need none.
    model = LogisticRegression(C=1e6).fit(confidence[:, None], right)
    slope = float(model.coef_[0, 0])
    if slope <= 0:
        raise CalibrationError(
            "The more confident the method was, the less often it was right. Such a confidence cannot be calibrated."
        )
    corners = np.linspace(0, 1, 101)
    return corners, np.round(model.predict_proba(corners[:, None])[:, 1], 5)


def _isotonic(
    confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.isotonic import IsotonicRegression

    # So many points prove neither 0 nor 1 (rule of succession).
    least = 1 / (len(right) + 2)
    model = IsotonicRegression(y_min=least, y_max=1 - least).fit(confidence, right)
    return model.X_thresholds_, np.round(model.y_thresholds_, 5)


_FITS = {"platt": _platt, "isotonic": _isotonic}
