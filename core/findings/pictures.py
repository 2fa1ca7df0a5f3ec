"""Sentences about what was done to pictures while they were decoded, and about their copies."""

from __future__ import annotations

from core.findings.finding import Finding
from core.findings.naming import Group, counted, named
from core.findings.notices import Sentences


def _turned_upright(group: Group) -> Finding:
    return Finding(
        "turned_upright",
        f"{counted(group, 'picture was', 'pictures were')} turned as the camera's orientation mark says: "
        f"{named(group)}.",
        "Nothing needs to be done, unless one now lies on its side: then save it upright and send it again.",
        group[0].place,
        severity="info",
    )


def _converted(group: Group) -> Finding:
    return Finding(
        "converted_to_srgb",
        f"{counted(group, 'picture was', 'pictures were')} converted to sRGB: {named(group)}.",
        "Nothing needs to be done; colours that sRGB does not have became its nearest ones.",
        group[0].place,
        severity="info",
    )


def _uncertain(group: Group) -> Finding:
    return Finding(
        "colours_uncertain",
        f"{counted(group, 'picture was', 'pictures were')} taken without knowing what colours are meant, which may be "
        f"off: {named(group)}.",
        "Open it, save it in sRGB, and send it again.",
        group[0].place,
    )


def _see_through(group: Group) -> Finding:
    return Finding(
        "transparency_filled",
        f"{counted(group, 'picture is', 'pictures are')} see-through in places, which became white, or grey where "
        f"nearly all else is white: {named(group)}.",
        "Nothing needs to be done, unless another background belongs there: then put it behind the picture yourself.",
        group[0].place,
        severity="info",
    )


def _nothing_visible(group: Group) -> Finding:
    return Finding(
        "nothing_visible",
        f"{counted(group, 'picture is', 'pictures are')} fully transparent and became plain white, which teaches "
        f"nothing: {named(group)}.",
        "Leave it out, or save it without transparency, if its colours are still in the file.",
        group[0].place,
    )


def _scaled_down(group: Group) -> Finding:
    return Finding(
        "scaled_down",
        f"{counted(group, 'picture was', 'pictures were')} larger than is taken, and scaled down: {named(group)}.",
        "Nothing needs to be done; to choose what is lost, scale or cut it yourself.",
        group[0].place,
        severity="info",
    )


def _picture_copies(group: Group) -> Finding:
    return Finding(
        "duplicate_item",
        f"{counted(group, 'exact copy was', 'exact copies were')} left out, for each picture counts once: "
        f"{named(group)}.",
        "Nothing needs to be done.",
        group[0].place,
    )


def _captions_joined(group: Group) -> Finding:
    return Finding(
        "captions_joined",
        f"{counted(group, 'caption', 'captions')} of a copy became a line of its own beside the caption of the picture "
        f"that was kept: {named(group)}.",
        "Nothing needs to be done, unless only one of the captions is right: then set it with POST "
        "/v1/files/{id}/items.",
        group[0].place,
        severity="info",
    )


def _captions_left_out(group: Group) -> Finding:
    return Finding(
        "caption_left_out",
        f"{counted(group, 'caption', 'captions')} of a copy did not fit beside the caption of the picture that was "
        f"kept: {named(group)}.",
        "Shorten the captions, if both are to be learned.",
        group[0].place,
    )


SENTENCES: Sentences = {
    "turned_upright": _turned_upright,
    "converted_to_srgb": _converted,
    "colours_uncertain": _uncertain,
    "see_through": _see_through,
    "nothing_visible": _nothing_visible,
    "scaled_down": _scaled_down,
    "picture_copy": _picture_copies,
    "captions_joined": _captions_joined,
    "caption_left_out": _captions_left_out,
}
