"""A work and its job as the page gets them: plain lists and numbers for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import PIL.Image
from starlette.responses import Response

from semcorr.app.colours import heat_image, hex_colour, legend, strongest
from semcorr.app.export import count_left_out
from semcorr.app.heat import Heat, layer_choices
from semcorr.app.images import SHOWN_SIDE, original_size, to_original
from semcorr.app.matchers import LoadedMatchers, finds_regions, images_of, model_of
from semcorr.app.region_view import regions_view, target_regions_view
from semcorr.app.server.jobs import JobQueue
from semcorr.app.server.served_files import SessionFiles
from semcorr.app.server.session import Session
from semcorr.app.workspace import Workspace, contents
from semcorr.imaging.image import Image, png
from semcorr.matchers.spec import MatcherSpec
from semcorr.visualization.style import point_colour

_MOST_LOSSES = 200
_ALMOST_FULL = (
    "The disk of this server is nearly full: export what you want to keep, and delete works that you do not need."
)


def work_view(session: Session, matchers: LoadedMatchers, queue: JobQueue) -> dict[str, Any]:
    """A work."""
    with session.lock:
        work, example = session.work, session.work.example
        spec = matchers.usual(example=example)
        method, preset = session.methods.get(example, (spec.method, spec.preset))
        return {
            "revision": session.revision,
            "example": example,
            "undo": session.history.undoable,
            "redo": session.history.redoable,
            "contents": contents(work),
            "source": None if work.source is None else image_view(session.files, work.source),
            "points": _points(work),
            "regions": regions_view(session.files, work),
            "targets": [_target(session.files, work, number) for number in range(len(work.targets))],
            "found": _results(work),
            "methods": [
                {
                    "name": name,
                    "presets": matchers.presets(name),
                    "preset": MatcherSpec(method=name).preset,
                    "regions": finds_regions(name),
                    "optimizes": MatcherSpec(method=name).capabilities().optimizes,
                }
                for name in matchers.methods(example=example)
            ],
            "method": method,
            "preset": preset,
            "model": model_of(spec),
            "images": images_of(spec),
            "to_find": left_to_find(work),
            "left_out": count_left_out(work),
            "warning": _ALMOST_FULL if session.kept.nearly_full else "",
            "job": job_view(session, queue),
        }


def image_view(files: SessionFiles, image: Image) -> dict[str, Any]:
    """An image: its name, sizes, address, and a note where it was scaled down."""
    original, held = original_size(image), image.size
    note = f"scaled from {original[0]} × {original[1]} for matching; points are in the original's pixels"
    return {
        "name": image.name,
        "size": original,
        "held": held,
        "address": files.address_of(image, lambda: _thumbnail(image)),
        "note": "" if original == held else note,
    }


def colour_of(index: int) -> str:
    """The colour of a point, counted from 0, in CSS."""
    return hex_colour(point_colour(index))


def heat_response(heat: Heat | None) -> Response:
    """A heat map as PNG, transparent where it is cold; status 404 where there is none."""
    if heat is None:
        return Response("There is no such heat map.", 404)
    headers = {"cache-control": "no-store"}
    return Response(png(heat_image(heat)), media_type="image/png", headers=headers)


def job_view(session: Session, queue: JobQueue) -> dict[str, Any] | None:
    """The last job of a work; None where there was none."""
    job = session.job
    if job is None:
        return None
    status = job.status(queue.ahead(job))
    maps = status.preview_maps if status.state == "running" else None
    return {
        "number": session.job_number,
        "kind": session.job_kind,
        "state": status.state,
        "ahead": status.ahead,
        "stage": status.stage,
        "done": status.done,
        "total": status.total,
        "seconds_left": status.seconds_left,
        "losses": _thinned(status.losses),
        "preview": None if maps is None or not len(maps) else session.files.add_image(heat_image(strongest(maps))),
        "message": session.job_message if status.state == "done" else "",
        "error": status.error,
    }


def _thinned(losses: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Enough losses for a curve, the last one included."""
    return list(losses[:: -max(1, len(losses) // _MOST_LOSSES)])[::-1]


def left_to_find(work: Workspace) -> str:
    """How many points *Find* would locate, in a sentence; empty before the first run, or where nothing is left."""
    if not work.matches:
        return ""
    moved = len({cell[1] for cell in work.matches if cell not in work.decisions and work.outdated(cell)})
    kinds = (
        (work.incomplete, "is not found in every target yet", "are not found in every target yet"),
        (moved, "was moved after it was found", "were moved after they were found"),
    )
    counts = [f"{count} {f'point {one}' if count == 1 else f'points {many}'}" for count, one, many in kinds if count]
    return f"{', '.join(counts)}: press Find." if counts else ""


def summarize_warnings(warnings: tuple[str, ...]) -> str:
    """A sentence about a result's warnings; empty where there is none."""
    if len(warnings) < 2:
        return "".join(f"1 warning: {warning}." for warning in warnings)
    return f"{len(warnings)} warnings, the first: {warnings[0]}."


def _points(work: Workspace) -> list[dict[str, Any]]:
    names = [*work.names, *[""] * len(work.points)]
    made = []
    for index, (point, id_, label) in enumerate(zip(work.points, work.ids, work.labels, strict=True)):
        assert work.source is not None  # noqa: S101  # there are no points without one
        x, y = to_original(work.source, point)
        located = [work.location((target, id_)) is not None for target in work.target_ids]
        state = "new" if not any(located) else "found" if all(located) else "incomplete"
        made.append(
            {
                "id": id_,
                "x": x,
                "y": y,
                "name": names[index],
                "label": label,
                "number": index + 1,
                "colour": colour_of(index),
                "state": state,
            }
        )
    return made


def _target(files: SessionFiles, work: Workspace, number: int) -> Mapping[str, Any]:
    image, target = work.targets[number], work.target_ids[number]
    return {
        **image_view(files, image),
        "id": target,
        "points": [_match(work, image, target, id_) for id_ in work.ids],
        "regions": target_regions_view(files, work, target),
    }


def _match(work: Workspace, image: Image, target: int, point: int) -> dict[str, Any]:
    cell = (target, point)
    location, match, decision = work.location(cell), work.matches.get(cell), work.decisions.get(cell)
    x, y = (None, None) if location is None else to_original(image, location)
    state = "missing" if match is None else "outdated" if work.outdated(cell) else "found"
    if decision is not None:
        state = decision.how
    return {
        "id": point,
        "x": x,
        "y": y,
        "state": state,
        "confidence": None if match is None or state == "corrected" else match.confidence,
        "calibrated": match is not None and match.prediction.matches.calibration is not None,
    }


def _results(work: Workspace) -> dict[str, Any] | None:
    if not work.matches:
        return None
    calibrations = {match.prediction.matches.calibration for match in work.matches.values()}
    # The numbers of different calibrations do not mean the same: the legend claims none of them.
    calibration = calibrations.pop() if len(calibrations) == 1 else None
    return {
        "with": "; ".join(dict.fromkeys(match.label for match in work.matches.values())),
        "calibration": calibration,
        "legend": legend(calibration),
        "layers": layer_choices(work),
    }


def _thumbnail(image: Image) -> PIL.Image.Image:
    thumbnail = image.pil()
    thumbnail.thumbnail((SHOWN_SIDE, SHOWN_SIDE), PIL.Image.Resampling.LANCZOS)
    return thumbnail
