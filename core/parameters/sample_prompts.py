"""What an adapter is asked for while it is judged: new contents and questions, and others that it should not touch.

What stands in the training data would only show what was learned by heart. Every choice comes with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from core.backbones.record import OTHERS, SETTINGS, UNRELATED, BackboneRecord
from core.references import phrases
from core.references.captions import caption_of, filled, first_line, without_end
from core.references.content import FUNCTION_WORDS, content, resembles, same_content

CLASS_SHARE = 0.8  # of the captions that hold the words which name what they show
COUNT = 4  # contents of a style, and unrelated prompts, at most
QUESTIONS = 10  # asked at every kept step, at most
TRIED_CAPTIONS = 10  # or a few more, spread over all: shared words are looked for in these
NEW_SETTINGS = 2  # that a subject is put into
EVERYDAY_QUESTIONS = (
    "What could I cook for dinner tonight?",
    "How do I keep my plants alive in winter?",
    "How do I ask my boss for a day off?",
    "My neighbour plays loud music. How do I tell him?",
    "How can I save money on a long trip?",
    "Which hobby suits somebody with little time?",
    "How do I get a wine stain out of a shirt?",
    "What makes a good friend?",
    "How do I make my mornings less hectic?",
    "What should I take along on a picnic?",
    "How can I learn to swim as an adult?",
    "My bicycle squeaks. What should I do?",
    "Is it worth mending old furniture?",
    "How do I choose a good book?",
    "What can I do on a rainy afternoon?",
    "How do I get over stage fright?",
)
ALONE = "so the trigger alone is sampled"


class Chosen(NamedTuple):
    """Prompts, and why these."""

    prompts: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Captions:
    """The captions of a job's images: as their owner wrote them, with what is added before they are trained on."""

    written: Sequence[str]  # "" where there is none; of several lines one is drawn each time
    backbone: BackboneRecord
    trigger: str | None
    add_trigger: bool

    @property
    def marked(self) -> bool:
        """Whether prompts are to hold the trigger: where captions do, or nothing else names what they show."""
        word = self.trigger
        own = any(phrases.names(filled(words, word), word) for words in self.written) if word else False
        return self.add_trigger or own or not any(words.strip() for words in self.written)

    @cached_property
    def told(self) -> list[str]:
        """The captions of the images that have one, as they are trained on; of several lines the first."""
        prefix, first = self.backbone.caption_prefix, [first_line(words) for words in self.written if words.strip()]
        return [caption_of(words, prefix, self.trigger, self.add_trigger) for words in first]

    @property
    def several(self) -> bool:
        """Whether some caption has several lines."""
        return any("\n" in words for words in self.written)

    def asked(self, words: str) -> str:
        """Return words as a prompt."""
        return caption_of(words, self.backbone.caption_prefix, self.trigger, self.marked).strip()

    def content(self, caption: str) -> frozenset[str]:
        """Return what a caption is about; the backbone's prefix and the trigger are in every one."""
        besides = phrases.words(f"{self.backbone.caption_prefix} {self.trigger or ''}")
        return content(filled(caption, self.trigger), besides)

    @cached_property
    def contents(self) -> list[frozenset[str]]:
        """What each line of each caption is about."""
        return [self.content(line) for caption in self.written for line in caption.split("\n")]

    @cached_property
    def shared(self) -> tuple[list[str], int]:
        """The words that captions share, as in `shared_words`; the trigger only where it does not end them."""
        prefix = self.backbone.caption_prefix
        return shared_words([without_end(words.removeprefix(prefix), self.trigger) for words in self.told])

    def name(self, words: str) -> bool:
        """Tell whether some caption is about the same as these words."""
        meant = self.content(words)
        return any(same_content(meant, other) for other in self.contents)

    def unmarked(self, words: str) -> str:
        """Return words as a prompt without the trigger."""
        return caption_of(words, self.backbone.caption_prefix, None)


