"""Members of a zip that somebody sent."""

import zipfile

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Whose output can be stopped at a length: the standard library unpacks bzip2 and LZMA as far as they go."""


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The content of a member, in memory that grows no further than the length it announces.

    ``ZipFile.read`` would unpack all of it first and cut afterwards.

    Raises:
        zipfile.BadZipFile: it is damaged, or longer than it announces.
        zlib.error, EOFError, OSError, ValueError, NotImplementedError: likewise damaged.
    """
    with archive.open(member) as stream:
        content = stream.read(member.file_size)
    if len(content) != member.file_size:
        raise zipfile.BadZipFile(f"{len(content)} of {member.file_size} bytes")
    return content
