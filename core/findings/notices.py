"""Sentences about what reading an upload passed over, cleaned or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from core.findings.finding import Finding
from core.findings.naming import Group, counted, named, places, was_or_were
from core.findings.texts import notices as text_notices
from core.references.kohya import kohya_folder
from core.references.notices import Notice

MAX_LEFT_OUT = 50  # images that it names with what is wrong with each
Sentences = Mapping[str, Callable[[Group], Finding]]


def of_notices(notices: Iterable[Notice], sentences: Sentences | None = None) -> list[Finding]:
    """Return one finding for every code, in the order in which they were first met."""
    groups: dict[str, list[Notice]] = {}
    for notice in notices:
        groups.setdefault(notice.code, []).append(notice)
    said = SENTENCES if sentences is None else sentences
    found = [(said[code](group), group) for code, group in groups.items()]
    return [finding if finding.item is None else replace(finding, items=places(group)) for finding, group in found]


def _captions_without_image(group: Group) -> Finding:
    return Finding(
        "caption_without_image",
        f"{counted(group, 'caption belongs', 'captions belong')} to no image of the upload: {named(group)}.",
        "Give caption and image the same name, or add the image.",
        group[0].place,
    )


def _captions_unclear(group: Group) -> Finding:
    return Finding(
        "caption_unclear",
        f"{counted(group, 'caption', 'captions')} may be of several images of the upload, and of none was it taken: "
        f"{named(group)}.",
        "Put the caption into the folder of its image, or name the image with its folder.",
        group[0].place,
    )


def _captions_without_room(group: Group) -> Finding:
    return Finding(
        "caption_left_out",
        f"{counted(group, 'caption', 'captions')} did not fit beside what else is said of the image: {named(group)}.",
        "Shorten the captions, if all of them are to be learned.",
        group[0].place,
    )


def _beside_images(group: Group) -> Finding:
    return Finding(
        "beside_image",
        f"{counted(group, 'file has', 'files have')} the name of an image and an ending that is not read as a caption: "
        f"{named(group)}.",
        "If captions are in it, save them as .txt; else nothing needs to be done.",
        group[0].place,
    )


def _archives_left_out(group: Group) -> Finding:
    return Finding(
        "archive_left_out",
        f"{counted(group, 'file is an archive', 'files are archives')} within the set and {was_or_were(group)} left "
        f"out: {named(group)}.",
        "If what is in it shall be learned, unpack it into the set.",
        group[0].place,
    )


def _passed_over(group: Group) -> Finding:
    return Finding(
        "passed_over",
        f"{counted(group, 'file was', 'files were')} passed over as nothing to learn from: {named(group)}.",
        "Nothing needs to be done.",
        severity="info",
    )


def _images_left_out(group: Group) -> Finding:
    told = "; ".join(notice.detail for notice in group[:MAX_LEFT_OUT])
    more = f"; and {len(group) - MAX_LEFT_OUT} more" if len(group) > MAX_LEFT_OUT else ""
    return Finding(
        "image_left_out",
        f"{counted(group, 'image was', 'images were')} left out: {told}{more}.",
        "Save what was left out as PNG or JPEG and send the set again, or go on without it. With the form field "
        "bat[strict]=true such a set is refused instead.",
        group[0].place,
    )


def _masks(group: Group) -> Finding:
    return Finding(
        "masks_left_out",
        f"{counted(group, 'file is', 'files are')} about another image and left out: {named(group)}; the whole of each "
        "image is learned, what a mask covers too.",
        "Cut out what shall not be learned, or paint over it. If one is a picture of its own that shall be "
        "learned, give it or its folder another name.",
        group[0].place,
    )


def _masks_kept(group: Group) -> Finding:
    return Finding(
        "masks_kept",
        f"{counted(group, 'file is a mask of another image', 'files are masks of other images')} and kept with it: "
        f"{named(group)}; a job that does not ask for masks learns the whole of each image.",
        "Set bat.masks to true in the job, where only what is white in them shall be learned. If one is a picture of "
        "its own, give it or its folder another name.",
        group[0].place,
        severity="info",
    )


def _masks_scaled(group: Group) -> Finding:
    return Finding(
        "mask_scaled",
        f"{counted(group, 'mask has', 'masks have')} another size than the image and {was_or_were(group)} scaled to "
        f"it: {named(group)}.",
        "Nothing needs to be done.",
        group[0].place,
        severity="info",
    )


def _masks_stretched(group: Group) -> Finding:
    return Finding(
        "mask_stretched",
        f"{counted(group, 'mask has', 'masks have')} other proportions than the image and {was_or_were(group)} "
        f"stretched over it: {named(group)}.",
        "Look whether it is the mask of this image, and whether one of the two was turned or cut.",
        group[0].place,
    )


def _masks_empty(group: Group) -> Finding:
    return Finding(
        "mask_empty",
        f"{counted(group, 'mask is', 'masks are')} black throughout: {named(group)}; a job that asks for masks can't "
        "learn from such an image.",
        "Paint white what shall be learned, or leave the image out.",
        group[0].place,
    )


def _thumbnails(group: Group) -> Finding:
    return Finding(
        "thumbnails_left_out",
        f"{counted(group, 'file is a small copy', 'files are small copies')} of other images and left out: "
        f"{named(group)}.",
        "Nothing needs to be done, unless one is a picture of its own: then give it or its folder another name.",
        severity="info",
    )


def _set_aside(group: Group) -> Finding:
    validation = [notice for notice in group if notice.detail == "validation"]
    advice = []
    if len(validation) < len(group):
        advice.append("Pictures of the class are not needed: the backbone's own data does what they are for.")
    if validation:
        advice.append("Send what is for validation as a file of its own, and name it as validation_file.")
    advice.append("If any of it shall be learned, give its folder or file another name.")
    return Finding(
        "set_aside",
        f"{counted(group, 'file lies', 'files lie')} beside what is to be learned and {was_or_were(group)} left out: "
        f"{named(group)}.",
        " ".join(advice),
        group[0].place,
    )


def _several_captions(group: Group) -> Finding:
    return Finding(
        "several_captions",
        f"{counted(group, 'more caption is', 'more captions are')} of images that have one already: {named(group)}; "
        "each is kept as another line of the image's caption.",
        "Nothing needs to be done, unless one of them is stale: then leave it out.",
        group[0].place,
        severity="info",
    )


def _same_names(group: Group) -> Finding:
    return Finding(
        "same_name",
        f"Images differ in their endings only, so that a caption of this name is that of both: {named(group)}.",
        "Leave one out if they show the same; else give each its own name.",
        group[0].place,
    )


def _columns_passed_over(group: Group) -> Finding:
    return Finding(
        "columns_passed_over",
        f"Of tables and JSON files only names and captions are read; passed over in {named(group)}.",
        'Nothing needs to be done, unless the caption is among them: name it "text".',
        severity="info",
    )


def _tables_not_read(group: Group) -> Finding:
    return Finding(
        "table_not_read",
        f"{counted(group, 'table holds', 'tables hold')} no captions that can be read: {named(group)}.",
        'Nothing needs to be done, unless it does: then name the columns "file_name" and "text".',
        group[0].place,
        severity="warn" if any(notice.detail for notice in group) else "info",
    )


def _captions_not_found(group: Group) -> Finding:
    return Finding(
        "caption_not_found",
        f"{counted(group, 'JSON file', 'JSON files')} beside an image held no caption: {named(group)}.",
        'Name the caption in it "caption", or write it into a .txt of the same name.',
        group[0].place,
    )


def _texts_of_set(group: Group) -> Finding:
    return Finding(
        "texts_of_set",
        f"There is no image among the files, so {counted(group, 'file was', 'files were')} read as texts to learn: "
        f"{named(group)}.",
        "Nothing needs to be done, unless they are captions: then add their images.",
        severity="info",
    )


def _links(group: Group) -> Finding:
    return Finding(
        "not_read",
        f"{counted(group, 'file', 'files')} of the folder could not be read and {was_or_were(group)} left out: "
        f"{named(group)}.",
        "Mend or remove what is named.",
        group[0].place,
    )


def _kohya_folders(group: Group) -> Finding:
    """Offer what a folder of kohya's says; it is not taken without a word of the owner, for any name may look so."""
    found = kohya_folder(f"{group[0].place}/")
    word, _, kind = found[1].partition(" ") if found else ("", "", "")
    one = len(group) == 1
    whose = f"The folder {named(group)} is" if one else f"The folders {named(group)} are"
    also = f", and if {kind!r} is its class, name that in the captions" if kind else ""
    return Finding(
        "kohya_folder",
        f"{whose} named as kohya's scripts read it. Repeats are not used, every image counts alike, and "
        f"{'the name is' if one else 'names are'} not put into captions.",
        f"If {word!r} is the trigger word, set bat.trigger to it{also}; else nothing needs to be done.",
        severity="info",
    )


