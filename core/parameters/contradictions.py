"""What no job can be made of: a request that contradicts its backbone, its references, this service or itself."""

from __future__ import annotations

from collections.abc import Collection

from core.backbones.families import Kind
from core.backbones.record import BackboneRecord
from core.backbones.sides import step_missed
from core.backbones.taggers import BUILT_IN as BUILT_IN_TAGGERS
from core.backbones.taggers import NONE
from core.errors import InvalidInput
from core.parameters.defaults import MIN_REFERENCES
from core.parameters.presets import Presets, built_in
from core.parameters.protection.means import GENERATE, WITHOUT_DATA
from core.parameters.request import BatRequest


def check(
    request: BatRequest,
    backbone: BackboneRecord,
    kind: Kind,
    count: int,
    *,
    presets: Presets | None = None,
    taggers: Collection[str] = (),
) -> None:
    """Raise InvalidInput where a request contradicts its backbone, its references, this service or itself."""
    usual = backbone.kind
    if kind != usual:
        raise _contradiction(
            "training_file", f"the backbone {backbone.id} learns from {usual}, and these files hold {kind}"
        )
    if count < MIN_REFERENCES:
        raise _contradiction("training_file", f"{count} reference is too few to hold one out; send {MIN_REFERENCES}")
    _check_preset(request, kind, presets or built_in())
    _check_captions(request, kind, taggers)
    _check_size(request, kind, backbone)
    _check_pool(request, backbone)
    _check_protection(request)
    _check_ground(request, backbone, kind)


def _check_captions(request: BatRequest, kind: Kind, taggers: Collection[str]) -> None:
    if request.caption not in {"auto", NONE, *BUILT_IN_TAGGERS, *taggers}:
        known = ", ".join(["auto", NONE, *BUILT_IN_TAGGERS, *taggers])
        raise InvalidInput(f"There is no such tagger; choose {known}.", code="tagger_not_found", param="bat.caption")
    asked = {
        "caption": request.caption not in {"auto", NONE},
        "caption_lines": request.caption_lines != "auto",
        "dropout_caption": request.dropout_caption != "auto",
    }
    for name, given in asked.items():
        if kind == "texts" and given:
            raise _contradiction(f"bat.{name}", f"texts have no captions; leave bat.{name} out")


def _check_size(request: BatRequest, kind: Kind, backbone: BackboneRecord) -> None:
    if kind == "texts" and request.resolution != "auto":
        raise _contradiction("bat.resolution", "texts have no resolution; leave bat.resolution out")
    if request.resolution != "auto" and (step := step_missed(backbone.path, request.resolution)) is not None:
        raise _contradiction("bat.resolution", f"the backbone {backbone.id} draws no sides but multiples of {step}")
    if kind == "texts" and request.min_snr != "auto":
        raise _contradiction("bat.min_snr", "texts are learned without noise; leave bat.min_snr out")
    if backbone.objective == "flow" and request.min_snr != "auto":
        raise _contradiction(
            "bat.min_snr",
            f"the backbone {backbone.id} learns by flow matching, which min-SNR does not weigh; leave bat.min_snr out",
        )
    if kind == "texts" and request.shapes != "auto":
        raise _contradiction("bat.shapes", "texts have no shape; leave bat.shapes out")
    if kind == "texts" and request.masks:
        raise _contradiction("bat.masks", "texts have no masks; leave bat.masks out")
    if request.max_tokens == "auto":
        return
    if kind == "images":
        raise _contradiction(
            "bat.max_tokens", "captions are read as far as the backbone's text encoder goes; leave bat.max_tokens out"
        )
    if (places := backbone.context_tokens) is not None and request.max_tokens > places:
        raise _contradiction(
            "bat.max_tokens",
            f"the backbone {backbone.id} has places for {places:,} tokens; let bat.max_tokens be no more",
        )


def _check_pool(request: BatRequest, backbone: BackboneRecord) -> None:
    if request.pool == GENERATE:
        return
    if request.pool not in {"auto", backbone.id} or (request.pool != "auto" and backbone.pool is None):
        raise _contradiction(
            "bat.pool",
            f"the backbone {backbone.id} has no such candidate pool; leave bat.pool out, or say auto or {GENERATE}",
        )


