"""Measure what words do to a backbone's prompts, so that its trigger marks and does not erase."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.errors import InvalidInput
from core.method.backbones.images import trigger_words
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.trigger_words import HARMLESS, Change, Place
from core.references.captions import ENDS, caption_of, marked
from core.runtime.command_line import CommandLine, Data, read_settings
from worker import device
from worker.stages import pool as pools

MOST_PROMPTS = 8
PLACES: Mapping[str, Place] = {
    "in front": lambda plain, word: f"{word} {plain}",
    "behind": lambda plain, word: f"{plain} {word}",
    "at the end": marked,
}
Table = Mapping[str, Mapping[str, Change]]
COMMANDS = CommandLine()


@COMMANDS.explained("trigger", "albatross backbones trigger emoji-ldm")
def command(
    id: Annotated[str, typer.Argument(metavar="ID", help="one of `albatross backbones list`")],
    word: Annotated[list[str] | None, typer.Option(metavar="WORD", help="a word to measure; may be repeated")] = None,
    write: Annotated[bool, typer.Option("--write", help="register the best word where it is clearly better")] = False,
    data: Data = None,
) -> None:
    """Measure what trigger words do to a backbone's prompts."""
    settings = read_settings(data=data)
    registry = Registry.load(settings)
    record = registry.get(id)
    if record.kind != "images":
        raise InvalidInput("Only image backbones have trigger words.", code="wrong_family", param="id")
    if write:
        registry.check_writable(record.id)
    backbone = DiffusionBackbone.load(
        record.path,
        form=record.form,
        variant=record.variant,
        resolution=record.resolution or 512,
        target_modules=record.target_modules,
        device=device.device(settings),
    )
    hint = [record.trigger_hint] if record.trigger_hint else []
    words = tuple(dict.fromkeys([*hint, *(word or trigger_words.CANDIDATES)]))
    with backbone.encoding():
        found = table(backbone, record, words)
    print("\n".join(shown(found)))
    chosen, why = best({each: places["at the end"] for each, places in found.items()}, record.trigger_hint)
    print(why)
    if write and chosen != record.trigger_hint:
        registry.set_trigger(record.id, chosen)
        print(f"{chosen!r} is the trigger of {record.id} from now on.")


def prompts(record: BackboneRecord) -> list[str]:
    """Return what the words are tried on: unrelated prompts and captions of the backbone's own pool, no prefix."""
    pool = pools.load(record)
    held = [each.words for each in pool.candidates] if pool else []
    spread = held[:: max(1, len(held) // MOST_PROMPTS)]
    told = (*record.unrelated_prompts[: MOST_PROMPTS // 2], *spread)
    plain = dict.fromkeys(words.removeprefix(record.caption_prefix).strip(ENDS) for words in told)
    return [words for words in plain if words][:MOST_PROMPTS]


def table(backbone: DiffusionBackbone, record: BackboneRecord, words: Sequence[str]) -> Table:
    """Return what each word does in each of the places; in one pass, so that prompts alone are measured once."""
    tried = prompts(record)
    if not tried:
        raise InvalidInput(f"{record.id} has neither a pool nor unrelated prompts to try words on.", code="no_prompts")

    def whole(words: str) -> str:
        return caption_of(words, record.caption_prefix, None)

    cells = [(word, place) for word in words for place in PLACES]
    pairs = [(whole(each), whole(PLACES[place](each, word))) for word, place in cells for each in tried]
    found, size = trigger_words.changes(backbone, pairs), len(tried)
    result: dict[str, dict[str, Change]] = {}
    for at, (word, place) in enumerate(cells):
        result.setdefault(word, {})[place] = Change.of(found[size * at : size * (at + 1)])
    return result


def shown(found: Table) -> list[str]:
    """Return the table as lines: how far prompts change, on average and at most, in shares of what they say."""
    head = f"{'word':12}" + "".join(f"{place + ': mean':>18}{'most':>7}" for place in PLACES)
    rows = [
        f"{word:12}" + "".join(f"{places[place].mean:18.1%}{places[place].worst:7.1%}" for place in PLACES)
        for word, places in found.items()
    ]
    return [head, *rows]


def best(found: Mapping[str, Change], hint: str | None) -> tuple[str, str]:
    """Return the word to take and why; the one that is registered stays where it does no harm either."""
    least = min(found, key=lambda word: found[word].mean)
    if hint is not None and found[hint].worst <= HARMLESS:
        return hint, f"{hint!r} stays: at the end it changes no prompt by more than {found[hint].worst:.1%}."
    if hint is not None and found[hint].mean <= 2 * found[least].mean:
        return hint, f"{hint!r} stays: no word that was tried is clearly better."
    return least, f"{least!r} changes least at the end: {found[least].mean:.1%} on average."


if __name__ == "__main__":
    sys.exit(COMMANDS.run("albatross backbones"))
