"""Where a digest's content lies: sha256/, the first two digits, the rest. Files and objects are named alike."""

import re

from ...errors import ContentCorrupted, ContentMissing

CONTENT = "sha256"
TRASH = "trash"
_DIGEST = re.compile("sha256:([0-9a-f]{2})([0-9a-f]{62})")


def name_of(digest: str) -> str:
    """The name below CONTENT or TRASH. Raises ContentCorrupted for what is no digest."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ContentCorrupted(f"{digest!r} is no digest", digest=digest)
    return f"{match[1]}/{match[2]}"


def digest_of(name: str) -> str | None:
    """The digest of a name; None if it is no name of content."""
    digest = f"sha256:{name.replace('/', '')}"
    return digest if _DIGEST.fullmatch(digest) and name[2:3] == "/" else None


def missing(digest: str) -> ContentMissing:
    return ContentMissing(f"the content {digest} is missing from the store", digest=digest)
