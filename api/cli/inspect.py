"""`albatross inspect FILE`: what an adapter's file is, for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.runtime.command_line import CommandLine, Data, read_settings
from core.text_safety import shown

if TYPE_CHECKING:  # the other commands start faster without
    from core.adapters.inspection import Inspection

WIDTH, LINE = 11, 110
NO_CARD = "none: a kept step, or not made by Albatross, or stripped"
COMMANDS = CommandLine()


@COMMANDS.explained(
    "inspect", "albatross inspect cat.safetensors", "albatross inspect adapter.gguf", "albatross inspect peft.zip"
)
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".safetensors, .gguf, the zip of peft, or card.json")],
    data: Data = None,
) -> None:
    """Show what an adapter's file is, where it comes from and what is wrong with it. Exits with 1 on a warning."""
    read_settings(data=data)
    from core.adapters.inspection import inspect

    found = inspect(file)
    print("\n".join(lines(found)))
    if found.warnings:
        raise typer.Exit(1)


def lines(found: Inspection) -> Iterator[str]:
    """Say it, a line a fact."""
    from core.adapters.inspection import KNOWN_FORMATS

    yield f"{shown(found.name)}: {KNOWN_FORMATS.get(found.form, found.form)}, {size(found.bytes)}"
    card = found.card or {}
    facts = {
        "modules": _modules(found),
        "scale": _scale(found),
        "numbers": _numbers(found),
        "backbone": _backbone(found, card),
        "note": _note(card),
        "published": _published(card.get("outcome") or {}),
        "why": (card.get("outcome") or {}).get("stop_reason") or "",
        "losses": _losses(card),
        "data": _data(card.get("data") or {}),
        "replayed": _replayed(card),
        "protected": _protected(card),
        "settings": _settings(card),
        "versions": ", ".join(f"{name} {number}" for name, number in (card.get("versions") or {}).items()),
        "card": f"sha256 {found.card_sha256}" if found.card_sha256 else NO_CARD,
    }
    for name, value in facts.items():
        if value:
            yield from _wrapped(name, value)
    for warning in found.warnings:
        yield from _wrapped("WARNING", warning)
    if found.modules and not found.warnings:
        yield from _wrapped("checked", "every number is finite, no half is missing, and no B is zero")


def _wrapped(name: str, value: str) -> list[str]:
    """Begin with the name and go on below the value, which holds text out of the file."""
    return textwrap.wrap(
        shown(value),
        LINE,
        initial_indent=f"  {name:<{WIDTH}}",
        subsequent_indent=" " * (WIDTH + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def size(number: int) -> str:
    """Write a size for people."""
    amount, units = float(number), ["bytes", "kB", "MB", "GB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if units[0] == "bytes" or amount >= 100 else f"{amount:.1f} {units[0]}"


def _modules(found: Inspection) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.modules.items())
    return f"{sum(found.modules.values())}: {kinds}" if found.modules else ""


def _scale(found: Inspection) -> str:
    if not found.ranks:
        return ""
    ranks = f"rank {', '.join(map(str, found.ranks))}"
    if not found.alphas:
        return f"{ranks}, alpha unknown"
    plain = len(found.alphas) == len(found.ranks) == 1 and found.ranks[0] and not found.uneven
    scale = f", scale {found.alphas[0] / found.ranks[0]:g}" if plain else ""
    return f"{ranks}, alpha {', '.join(f'{alpha:g}' for alpha in found.alphas)}{scale}"


def _numbers(found: Inspection) -> str:
    return f"{found.parameters:,} in {', '.join(found.numbers)}" if found.parameters else ""


def _backbone(found: Inspection, card: dict[str, Any]) -> str:
    backbone = card.get("backbone") or {}
    known = [f"known as {backbone['hub_name']}"] if backbone.get("hub_name") else []
    further = [f"{name} {backbone[name]}" for name in ("revision", "licence") if backbone.get(name)]
    return ", ".join([found.backbone or "unknown", *known, *further])


def _note(card: dict[str, Any]) -> str:
    """Warn of a backbone's name that others don't know; nothing is wrong with the file, so it is no WARNING."""
    from core.adapters.card import only_known_here

    backbone = card.get("backbone") or {}
    return only_known_here(backbone["id"]) if backbone.get("id") and not backbone.get("hub_name") else ""


def _published(outcome: dict[str, Any]) -> str:
    if "published_step" not in outcome:
        return ""
    last = f" of {outcome['last_step']}" if outcome.get("last_step") else ""
    told = {"rule": outcome.get("stop_rule"), "confidence": outcome.get("confidence")}
    further = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    return f"step {outcome['published_step']}{last}" + (f", {further}" if further else "")


def _losses(card: dict[str, Any]) -> str:
    """Say how each loss has changed up to the published step, or the row nearest to it."""
    curves, step = card.get("curves") or {}, (card.get("outcome") or {}).get("published_step")
    columns, rows = curves.get("columns") or [], curves.get("rows") or []
    if "step" not in columns or not rows or step is None:
        return ""
    place = columns.index("step")
    nearest = min(rows, key=lambda row: abs(row[place] - step))
    own = (card.get("probe") or {}).get("on") == "own"
    named = {"reference_loss": "reference", "heldout_loss": "heldout"}
    named["probe_loss"] = "probe of samples of the backbone's own" if own else "probe"
    parts = []
    for name, words in named.items():
        at = columns.index(name) if name in columns else -1
        if at >= 0 and rows[0][at] is not None and nearest[at] is not None:
            parts.append(f"{words} {rows[0][at]:.4g} to {nearest[at]:.4g}")
    return ", ".join(parts)


def _data(data: dict[str, Any]) -> str:
    references = data.get("references") or {}
    if not references:
        return ""
    validation = data.get("validation")
    further = f"; {validation['count']} for validation, sha256 {validation['sha256']}" if validation else ""
    return f"{references.get('count')} {data.get('kind')}, sha256 {references.get('sha256')}{further}"


def _replayed(card: dict[str, Any]) -> str:
    replayed, pool = card.get("replayed"), (card.get("data") or {}).get("pool")
    if replayed is None:
        return ""
    if not replayed.get("count"):
        return "no backbone data"
    licences = ", ".join(f"{count} {licence}" for licence, count in replayed["licences"].items())
    source = f", out of a pool of {pool['candidates']}, sha256 {pool['sha256']}" if pool else ""
    return f"{replayed['count']} backbone examples ({licences}){source}"


def _protected(card: dict[str, Any]) -> str:
    """Say by what means the backbone was protected; nothing where a card is older than that, or nothing did."""
    told = card.get("protected")
    if not told:
        return ""
    on = {"pool": "backbone examples", "own": "samples of the backbone's own", "captions": "unrelated captions"}
    what = f"{told['examples']} {on.get(told['on'], told['on'])}"
    return f"by {told['means']} at weight {told['weight']:g}, in {told['share']:.0%} of the slots, on {what}"


def _settings(card: dict[str, Any]) -> str:
    parameters = card.get("parameters") or {}
    names = ("learning_rate", "batch_size", "max_steps", "preset", "trigger")
    told = [f"{name} {parameters[name]}" for name in names if parameters.get(name) is not None]
    return ", ".join([*told, f"seed {card['seed']}"]) if "seed" in card else ""
