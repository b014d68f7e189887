"""``semcorr label-studio``: predictions for Label Studio's tasks, as a machine learning backend."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from semcorr.cli import console
from semcorr.cli.extras import check_app_extra
from semcorr.cli.options import MatcherOptions, Repeated
from semcorr.cli.targets import chosen, load
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.app.server.address import Address

_MATCHER = MatcherOptions()


def label_studio(
    annotations: Path | None = None,
    /,
    *,
    images: Path | None = None,
    label_studio: str = "",
    port: int = 9090,
    host: str = "127.0.0.1",
    name: Repeated = (),
    support: int = 5,
    margin: float = 0.2,
    min_confidence: float = 0.5,
    category: Repeated = (),
    options: MatcherOptions = _MATCHER,
) -> int:
    """Predict key-points for the tasks of Label Studio, which calls this command as a machine learning backend.

    Points come from ANNOTATIONS, any file that `semcorr transfer` takes, or, without it, from the annotated tasks of
    the project itself: annotate a few, then press Start Training. In the project's settings, Model, connect the address
    that is printed; with interactive preannotations, a key-point or rectangle drawn with Auto-Annotation asks for a
    prediction.

    --label-studio needs a personal access token of Label Studio in the environment variable LABEL_STUDIO_API_KEY. If
    SEMCORR_PASSWORD is set, requests must have that password (Basic Auth, any user name). Ctrl-C ends it.

    Args:
        annotations: The file of annotations. The button Start Training reads it again.
        images: Folder of the images that tasks and ANNOTATIONS name; those of others come from the server.
        label_studio: Address of the Label Studio server, such as http://localhost:8080.
        port: Where the backend listens; 0 takes any port that is free.
        host: The address it listens at; another than this machine's own needs SEMCORR_PASSWORD.
        name: A further host name to answer to, such as host.docker.internal; repeat for more.
        support: Annotated objects of each category that points are taken from, at most.
        margin: Room around a box, on every side, as a fraction of its longer side.
        min_confidence: Points of less confidence are not drawn.
        category: Only this category; repeat for more.
        options: What to match with.
    """
    check_app_extra()
    password, key = os.environ.get("SEMCORR_PASSWORD", ""), os.environ.get("LABEL_STUDIO_API_KEY", "")
    if not 0 <= min_confidence <= 1:
        raise SettingsError(f"Expected --min-confidence from 0 to 1, got {min_confidence}.")
    if label_studio and not key:
        raise SettingsError(
            "Expected a personal access token in the environment variable LABEL_STUDIO_API_KEY, got none. Label Studio "
            "makes one in Account & Settings."
        )
    from semcorr.app.server.address import Address, free_port
    from semcorr.app.server.run import run
    from semcorr.integrations.label_studio.backend import Backend, from_file, from_projects
    from semcorr.integrations.label_studio.images import TaskImages
    from semcorr.integrations.label_studio.server import guarded
    from semcorr.integrations.label_studio.server_client import LabelStudioServer
    from semcorr.transfer.plan import TransferSettings

    address = Address(host=host, port=port, names=tuple(name))
    if not address.local and not password:
        raise SettingsError(f"Expected a password for {host} in the environment variable SEMCORR_PASSWORD, got none.")
    address = replace(address, port=free_port(address))
    settings = TransferSettings(support=support, margin=margin, categories=category)
    server = LabelStudioServer(label_studio, key) if label_studio else None
    with TemporaryDirectory(prefix="semcorr-label-studio-") as folder:
        task_images = TaskImages(images, server, Path(folder) / "downloads")
        if annotations is not None:
            source = partial(from_file, annotations, images)
        elif server is not None:
            source = partial(from_projects, server, task_images, Path(folder))
        else:
            raise SettingsError("Expected ANNOTATIONS, or with --label-studio the server whose tasks are annotated.")
        read = source(load(chosen(options)), settings)
        backend = Backend(read, task_images, min_confidence=min_confidence, for_all=annotations is not None, note=_note)
        backend.start()
        run(guarded(backend, address, password=password, note=_note), address, lambda: _announce(address))
    return 0


def _note(text: str) -> None:
    console.note(f"{text[:1].upper()}{text[1:].rstrip('.')}.")


def _announce(address: "Address") -> None:
    name = "localhost" if address.local else address.host
    console.say(f"The backend is at http://{name}:{address.port} (Ctrl-C ends it).")
