"""Which kept step draws what was learned and nothing but it: the picture evidence behind stop="auto" for images.

The optimum of the denoising loss is not that of the pictures: on our test backbone no run drew a clean subject where
its held-out loss was best, and all did at several times that step. What ends the good range of a subject is
swallowing: unrelated prompts turn into it. A style is looked for on contents that were never trained, in features of
how a picture is drawn; what ends its range is that contents are lost. All is measured in the backbone's own feature
space, on fixed-seed samples, on one scale: 0 is what the same prompts drew before training, 1 is the references, by
their mean, or of a subject by their details where a backbone tells these. That is likeness of features; it does not say
what a person recognises. The rule is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from core.method.lora.adapter import Adapter
from core.method.stopping.drawings import Drawer, Drawing, drawings, drawn
from core.method.stopping.rule import chosen_by_samples

T = TypeVar("T")

# Shares of the best similarity from which on what was learned counts as there; by eye, on runs of the emoji backbone.
SUBJECT_LEVELLED = 0.95  # parts are complete late, and later does no harm before unrelated prompts are swallowed
STYLE_LEVELLED = 0.9  # later, contents are lost
SWALLOWED_SHARE = 0.15  # share of the subject's own way that unrelated prompts may go towards it
MIN_SIMILARITY = 0.1  # below this best similarity the pictures do not show what was to be learned at all
# Share of the most contents recognised at any step that a step must keep, for a style: the backbone's own features lose
# sight of them early (at half of them an unrelated encoder told all of a duotone's contents apart).
KEPT_CONTENT = 0.5
# Below this best similarity of means the job says that the backbone may be unable to do it; by eye, on three styles of
# which one, that plain runs did not learn either, stayed below .65 and one that is plainly there came to .72.
FAR_WAY = 2 / 3
FAR = (
    "The pictures go less than two thirds of the way even at best: this backbone may be unable to draw what the "
    "references show, they may be too few, or the run too short. Look at the samples."
)
SCALE = "0 is before training and 1 the references; it does not say what a person recognises."
SEEN = 0.005  # of the way: what is less is told as nothing
MOST_REFERENCES = 24  # whose details are compared, evenly of all: those of hundreds would fill memory
LEAST_WAY = 1e-6  # of a cosine, from the details of before to those of the references


class PictureBackbone(Drawer, Protocol):
    """A backbone that draws, and can say how alike two pictures are."""

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return features (n, f) of the frozen backbone: what pictures show."""

    def details(self, images: Sequence[Image.Image]) -> Tensor | None:
        """Return features of what pictures show in detail (n, places, f), unit length; None: `features` are to do."""

    def style_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return features (n, f) of the frozen backbone: how pictures are drawn."""


@dataclass(frozen=True)
class Pictures:
    """Hold what one step draws (step 0: before training), and how alike that is to the references."""

    step: int
    subject: tuple[tuple[str, Image.Image], ...]  # (prompt, picture)
    unrelated: tuple[tuple[str, Image.Image], ...]
    similarity: float  # subject prompts, 0 before training and 1 like the references
    swallowed: float  # unrelated prompts, the same scale
    drift: float  # how far unrelated pictures moved in any direction, relative to how much they differ
    content: float = 1.0  # share of the subject's pictures that are still nearest to what their own prompt drew before
    by_details: bool = False  # whether similarity and swallowed are: even clean pictures are far from 1 then


@dataclass(frozen=True)
class PictureEvidence:
    """Say which step the pictures favour and why; None where they do not show the subject."""

    published_step: int | None
    reason: str


def judge_pictures(
    backbone: PictureBackbone,
    snapshots: Mapping[int, Adapter],
    steps: Sequence[int],
    prompts: Sequence[str],
    unrelated: Sequence[str],
    references: Sequence[Image.Image],
    *,
    seed: int,
    style: bool = False,
    known: Callable[[int], Sequence[Image.Image]] = lambda _: (),
) -> Generator[Pictures, None, None]:
    """Draw every step's samples and yield them measured, step 0 first; `references` are the pictures trained on.

    `known` are the pictures of a step that were drawn while it was trained, the first of `drawings`.
    """
    measure = _Measure(backbone, references, drawings(prompts, unrelated, seed), known(0), style=style)
    yield measure.pictures(0, measure.before)
    for step in sorted(steps):
        yield measure.pictures(step, measure.draw(snapshots[step].to(backbone.device), known(step)))


def choose(judged: Sequence[Pictures], named: int, *, style: bool = False, beside: bool = True) -> PictureEvidence:
    """Name the step whose pictures show what was learned, of those after step 0.

    `named` is the step of the stopping rules, which is told where it is another. `beside` says whether unrelated
    prompts were drawn too, which shall not show it.
    """
    judged = [one for one in judged if one.step > 0]
    best = max((one.similarity for one in judged), default=0.0)
    if best < MIN_SIMILARITY:
        return PictureEvidence(
            None,
            "The sample pictures hardly come nearer to the references at any kept step (feature similarity "
            f"{_figure(best)} at best; 0 is before training, 1 the references), so they have no say in the step: the "
            "run may have been too short, or this backbone may be unable to draw what the references show.",
        )
    found = _style(judged, beside=beside) if style else _subject(judged, best, beside=beside)
    begin = "" if found.published_step is None else chosen_by_samples(found.published_step, named)
    far = f" {FAR}" if best < FAR_WAY and not judged[0].by_details else ""
    return PictureEvidence(found.published_step, f"{begin}{found.reason}{far}")


def _subject(judged: Sequence[Pictures], best: float, *, beside: bool) -> PictureEvidence:
    """Name the first step at which the subject has levelled off, or the last before swallowing if that comes first."""
    levelled = next(one for one in judged if one.similarity >= SUBJECT_LEVELLED * best)
    beyond = [one.swallowed > SWALLOWED_SHARE * best for one in judged]
    # one step alone is noise: a handful of drawings moves by as much, and back at the next
    begun = next((place for place, far in enumerate(beyond) if far and all(beyond[place : place + 2])), len(judged))
    if begun > judged.index(levelled):
        told = f" Unrelated prompts {_moved(levelled)}." if beside else ""
        return PictureEvidence(levelled.step, f"{_furthest(levelled, best, SUBJECT_LEVELLED)}{told}")
    chosen, moved = judged[max(0, begun - 1)], judged[begun]
    far = f"more than {SWALLOWED_SHARE:.0%} as far towards the references as the subject's pictures do at best"
    when = f"the last kept step before unrelated prompts go {far}"
    told = f"They {_moved(chosen)} there and {_moved(moved)} at step {moved.step}"
    if begun == 0:
        when = f"the first kept step; there already unrelated prompts go {far}"
        told = f"They {_moved(chosen)}"
    return PictureEvidence(
        chosen.step,
        f"{when}. {told}; the subject's pictures are at {chosen.similarity:.2f}, at best {best:.2f}. {SCALE}",
    )


def _style(judged: Sequence[Pictures], *, beside: bool) -> PictureEvidence:
    """Name the first step at which the style has levelled off, of those that keep their contents."""
    most = max(one.content for one in judged)
    kept = [one for one in judged if one.content >= KEPT_CONTENT * most]
    best = max(one.similarity for one in kept)
    if best < MIN_SIMILARITY:
        return PictureEvidence(
            None,
            "The sample pictures come nearer to the references only at steps that lose their contents (feature "
            f"similarity {_figure(best)} at best at the others; 0 is before training, 1 the references), so they have "
            "no say in the step: a lower learning rate may bring the style without that.",
        )
    chosen = next(one for one in kept if one.similarity >= STYLE_LEVELLED * best)
    lost = [str(one.step) for one in judged if one not in kept]
    words = [
        _furthest(chosen, best, STYLE_LEVELLED, " of those that keep their contents" * bool(lost)),
        f"{chosen.content:.0%} of its pictures are nearest to what their own prompts drew before training.",
    ]
    if lost:
        words.append(f"Contents are lost at step{'s' * (len(lost) > 1)} {', '.join(lost)}.")
    if beside:
        unasked = ", which was not asked for (see bat.style_always)" if chosen.swallowed >= SEEN else ""
        words.append(f"Prompts without the trigger {_moved(chosen)}{unasked}.")
    return PictureEvidence(chosen.step, " ".join(words))


def _furthest(one: Pictures, best: float, share: float, among: str = "") -> str:
    return (
        f"the first kept step{among} whose pictures go at least {share:.0%} as far towards the references as those of "
        f"any (feature similarity {one.similarity:.2f}, at best {best:.2f}). {SCALE}"
    )


def _figure(similarity: float) -> str:
    return f"{round(similarity, 2) + 0.0:.2f}"  # never "-0.00"


def _moved(one: Pictures) -> str:
    return f"have moved {one.swallowed:.2f} of that way" if one.swallowed >= SEEN else "have not moved that way"


class _Measure:
    """What the prompts drew before training, and how pictures of a later step compare with that and the references."""

    def __init__(
        self,
        backbone: PictureBackbone,
        references: Sequence[Image.Image],
        drawings: Sequence[Drawing],
        known: Sequence[Image.Image],
        *,
        style: bool,
    ) -> None:
        self.backbone, self.drawings = backbone, drawings
        self.asked = self._listed([one.prompt for one in drawings])
        self.before = self.draw(None, known)
        self._seen = backbone.style_features if style else backbone.features
        target = self._seen(references)
        self._ways = [_Way(target, self._seen(images)) if images else None for images in self.before]
        self._details = [] if style else self._compared(references)
        self._contents = backbone.features(self.before[0]) if style else None

    def _compared(self, references: Sequence[Image.Image]) -> list[_Details | None]:
        """Return how details of both lists are compared; nothing where the backbone tells of none."""
        shown = self.backbone.details(references[:: -(-len(references) // MOST_REFERENCES)])
        if shown is None:
            return []
        shown = shown.to(self.backbone.device)  # once for both lists
        before = [self.backbone.details(images) if images else None for images in self.before]
        return [None if each is None else _Details(shown, each) for each in before]

    def draw(self, adapter: Adapter | None, known: Sequence[Image.Image]) -> list[list[Image.Image]]:
        """Return what the prompts draw under the adapter: the subject's, and the unrelated ones'."""
        return self._listed(drawn(self.backbone, adapter, self.drawings, known))

    def _listed(self, found: Sequence[T]) -> list[list[T]]:
        """Return what was found of each drawing in two lists, by their places."""
        lists: list[dict[int, T]] = [{}, {}]
        for one, each in zip(self.drawings, found, strict=True):
            lists[one.unrelated][one.place] = each
        return [[places[place] for place in sorted(places)] for places in lists]

    def pictures(self, step: int, drawn: list[list[Image.Image]]) -> Pictures:
        """Return a step's pictures with their measures; those from before training measure 0."""
        pairs = [tuple(zip(*pair, strict=True)) for pair in zip(self.asked, drawn, strict=True)]
        if step == 0:
            return Pictures(0, pairs[0], pairs[1], 0.0, 0.0, 0.0)
        (similarity, _), (swallowed, drift) = (self._moved(place, images) for place, images in enumerate(drawn))
        content, by_details = self._content(drawn[0]), bool(self._details)
        return Pictures(step, pairs[0], pairs[1], similarity, swallowed, drift, content, by_details)

    def _moved(self, place: int, drawn: Sequence[Image.Image]) -> tuple[float, float]:
        """Return which share of the way to the references pictures of one list have gone, and how far in any."""
        way = self._ways[place]
        if way is None:
            return 0.0, 0.0
        now, details = self._seen(drawn), self._details[place] if self._details else None
        shown = None if details is None else self.backbone.details(drawn)
        gone = way.gone(now) if details is None or shown is None else details.gone(shown)
        return gone, way.drift(now)

    def _content(self, drawn: Sequence[Image.Image]) -> float:
        """Return the share of pictures whose nearest from before training is one of the same prompt.

        Both sides are taken relative to their mean, so that what all pictures share, a style, does not count.
        """
        if self._contents is None:
            return 1.0
        now, before = (part - part.mean(0) for part in (self.backbone.features(drawn), self._contents))
        likeness = normalize(now, dim=1) @ normalize(before, dim=1).T
        prompts = self.asked[0]
        nearest = likeness.argmax(1).tolist()
        return sum(prompts[place] == prompt for place, prompt in zip(nearest, prompts, strict=True)) / len(prompts)


