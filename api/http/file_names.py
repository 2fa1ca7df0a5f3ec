"""Names of files: what is kept of the one that a sender chose, and how a download bears it."""

import re
import unicodedata
from urllib.parse import quote

INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # of Unicode's characters
MAX_CHARACTERS = 100


def visible_name(name: str) -> str:
    """Return the last part of a file name without anything invisible, at most 100 characters."""
    last = re.split(r"[/\\]", name)[-1]
    normal = unicodedata.normalize("NFC", last)
    visible = "".join(c for c in normal if unicodedata.category(c) not in INVISIBLE_CATEGORIES)
    return visible.strip(" .")[-MAX_CHARACTERS:] or "upload"


def attachment(filename: str) -> str:
    """Name a download: in plain ASCII for programs that know no more, such as curl -OJ, and as it is for the others."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=utf-8''{quote(filename)}"
