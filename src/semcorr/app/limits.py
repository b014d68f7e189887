"""What is refused of a user."""

from dataclasses import dataclass

from semcorr.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused, with a message.

    Attributes:
        megabytes: Size of one uploaded file, in millions of bytes.
        megapixels: Size of one image, in millions of pixels; read from its header before anything is decoded.
        held_megapixels: Larger images are scaled down to this.
        targets: Targets of one workspace.
        points: Points of one source.
        regions: Regions of one source.
        corners: Corners of one stroke of a brush.
        letters: Letters of a prompt.
        waiting: Jobs in the queue, of all users together.
        waiting_megabytes: Uploaded files that were not read yet, of all users together.
        sessions: Works in memory; others are read from the disk when they are asked for.
        held_megabytes: Images and maps in memory, of all users together.
        history_megabytes: Earlier states of one workspace, for undo; the oldest are forgotten.
        hours: Hours that a work is kept after its last use.
    """

    megabytes: float = 60.0
    megapixels: float = 200.0
    held_megapixels: float = 25.0
    targets: int = 6
    points: int = 40
    regions: int = 20
    corners: int = 2000
    letters: int = 1000
    waiting: int = 20
    waiting_megabytes: float = 1000.0
    sessions: int = 100
    held_megabytes: float = 4000.0
    history_megabytes: float = 500.0
    hours: float = 720.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise SettingsError(f"Limit {name!r}: expected a positive number, got {value!r}.")

    @property
    def bytes(self) -> int:
        """Size of one uploaded file, in bytes."""
        return int(self.megabytes * 1e6)


def check_letters(prompt: str, limits: Limits) -> None:
    """Check that a prompt is not longer than anybody types.

    Raises:
        SettingsError: It is longer.
    """
    if len(prompt) > limits.letters:
        raise SettingsError(
            f"Expected a prompt of at most {limits.letters} letters, got {len(prompt)}. Make it shorter."
        )
