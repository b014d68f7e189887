"""The images of a folder, and the files that look like images but are of an unsupported format."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import PIL.Image

from semcorr.imaging.image import known_formats
from semcorr.storage.files import is_dir

_ADVICE: dict[str, str] = {
    "Save them as JPEG or PNG (on the phone, or with a converter such as 'heif-convert')": ".heic .heif .hif .avci",
    "Develop them and save them as JPEG or PNG": (
        ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 "
        ".srf .srw .x3f"
    ),
    "Export them as PNG": (
        ".ai .cdr .clip .emf .eps .kra .ora .pdf .psb .psd .svg .svgz .wmf .xcf .bpg .cin .cur .dcm .dcx .dds .dib "
        ".dpx .exr .fits .flif .hdp .hdr .icns .ico .im .jls .jng .jxl .jxr .mng .pcd .pcx .qoi .ras .rgb .sgi .tga "
        ".wdp .xbm .xpm"
    ),
    "Update Pillow, which cannot read them here, or save them as PNG": ".avif .avifs .jp2 .j2k .jpc .jpf .jpx .j2c",
}
_RENAME = "Give them the suffix of their format, such as .jpg"
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")
_SHOWN = 3


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the supported formats, in lower case."""
    read = [*known_formats(), "MPO"]  # which Pillow's JPEG decoder reads
    return frozenset(suffix for suffix, kind in PIL.Image.registered_extensions().items() if kind in read)


def image_files(folder: Path) -> list[Path]:
    """Return the images below a folder by their suffixes, sorted, without hidden files."""
    return [path for path in _files(folder) if is_image_name(path)]


def is_image_name(path: Path) -> bool:
    """Whether a file has the suffix of a supported image format."""
    return path.suffix.lower() in image_suffixes()


def unread_images(folder: Path) -> list[Path]:
    """Return files below a folder that look like images, by suffix or by content without one, but are not read."""
    return [path for path in _files(folder) if not is_image_name(path) and _advice(path)]


def unread_messages(paths: Iterable[Path]) -> list[str]:
    """Return one sentence per suffix that counts and names images that are not read and says what to do.

    Args:
        paths: The files that :func:`unread_images` returned.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[path.suffix.lower()].append(path)
    return [_message(suffix, group) for suffix, group in sorted(groups.items())]


def unread_messages_below(folders: Iterable[Path]) -> list[str]:
    """Return the same for all files below folders; paths that are no folder are skipped."""
    return unread_messages(
        dict.fromkeys(path for folder in folders if is_dir(folder) for path in unread_images(folder))
    )


def advice_on(suffix: str) -> str:
    """Return what to do with files of a known format that is not read, by their suffix; empty for other suffixes."""
    return next((text for text, suffixes in _ADVICE.items() if suffix and suffix in suffixes.split()), "")


def _message(suffix: str, paths: list[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    many = len(paths) > 1
    kind = f"with the suffix {suffix}" if suffix else "without a suffix"
    return (
        f"{len(paths)} image{'s' if many else ''} {kind} {'are' if many else 'is'} not read: {shown}{more}. "
        f"{_advice(paths[0])}."
    )


def _advice(path: Path) -> str:
    """Return what to do with a file that is no image by its suffix; an empty string if it does not look like one."""
    suffix = path.suffix.lower()
    if advice := advice_on(suffix):
        return advice
    # Names from browsers and backups: "photo", "photo.jpg_large", "photo.jpg.1", "photo.jpeg~".
    candidate = not suffix or any(known in path.name.lower() for known in image_suffixes())
    return _RENAME if candidate and _has_image_magic(path) else ""


def _has_image_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:] == b"WEBP") or head[4:8] == b"ftyp"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file())
