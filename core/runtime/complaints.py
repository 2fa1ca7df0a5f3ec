"""What is wrong with values that somebody sent or set, in plain words that never repeat a value.

pydantic says it in its own terms ("at most 40 items after validation"); whoever reads it sent a text of 41 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema, ErrorDetails

SHOWN_KEY = re.compile(r"[\w.-]{1,29}", re.ASCII)  # a longer key, or one of other characters, is not repeated
UNKNOWN = "this parameter is not known"
KINDS: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "string_unicode": "a text in UTF-8",
    "list_type": "a list",
    "dict_type": "a JSON object",
    "model_type": "a JSON object",
    "path_type": "a path",
}
LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("a number of more than", "gt"),
    "greater_than_equal": ("a number of at least", "ge"),
    "less_than": ("a number of less than", "lt"),
    "less_than_equal": ("a number of at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
LENGTHS: Mapping[str, tuple[str, str]] = {
    "string_too_long": ("at most", "max_length"),
    "too_long": ("at most", "max_length"),
    "string_too_short": ("at least", "min_length"),
    "too_short": ("at least", "min_length"),
}


@dataclass(frozen=True)
class Written:
    """A text that fits `pattern` as a whole, else it "must be `words`": schemas hold the pattern, errors the words."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after what stands before it in the annotation."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Name the pattern."""
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"must be {self.words}")
        return text


@dataclass(frozen=True)
class Complaint:
    """What is wrong at a place: its dotted `path`, "" for the whole, and a sentence that begins behind it.

    `param` is the path as far as it is ours: keys that are not shown are left out of it.
    """

    path: str
    param: str
    sentence: str


Suggest = Callable[[Sequence[str]], str | None]  # for the path of a key that is not known, what is meant instead


def complaints(
    errors: Sequence[ErrorDetails], model: type[BaseModel] | None = None, suggest: Suggest | None = None
) -> list[Complaint]:
    """Return one complaint for every place, in pydantic's order; `model` is what was checked against."""
    places: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for error in errors:
        places.setdefault(tuple(path_of(error["loc"], model)), []).append(error)
    return [_complaint(path, found, suggest) for path, found in places.items()]


def path_of(location: Sequence[int | str], model: type[BaseModel] | None) -> list[str]:
    """Return where an error is, without pydantic's names for the branches of a union; every name without a model.

    Of a key that is not ours and not fit to be shown, only its length is told.
    """
    path: list[str] = []
    here: object = model
    for part in location:
        if isinstance(part, int) or model is None:
            path.append(str(part))
        elif (value := _value_of_mapping(here)) is not None:
            path.append(shown_key(part))
            here = value
        elif (inner := _model_in(here)) is not None:
            known = part in inner.model_fields
            path.append(part if known else shown_key(part))
            here = inner.model_fields[part].annotation if known else None
    return path


def shown_key(key: str) -> str:
    """Return a key that somebody sent; of one that is not fit to be shown, only its length."""
    return key if SHOWN_KEY.fullmatch(key) else f"(a key of {len(key)} characters)"


def _complaint(path: Sequence[str], found: Sequence[ErrorDetails], suggest: Suggest | None) -> Complaint:
    unknown = any(error["type"] == "extra_forbidden" for error in found)
    meant = suggest(path) if unknown and suggest else None
    sentence = f"{UNKNOWN} (did you mean {meant}?)" if meant else _sentence(found) + _hint(path, found)
    return Complaint(".".join(path), ".".join(part for part in path if not part.startswith("(")), sentence)


def _sentence(found: Sequence[ErrorDetails]) -> str:
    """Say what one place takes: all branches of a union have complained of the same value."""
    whole = [words for error in found if (words := _whole(error))]
    phrases = [words for error in found if not _whole(error) and (words := _phrase(error))]
    if phrases:
        whole.insert(0, f"must be {_either(list(dict.fromkeys(phrases)))}")
    of_key = "the key " if found[0]["loc"][-1:] == ("[key]",) else ""
    return of_key + ", or ".join(dict.fromkeys(whole))


def _whole(error: ErrorDetails) -> str | None:
    """Return the sentence of an error that is one by itself."""
    match error["type"]:
        case "extra_forbidden":
            return UNKNOWN
        case "missing":
            return "this parameter is required"
        case "value_error":
            return error["msg"].removeprefix("Value error, ").removesuffix(".")
        case "string_too_short" | "too_short" if error["ctx"]["min_length"] == 1:
            return "must not be empty"
    return None


def _phrase(error: ErrorDetails) -> str:
    """Return what would be taken, as in "must be a whole number"."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"]).replace("'", '"')
    if kind in LIMITS:
        words, name = LIMITS[kind]
        return f"{words} {_number(context[name])}"
    if kind == "string_pattern_mismatch":
        return f"written as {context['pattern']}"
    if kind in LENGTHS:
        words, name = LENGTHS[kind]
        return _length(words, int(context[name]), error["input"])
    message = error["msg"].removeprefix("Input should be ").removesuffix(".")
    return KINDS.get(kind, message[:1].lower() + message[1:])


def _length(words: str, count: int, value: object) -> str:
    if isinstance(value, str):
        return f"{words} {count} character{'s' * (count != 1)} long"
    kind = "an object" if isinstance(value, Mapping) else "a list"
    return f"{kind} of {words} {count} entr{'y' if count == 1 else 'ies'}"


def _either(phrases: Sequence[str]) -> str:
    """Join with commas and one "or"; lists of words hold one of their own."""
    lists = ('"', "true or")
    words = [word for phrase in phrases for word in (phrase.split(" or ") if phrase.startswith(lists) else [phrase])]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _hint(path: Sequence[str], found: Sequence[ErrorDetails]) -> str:
    """Say what stands here for the -1 by which others mean that the service decides, and for a number in quotes."""
    value = found[0]["input"]
    if isinstance(value, str) and value != "-1" and re.fullmatch(r"-?[0-9.]{1,20}", value):
        strict = any(error["type"] in ("int_type", "float_type") for error in found)
        return " (numbers stand without quotation marks)" if strict else ""
    if value not in (-1, "-1"):
        return ""
    if any(error.get("ctx", {}).get("expected") == "'auto'" for error in found):
        return ' ("auto" leaves it to the service; -1 does not)'
    return " (leave it out, and one is drawn)" if path and path[-1] == "seed" else ""


def _number(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model that a value, or each of a list of values, is checked against."""
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _value_of_mapping(annotation: object) -> object:
    """Return what the values of a mapping are checked against; None where the annotation is of no mapping."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return next((found for inner in get_args(annotation) if (found := _value_of_mapping(inner)) is not None), None)