def _check_protection(request: BatRequest) -> None:
    """Refuse what asks for protection and for none, in whichever words."""
    means, shared = request.protect, request.gamma not in ("auto", 0)
    if request.augment is False:
        if shared or request.selected_count != "auto":
            raise _contradiction(
                "bat.augment", "gamma and selected_count need augment; leave the two out or turn augment on"
            )
        if means not in ("auto", "none"):
            raise _contradiction("bat.augment", f"protect {means} needs augment; leave one of the two out")
    if means == "none":
        if request.augment is True:
            raise _contradiction("bat.protect", "augment true asks for what protect none turns off; leave one out")
        if shared or request.selected_count != "auto":
            raise _contradiction(
                "bat.protect", "gamma and selected_count need protection; leave the two out or name another protect"
            )
    _check_off(request)


def _check_off(request: BatRequest) -> None:
    """Refuse a gamma of 0 beside what asks for protection, and to say how to protect where nothing is."""
    means, nothing = request.protect, request.gamma == 0
    if means not in ("auto", "none") and nothing:
        raise _contradiction(
            "bat.gamma", f"with gamma 0 there is nothing for {means} to work on; leave it out, or let protect be none"
        )
    if request.augment is True and nothing:
        raise _contradiction(
            "bat.gamma",
            "augment true asks for protection, and gamma 0 leaves it no slot of a batch; leave gamma out, or let "
            "augment be false",
        )
    off = request.augment is False or means == "none" or nothing
    given = {
        name: name for name in ("protect_weight", "protect_on", "selected_count") if getattr(request, name) != "auto"
    }
    if request.pool == GENERATE:
        given["pool"] = f"pool {GENERATE}"
    for name, what in given.items() if off else ():
        raise _contradiction(
            f"bat.{name}", f"{what} says how to protect, and this request turns it off; leave one of the two out"
        )


def _check_ground(request: BatRequest, backbone: BackboneRecord, kind: Kind) -> None:
    """Refuse to protect on what is not there, or on what its means can't use."""
    on, means = request.protect_on, request.protect
    if on == "pool" and backbone.pool is None and request.pool != GENERATE:
        raise _contradiction(
            "bat.protect_on",
            f"{backbone.id} has no candidate pool; let bat.pool be {GENERATE} or bat.protect_on own, or build one",
        )
    if on in ("own", "captions") and request.pool != "auto":
        raise _contradiction("bat.pool", f"with protect_on {on} no pool is used; leave one of the two out")
    if on in ("own", "captions"):
        _check_unchosen(request)
    if on != "captions":
        return
    if kind == "texts":
        raise _contradiction("bat.protect_on", "texts have no captions; let bat.protect_on be pool or own")
    if means not in ("auto", "none", *WITHOUT_DATA):
        raise _contradiction(
            "bat.protect_on",
            f"captions bring no data that {means} could use; let bat.protect be distil, or bat.protect_on pool or own",
        )
    if request.gamma == "natural":
        raise _contradiction(
            "bat.protect_on", "gamma natural counts examples, and captions bring none; leave one of the two out"
        )


def _check_unchosen(request: BatRequest) -> None:
    """Refuse to say how candidates are chosen where none are, rather than to take no heed of it."""
    told = {
        "selected_count": request.selected_count != "auto",
        "sample_ratio": request.sample_ratio != "auto",
        "score random": request.score == "random",
    }
    for what in (name for name, given in told.items() if given):
        raise _contradiction(
            f"bat.{what.split()[0]}",
            f"{what} chooses from a candidate pool, and with protect_on {request.protect_on} none is used; "
            "leave one of the two out",
        )


def _check_preset(request: BatRequest, kind: Kind, presets: Presets) -> None:
    name = request.preset
    if request.style_always is True and not (name in presets and presets[name].is_style):
        raise _contradiction("bat.style_always", "only a style comes without being asked for; name the preset style")
    if request.style_always is True and request.trigger is not None:
        raise _contradiction("bat.trigger", "with style_always the style comes without a word; leave one of them out")
    if name == "auto":
        return
    fitting = ", ".join(each.name for each in presets.values() if each.kind == kind)
    if name not in presets:
        message = f"There is no such preset; choose {fitting} or auto."
        raise InvalidInput(message, code="preset_not_found", param="bat.preset")
    if presets[name].kind != kind:
        raise _contradiction("bat.preset", f"{name} is not for {kind}; choose {fitting} or auto")


def _contradiction(param: str, what: str) -> InvalidInput:
    return InvalidInput(f"{what[0].upper()}{what[1:]}.", code="contradiction", param=param)
