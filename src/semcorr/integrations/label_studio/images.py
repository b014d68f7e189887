"""The images of tasks: files on this machine, or of the Label Studio server."""

import hashlib
from pathlib import Path

from semcorr.errors import ImageError
from semcorr.integrations.label_studio.server_client import LabelStudioServer
from semcorr.keypoints.file_reader import DataFolder
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.label_studio.addresses import possible_paths
from semcorr.storage.files import is_file, write_atomically


class TaskImages:
    """Finds images by their addresses in tasks. No path outside the folders, and no other server's address, is read.

    Args:
        folder: The folder of images, or None.
        server: The server that has the others, or None.
        downloads: Where files of the server are kept.
    """

    def __init__(self, folder: Path | None, server: LabelStudioServer | None, downloads: Path) -> None:
        self._folder, self._server, self._downloads = folder, server, downloads

    def path(self, address: str) -> Path:
        """The file of an address, downloaded if it is the server's.

        Raises:
            DatasetError: Several files fit it equally well.
            ImageError: There is none.
            ServerError: The server cannot be reached, or refuses.
        """
        if self._folder is not None:
            folder = DataFolder(root=self._folder, title="Images", advice="Name another folder with --images.")
            path = ImagePaths(folder, self._folder).find_all([address], possible_paths=possible_paths)[address]
            if is_file(path):
                return path
        if self._server is not None and address.startswith("/"):
            kept = self._downloads / hashlib.sha256(address.encode()).hexdigest()
            return kept if kept.exists() else write_atomically(kept, self._server.file(address))
        where = "in a folder (--images)" if self._folder is None else f"below {str(self._folder)!r}"
        raise ImageError(
            f"Expected the image {address[:200]!r} {where}, and there is none. Name the folder that holds the "
            "project's images with --images, or the server that has them with --label-studio."
        )