def _settings_of_pictures(group: Group) -> Finding:
    return Finding(
        "settings_passed_over",
        f"{counted(group, 'caption holds', 'captions hold')} a negative prompt or settings of a program that draws, "
        f"which are not learned: {named(group)}.",
        "Nothing needs to be done.",
        severity="info",
    )


SENTENCES: Sentences = {
    "settings_of_pictures": _settings_of_pictures,
    "caption_without_image": _captions_without_image,
    "caption_unclear": _captions_unclear,
    "caption_no_room": _captions_without_room,
    "beside_image": _beside_images,
    "archive_left_out": _archives_left_out,
    "passed_over": _passed_over,
    "image_left_out": _images_left_out,
    "mask": _masks,
    "mask_kept": _masks_kept,
    "mask_scaled": _masks_scaled,
    "mask_stretched": _masks_stretched,
    "mask_empty": _masks_empty,
    "thumbnail": _thumbnails,
    "set_aside": _set_aside,
    "several_captions": _several_captions,
    "same_name": _same_names,
    "columns_passed_over": _columns_passed_over,
    "table_not_read": _tables_not_read,
    "caption_not_found": _captions_not_found,
    "text_of_set": _texts_of_set,
    "link_left_out": _links,
    "kohya_folder": _kohya_folders,
    **text_notices.SENTENCES,
}