class _Way:
    """The straight way, in feature space, from what some prompts drew before training to the references."""

    def __init__(self, references: Tensor, before: Tensor) -> None:
        self.before = before
        self.direction = references.mean(0) - before.mean(0)

    def gone(self, now: Tensor) -> float:
        """Return which share of the way the pictures have gone on average: 0 before training, 1 at the references."""
        return float(((now - self.before) @ self.direction).mean() / self.direction.square().sum().clamp_min(1e-12))

    def drift(self, now: Tensor) -> float:
        """Return how far the pictures moved in any direction, relative to how much they differed among themselves."""
        spread = (self.before - self.before.mean(0)).norm(dim=1).mean().clamp_min(1e-12)
        return float((now - self.before).norm(dim=1).mean() / spread)


class _Details:
    """How alike the details of some pictures and of the references are, wherever in a picture they lie.

    Each place of the ones is compared with the place of the others that is most like it, and the other way round
    (symmetric chamfer, by cosines): what is smudged is like nothing in the references, and a blank picture has little
    of what they show. Our own.
    """

    def __init__(self, references: Tensor, before: Tensor) -> None:
        self._references = references.flatten(0, 1)
        self._begin = self._alike(before)

    def gone(self, now: Tensor) -> float:
        """Return which share of the way the pictures have gone: 0 before training, 1 where they are the references."""
        return (self._alike(now) - self._begin) / max(LEAST_WAY, 1 - self._begin)

    def _alike(self, pictures: Tensor) -> float:
        """Return the mean cosine of each place and the most like it, of pictures (n, p, f) and of the references."""
        found, theirs = [], self._references.new_full((len(self._references),), -1.0)
        for one in pictures:
            likeness = one.to(self._references.device) @ self._references.T
            found.append(likeness.amax(1).mean())
            theirs = torch.maximum(theirs, likeness.amax(0))
        return float((torch.stack(found).mean() + theirs.mean()) / 2)
