"""JSON that a model is to read and write as it stands: the schema of a function, the arguments of a call."""

from __future__ import annotations

import json
import re
from typing import Any

from core.references.rows.json_rows import unique_keys
from core.references.rows.remarks import Remarks

# in JSON of ASCII: without any of these nothing in it is to be cleaned, and a thousand schemas are read in a moment
_UNUSUAL = re.compile(r"\\[urbf]|\x7f")
MAX_DEPTH = 40  # of schemas: those that people write are 10 deep at most


def parsed(text: str, what: str) -> Any:
    """Return the value of JSON in a string; raise ValueError that says what is wrong with `what`."""
    try:
        return json.loads(text, object_pairs_hook=unique_keys, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} can't be read as JSON ({error.msg.lower().removesuffix(' at')})") from None
    except RecursionError:
        raise ValueError(f"{what} can't be read: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{what} can't be read: {error}") from None


def clean(value: Any, what: str, remarks: Remarks) -> Any:
    """Return JSON with each text in it cleaned, names of keys too, and nothing else changed; raises as `parsed`."""
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"{what} can't be carried: it is nested more than {MAX_DEPTH} deep")
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError(f"{what} can't be carried: a number in it is too large") from None
    return value if _UNUSUAL.search(text) is None else _cleaned(value, what, remarks)


def _depth(value: Any, limit: int = MAX_DEPTH + 1) -> int:
    """Return how many lists and objects lie in each other, `limit` at most."""
    if limit == 0 or not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(part, limit - 1) for part in inner if isinstance(part, list | dict)), default=0)


def _cleaned(value: Any, what: str, remarks: Remarks) -> Any:
    if isinstance(value, str):
        return remarks.clean(value)
    if isinstance(value, list):
        return [_cleaned(part, what, remarks) for part in value]
    if isinstance(value, dict):
        found = {remarks.clean(key): _cleaned(part, what, remarks) for key, part in value.items()}
        if len(found) < len(value):
            raise ValueError(f"{what} has a key twice, once its letters are cleaned")
        return found
    return value


def written(value: Any) -> str:
    """Return a value as JSON in one line, as chat templates write it."""
    return json.dumps(value, ensure_ascii=False)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a number")