def subject(captions: Captions) -> Chosen:
    """Return the words that captions share, alone and in settings that no caption names, each with the trigger."""
    told = captions.told
    shared, held = captions.shared
    if len(told) < 2 or not content(" ".join(shared)):
        return _nothing_shared(captions, told)
    words = " ".join(shared)
    known = captions.backbone.settings or SETTINGS[captions.backbone.kind]
    fresh = [each for each in known if not any(captions.content(each) <= other for other in captions.contents)]
    asked = ["", *fresh[:NEW_SETTINGS]]
    where = " in their first line" if captions.several else ""
    why = f"{held} of {len(told)} captions hold the words {words!r}{where}, which are sampled"
    why += " with the trigger" if captions.trigger and captions.marked else ""
    why += ": alone, and in settings that no known caption names." if fresh else "."
    return Chosen(tuple(captions.asked(f"{words} {setting}".strip()) for setting in asked), why)


def _nothing_shared(captions: Captions, told: Sequence[str]) -> Chosen:
    first = [*told[:1]] if captions.trigger else [*told[:2]]
    alone = [captions.asked("")] if captions.trigger else []
    prompts = tuple(dict.fromkeys([*alone, *first]))
    if not told:
        why = f"No caption is known, {ALONE}." if alone else "No caption is known and there is no trigger."
        return Chosen(prompts, why)
    whose = "First lines of captions" if captions.several else "Captions"
    what = "Only one caption is known" if len(told) == 1 else f"{whose} share no words that name something"
    if not alone:
        return Chosen(prompts, f"{what}, and there is no trigger: {_the_first(captions)} are sampled.")
    too = ", and the first line of the first caption" if captions.several else ", and the first caption"
    return Chosen(prompts, f"{what}, {ALONE}{too if len(prompts) > 1 else ''}.")


def _the_first(captions: Captions) -> str:
    """Say what is sampled where nothing new can be."""
    return "the first lines of the first of them" if captions.several else "the first of them"


