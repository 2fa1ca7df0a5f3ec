"""Findings that depend on a job: on its backbone, trigger word and validation data. Made of profiles, not of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.backbones.record import BackboneRecord
from core.errors import InvalidInput
from core.findings import copies, profiles
from core.findings.copies import MAX_ITEMS_NAMED
from core.findings.finding import Finding
from core.findings.fingerprints import TextPrint
from core.findings.profiles import PictureProfile, Profile
from core.findings.texts.lengths import TextSize
from core.parameters.request import BatRequest
from core.references import phrases, templates
from core.references.captions import PLACEHOLDER

LOW_TRIGGER_SHARE = 0.5  # share of captions that hold the word


@dataclass(frozen=True)
class Data:
    """What a job is to learn from, and what it is to be tested on."""

    training: tuple[Profile, ...]
    validation: Profile | None = None
    count: int | None = None  # of the references, also those of files without a profile; None: each has one

    @property
    def pictures(self) -> list[PictureProfile]:
        """The images of all training files."""
        return [picture for profile in self.training for picture in profile.pictures]

    @property
    def texts(self) -> list[TextPrint]:
        """The texts of all training files."""
        return [text for profile in self.training for text in profile.texts]

    @property
    def sizes(self) -> list[TextSize]:
        """How long the texts of all training files are; empty where that is not known of each of them."""
        sizes = [size for profile in self.training for size in profile.sizes]
        return sizes if len(sizes) == (len(self.texts) if self.count is None else self.count) else []

    @property
    def sized(self) -> list[tuple[str, tuple[int, int]]]:
        """Names and sizes of the images, copies once; empty where they are not known of each of them."""
        held = self.pictures
        alone = {picture.digest: (picture.name, (picture.width, picture.height)) for picture in reversed(held)}
        return list(alone.values())[::-1] if len(held) == (len(held) if self.count is None else self.count) else []


def of(data: Data, backbone: BackboneRecord, request: BatRequest) -> list[Finding]:
    """Return what the owner of a new job should know; nothing of it stops the job."""
    found = list(_small(data.pictures, backbone, request))
    found += _trigger(data.pictures, backbone, request)
    found += _placeholders(data.pictures, backbone, request)
    found += of_template(data, backbone)
    found += of_masks(data.pictures, request)
    found += copies.across_files(data.training)
    if data.validation is not None:
        found += copies.leaked_pictures(data.pictures, data.validation.pictures)
        found += copies.leaked_texts(data.texts, data.validation.texts)
    return found


def _small(pictures: Sequence[PictureProfile], backbone: BackboneRecord, request: BatRequest) -> Iterator[Finding]:
    side = backbone.resolution if request.resolution == "auto" else int(request.resolution)
    small = [picture for picture in pictures if side and min(picture.width, picture.height) < side]
    if small:
        first = small[0]
        yield Finding(
            "too_small",
            f"{len(small)} of {len(pictures)} images are smaller than the {side} pixels that {backbone.id} is trained "
            f"at, {first.name} ({first.width} x {first.height}) first; they are enlarged.",
            "Send larger originals: what is enlarged is learned as blur.",
            first.name,
            items=[picture.name for picture in small],
        )


def of_masks(pictures: Sequence[PictureProfile], request: BatRequest) -> Iterator[Finding]:
    """Say which images have no mask where the job asks for masks, and that masks are not used where it does not."""
    layer, what = layer_of(request), "see-through places" if request.masks == "alpha" else "mask"
    if layer is None:
        if masked := [picture.name for picture in pictures if "mask" in picture.layers]:
            yield Finding(
                "masks_unused",
                f"{len(masked)} of {len(pictures)} images have a mask, {masked[0]} first; this job does not ask for "
                "masks and learns the whole of each image.",
                "Set bat.masks to true, where only what is white in them shall be learned.",
                masked[0],
                severity="info",
                items=masked,
            )
        return
    if bare := [picture.name for picture in pictures if layer not in picture.layers]:
        yield Finding(
            "without_mask",
            f"{len(bare)} of {len(pictures)} images have no {what}, {bare[0]} first: the whole of each is learned.",
            "Nothing needs to be done, if that is meant; else send the images anew with what is missing.",
            bare[0],
            severity="warn" if len(bare) == len(pictures) else "info",
            items=bare,
        )


def layer_of(request: BatRequest) -> str | None:
    """Return the layer of an image that says what of it is learned; None where all of it is."""
    return "alpha" if request.masks == "alpha" else "mask" if request.masks else None


def check_masks(data: Data, request: BatRequest) -> None:
    """Raise InvalidInput that names the images of which nothing would be learned, or judged where they validate."""
    layer = layer_of(request)
    validation = data.validation.pictures if data.validation else ()
    for held, words in ((data.pictures, "learned of"), (validation, "judged by the validation images")):
        if blank := [picture.name for picture in held if layer in picture.blank]:
            more = f" and {len(blank) - MAX_ITEMS_NAMED} more" if len(blank) > MAX_ITEMS_NAMED else ""
            why = "is see-through all over" if layer == "alpha" else "has a mask that is black throughout"
            raise InvalidInput(
                f"Nothing would be {words} {', '.join(blank[:MAX_ITEMS_NAMED])}{more}: such an image {why}. Leave it "
                "out, or send it with another.",
                code="empty_mask",
                param="bat.masks",
            )


def _trigger(pictures: Sequence[PictureProfile], backbone: BackboneRecord, request: BatRequest) -> Iterator[Finding]:
    word = request.trigger
    if word is None:
        return
    if backbone.kind == "texts":
        yield Finding(
            "trigger_unused",
            "A trigger word is put into captions of images; texts are learned as they are.",
            "Leave bat.trigger out, or write the word into the texts.",
        )
        return
    wanted = profiles.checksums(word)
    captioned = [picture for picture in pictures if picture.words]
    without = [picture for picture in captioned if wanted and not _holds(picture, wanted)]
    if captioned and len(without) > LOW_TRIGGER_SHARE * len(captioned):
        count = "None" if len(without) == len(captioned) else f"Only {len(captioned) - len(without)}"
        yield Finding(
            "captions_without_trigger",
            f"{count} of {len(captioned)} captions hold the trigger {word!r}; where the preset says so it is put at "
            "the end of the others.",
            "Write it at the end of the captions that it belongs to, or check its spelling.",
            without[0].name,
            items=[picture.name for picture in without],
        )


def _holds(picture: PictureProfile, wanted: Sequence[int]) -> bool:
    """Tell whether a caption will hold the trigger without its being put at the end."""
    return profiles.PLACED in picture.words or phrases.holds(picture.words, wanted)


def _placeholders(
    pictures: Sequence[PictureProfile], backbone: BackboneRecord, request: BatRequest
) -> Iterator[Finding]:
    """Say that placeholders of the trigger word are taken out, where the job has no word to put there."""
    always = request.style_always is True
    if backbone.kind == "texts" or request.trigger or (backbone.trigger_hint and not always):
        return
    held = [picture.name for picture in pictures if profiles.PLACED in picture.words]
    asked = sum(PLACEHOLDER.search(prompt) is not None for prompt in request.sample_prompts)
    told = [f"{len(held)} caption{'s' if len(held) > 1 else ''}, {held[0]} first"] if held else []
    told += [f"{asked} of bat.sample_prompts"] if asked else []
    if told:
        yield Finding(
            "trigger_placeholder",
            f"This job has no trigger word, so the placeholders for it are taken out of {' and '.join(told)}.",
            "Leave out bat.style_always and name the word in bat.trigger."
            if always
            else "Name the word in bat.trigger.",
            held[0] if held else None,
            items=held or None,
        )


def of_template(data: Data, backbone: BackboneRecord) -> Iterator[Finding]:
    """Say what the backbone's chat template does not know, of what the texts hold; an estimate says so too."""
    for what, known in (("texts", data.training), ("validation texts", (data.validation,))):
        given = [profile for profile in known if profile is not None]
        texts = sum(len(profile.texts) for profile in given)
        system, tools = sum(profile.with_system for profile in given), sum(profile.with_tools for profile in given)
        yield from unknown_to_template(backbone, texts, system, tools, what)


def unknown_to_template(
    backbone: BackboneRecord, texts: int, system: int, tools: int, what: str = "texts"
) -> Iterator[Finding]:
    """Say what becomes of system prompts and of tools, which so many texts have, where the template has no place."""
    if backbone.chat is None:
        return
    if system and not backbone.chat.system:
        yield Finding(
            "system_unknown",
            f"The chat template of {backbone.id} has no place for a system prompt, with which {system} of {texts} "
            f"{what} {'begins' if system == 1 else 'begin'}; it is written in front of what the user says first.",
            "Nothing needs to be done, but ask the adapter in the same way.",
            severity="info",
        )
    if tools and not templates.knows_tools(backbone):
        one = tools == 1
        yield Finding(
            "tools_unknown",
            f"{tools} of {texts} {what} {'declares or calls' if one else 'declare or call'} tools, for which "
            f"{backbone.id} has no place in a chat; {'it is' if one else 'they are'} left out.",
            "Choose a backbone whose chat template knows tools, or write the calls as words.",
        )
