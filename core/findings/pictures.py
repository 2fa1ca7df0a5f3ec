"""Sentences about what was done to pictures while they were decoded, about their copies, and about what is cut off."""

from __future__ import annotations

from collections.abc import Sequence

from core.findings.finding import Finding
from core.findings.naming import MAX_NAMED, Group, counted, named
from core.findings.notices import Sentences
from core.references.picture_shapes import Size, kept, nearest

MUCH = 0.1  # of a picture's area, above which it is told that so much is cut off
Sized = tuple[str, Size]  # a picture's name, and its width and height


def cut_off(pictures: Sequence[Sized], shapes: Sequence[Size]) -> Finding | None:
    """Say which pictures lose much of their area where all are trained in these shapes; None where none does."""
    losses = {place: 1 - kept(size, nearest(size, shapes)) for place, (_, size) in enumerate(pictures)}
    over = sorted((place for place, loss in losses.items() if loss > MUCH), key=lambda place: (-losses[place], place))
    if not over:
        return None
    worst = ", ".join(f"{pictures[place][0]} ({losses[place]:.0%})" for place in over[:MAX_NAMED])
    more = f" and {len(over) - MAX_NAMED} more" if len(over) > MAX_NAMED else ""
    lose, their = ("loses", "its") if len(over) == 1 else ("lose", "their")
    return Finding(
        "cut_off",
        f"Pictures are trained in {_named_shapes(shapes)}: {len(over)} of {len(pictures)} {lose} more than {MUCH:.0%} "
        f"of {their} area, the most {worst}{more}.",
        "Cut out what matters yourself, in about such a shape; else what is cut off is not learned.",
        pictures[over[0]][0],
        items=[pictures[place][0] for place in over],
    )


def _named_shapes(shapes: Sequence[Size]) -> str:
    sizes = [f"{width} x {height}" for width, height in shapes]
    if len(sizes) == 1:
        return f"the shape {sizes[0]}"
    return f"the shapes {', '.join(sizes[:-1])} and {sizes[-1]}"


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
        "Nothing needs to be done, unless another background belongs there: then put it behind the picture yourself. "
        'With bat.masks "alpha" a job learns only what is not see-through.',
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
        "Nothing needs to be done, unless only one of the captions is right: then write that one for the picture.",
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
# of what was done to the pixels of pictures, of which each picture knows its own
CHANGES = frozenset(
    {
        "turned_upright",
        "converted_to_srgb",
        "colours_uncertain",
        "transparency_filled",
        "nothing_visible",
        "scaled_down",
    }
)
