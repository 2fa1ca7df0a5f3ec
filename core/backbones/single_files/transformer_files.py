"""A transformer alone in one file, as programs keep it apart from VAE and text encoders: whose it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.backbones.families import family
from core.backbones.folders.files import json_object
from core.backbones.folders.other_models import other_file
from core.backbones.folders.refusal import refused
from core.backbones.folders.weights import check_plain, described, read_header, usual_floats
from core.backbones.record import SAY_IT, BackboneRecord
from core.backbones.single_files.other_files import alone
from core.errors import InvalidInput

PREFIX = "model.diffusion_model."  # before the names of its tensors, in files with other parts beside it
GUIDED = ("guidance_in.", "time_text_embed.guidance_embedder.", "time_guidance_embed.guidance_embedder.")


@dataclass(frozen=True)
class TransformerFile:
    """A transformer in one file: diffusers' class of it, how its numbers are held, and the licence that it names.

    `guided` says that it is told how much guidance to follow, and `what` whose transformer it is.
    """

    made: str
    what: str
    dtype: str
    guided: bool
    licence: str | None


def read_transformer(path: Path) -> TransformerFile | None:
    """Return the transformer that a file holds; None where it holds something else.

    Raises InvalidInput where its weights are packed into few bits.
    """
    if other_file(path) is not None:
        return None
    header = read_header(path, "file")
    weights = described(header, path.name, "file")
    found = alone(weights)
    if found is None:
        return None
    made, what = found
    own = {name: each for name, each in weights.items() if name.startswith(PREFIX)} or weights
    check_plain(own, "file")
    guided = any(part in name for name in own for part in GUIDED)
    licence = header.facts.get("modelspec.license")
    return TransformerFile(
        made, what, usual_floats(own.values()), guided, licence if isinstance(licence, str) else None
    )


def check_base(file: TransformerFile, base: BackboneRecord) -> None:
    """Raise InvalidInput where a backbone's other parts are not those that a transformer goes with."""
    row = family(base.family)
    if not fits(file, base):
        words = f"The file is {file.what}, and {base.id} is of the family {row.name}."
        raise InvalidInput(words, code="contradiction", param="base")
    if not _guided_alike(file, base):
        one, other = ("is", "is not") if file.guided else ("is not", "is")
        words = f"The file's transformer {one} told how much guidance to follow, and that of {base.id} {other}"
        raise InvalidInput(f"{words}; name a base of the same kind.", code="contradiction", param="base")


def fits(file: TransformerFile, base: BackboneRecord) -> bool:
    """Tell whether a backbone has a transformer of the same class."""
    return file.made in family(base.family).parts.get("transformer", frozenset())


def _guided_alike(file: TransformerFile, base: BackboneRecord) -> bool:
    """Tell whether both transformers are told how much guidance to follow, or neither is."""
    said = json_object(base.path, "transformer/config.json").get("guidance_embeds", "Flux2" in file.made)
    return "Flux" not in file.made or bool(said) == file.guided


def no_base(file: TransformerFile, records: Iterable[BackboneRecord]) -> InvalidInput:
    """Return the error for a transformer that is brought without the backbone that has its other parts."""
    there = [each for each in records if fits(file, each) and (each.path / "transformer/config.json").is_file()]
    known = [record.id for record in there if _guided_alike(file, record)]
    words = f"say with --base which backbone has its other parts ({', '.join(known)})"
    if not known:
        words = "none that has its other parts is here yet: add such a diffusers folder first, and name it with --base"
    error = refused(f"it is {file.what}; {words}", this="file")
    return InvalidInput(error.message, code=error.code, param="base")


def licence_of(file: TransformerFile, said: str | None) -> str:
    """Return the licence of a file, said or its own; raise InvalidInput where there is neither."""
    found = said or file.licence
    if found is None:
        raise InvalidInput(f"The file names no licence{SAY_IT}", code="licence_unknown", param="licence")
    return found