def shared_words(captions: Sequence[str]) -> tuple[list[str], int]:
    """Return the longest run of words, in order, that enough captions hold, and how many hold it.

    Words may stand between them; a run does not end with a word like "with".
    """
    split = [caption.split() for caption in captions]
    spelt = [[" ".join(phrases.words(word)) for word in words] for words in split]
    holding = Counter(word for words in spelt for word in set(words) if word)
    enough = CLASS_SHARE * len(spelt)
    best: tuple[list[str], int] = ([], 0)
    for words, plain in list(zip(split, spelt, strict=True))[:: max(1, len(split) // TRIED_CAPTIONS)]:
        kept = [at for at, word in enumerate(plain) if holding[word] >= enough]
        while kept:
            held = sum(_in_order([plain[at] for at in kept], other) for other in spelt)
            if held >= enough and plain[kept[-1]] not in FUNCTION_WORDS:
                break
            kept.pop()
        if len(kept) > len(best[0]):
            best = [words[at].strip(",.;:") for at in kept], held
    return best


def _in_order(run: Sequence[str], words: Sequence[str]) -> bool:
    rest = iter(words)
    return all(word in rest for word in run)


def style(captions: Captions) -> Chosen:
    """Return contents that no caption names, each with the trigger where the job has one."""
    contents = _contents(captions)
    if not contents:
        why = f"Known captions name every content that could be asked for, so {_the_first(captions)} are sampled."
        return Chosen(tuple(captions.told[:COUNT]), why)
    how = "each with the trigger" if captions.trigger and captions.marked else "without a trigger"
    return Chosen(tuple(map(captions.asked, contents)), f"{_new_contents(captions)}, {how}.")


def beside_style(captions: Captions, always: bool) -> Chosen:
    """Return the contents of `style` without the trigger: whether the style comes without being asked for."""
    if always:
        return Chosen((), "The style is to come without being asked for, so that no prompt is unrelated to it.")
    if not (captions.trigger and captions.marked):
        return Chosen((), "Without a trigger nothing asks for the style, so that no prompt is unrelated to it.")
    contents = _contents(captions)
    if not contents:
        return Chosen((), "Known captions name every content that could be asked for.")
    why = f"{_new_contents(captions)}, without the trigger: the style should not come unless asked for."
    return Chosen(tuple(map(captions.unmarked, contents)), why)


def _new_contents(captions: Captions) -> str:
    if captions.told:
        return "They are contents that no known caption names"
    return "No caption is known to compare them with; they are usual contents"


def _contents(captions: Captions) -> list[str]:
    """Return contents that no caption names, whatever the captions share: that is said of the style."""
    shared = captions.content(" ".join(captions.shared[0])) if len(captions.told) > 1 else frozenset()
    named = [caption - shared for caption in captions.contents]
    known = _known(captions.backbone)
    return [each for each in known if not any(same_content(captions.content(each), one) for one in named)][:COUNT]


def beside_subject(captions: Captions, sampled: Sequence[str]) -> Chosen:
    """Return the backbone's unrelated prompts; those that captions name or that are sampled are replaced."""
    asked = [captions.content(prompt) for prompt in sampled]
    shared = captions.content(" ".join(captions.shared[0])) if len(captions.told) > 1 else frozenset()

    def related(words: str) -> bool:
        meant = captions.content(words)
        also = any(same_content(meant, other) for other in asked) or (bool(shared) and shared <= meant)
        return also or captions.name(words)

    chosen = _replaced(captions.backbone, related, len(captions.told), "caption or a sample names the same")
    return Chosen(tuple(map(captions.unmarked, chosen.prompts)), chosen.why)


def questions(asked: Sequence[str]) -> Chosen:
    """Return everyday questions that resemble none of those that the references answer."""
    known = [content(question) for question in asked]
    fresh = [each for each in EVERYDAY_QUESTIONS if not any(resembles(content(each), other) for other in known)]
    if fresh:
        return Chosen(tuple(fresh[:QUESTIONS]), "They are everyday questions; none resembles a known reference.")
    first = tuple(dict.fromkeys(asked))[:QUESTIONS]
    return Chosen(first, "Each of our everyday questions resembles one of the references; their first are asked.")


def beside_questions(backbone: BackboneRecord, asked: Sequence[str], sampled: Sequence[str]) -> Chosen:
    """Return the backbone's unrelated questions; those that resemble a reference's or a sampled one are replaced."""
    known = [content(question) for question in (*asked, *sampled)]

    def related(words: str) -> bool:
        return any(resembles(content(words), other) for other in known)

    return _replaced(backbone, related, len(asked), "reference or a sample asks alike")


def _replaced(backbone: BackboneRecord, related: Callable[[str], bool], known: int, alike: str) -> Chosen:
    """Return the first of a backbone's unrelated prompts, with others for those that are related after all.

    `known` is how many captions or questions they were compared with, and `alike` says what being related means.
    """
    own = backbone.unrelated_prompts[:COUNT]
    left = [words for words in own if not related(words)]
    if not own:
        return Chosen((), f"None is registered for {backbone.id}.")
    if len(left) == len(own):
        compared = f"; no known {alike.replace('or a', 'or')}" if known else ""
        return Chosen(own, f"They are the backbone's own{compared}.")
    spare = [words for words in _known(backbone) if words not in own and not related(words)]
    prompts = (*left, *spare[: len(own) - len(left)])
    more = len(prompts) - len(left)
    instead = f", with {more} other{'s' if more > 1 else ''} instead" if more else ""
    return Chosen(prompts, f"Left out {len(own) - len(left)} of the backbone's {len(own)}{instead}: a {alike}.")


def _known(backbone: BackboneRecord) -> list[str]:
    """Return what may be asked for beside the references, the backbone's own words first."""
    return list(dict.fromkeys([*backbone.unrelated_prompts, *UNRELATED[backbone.kind], *OTHERS[backbone.kind]]))
