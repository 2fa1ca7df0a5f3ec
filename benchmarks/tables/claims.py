"""Sentences of docs/method.md as numbers, each computed from records, so that none of them outlives what carried it."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from benchmarks.statistics import Record, cluster, estimate, unit
from benchmarks.tables.groups import GROUPS, best, cell, size, table


def foreigners_table(rows: list[Record]) -> str:
    """Return how often a planted stranger was found, and how many others were accused, by each line."""

    def lines() -> Iterator[list[str]]:
        others = sum(row["others"] for row in rows)
        for line, said, counted in (
            ("nothing is learned of it from the others", ("hurts",), ("others_hurt",)),
            ("less than 40 % of the median", ("hurts", "doubtful"), ("others_hurt", "others_doubtful")),
        ):
            found = fmean(row["planted"] in said for row in rows)
            accused = sum(row[name] for row in rows for name in counted) / others
            yield [line, f"{found:.0%} of {len(rows)}", f"{accused:.0%} of {others}"]

    return table("a reference is accused where | the stranger is found | others accused", lines() if rows else ())


def first_part_table(rows: list[Record], noise: list[Record]) -> str:
    """Return in how many draws of a first part the rest was scored too, where it was worth it and where not."""

    def lines() -> Iterator[list[str]]:
        for name, n in dict.fromkeys((row["set"], row["n"]) for row in rows):
            mine = [row for row in rows if (row["set"], row["n"]) == (name, n)]
            right = [row["right"] for row in mine if row["right"] is not None]
            shown = f"{fmean(right):.1f}" if right else "none is right"
            goes_on = fmean(row["goes_on"] for row in mine)
            yield [f"{name}, {n} references", shown, f"{goes_on:.0%}", f"{len(mine)}"]
        for row in noise:
            yield [f"noise, {row['candidates']} candidates", "none is right", f"{row['repeats']:.0%}", ""]

    return table("scores | right source in the whole selection, x chance | told from chance | seeds", lines())


def natural_table(records: list[Record]) -> str:
    """Return how often mixing in the proportion of the data, m / (n + m), is worse than no backbone data."""

    def rows() -> Iterator[list[str]]:
        for group, belongs in GROUPS.items():
            losses = {(unit(r), r["arm"]): r for r in records if r["rule"] == "never" and belongs(r)}
            both = [(r, losses[place, "none"]) for (place, arm), r in losses.items() if arm == "influence natural"]
            if both:
                found = [(cluster(mixed), best(mixed) - best(plain)) for mixed, plain in both]
                worse = fmean(value > 0 for _, value in found)
                mean = estimate(found)
                yield [group, cell(mean), f"{worse:.0%}", size(mean)]

    return table("data | best step, natural mixing - none | runs in which it is worse | runs (clusters)", rows())


def triggers_table(rows: list[Record]) -> str:
    """Return how far each word changes prompts in each place: on average, and the prompt that changes most."""

    def lines() -> Iterator[list[str]]:
        places = dict.fromkeys(row["place"] for row in rows)
        for word in dict.fromkeys(row["word"] for row in rows):
            found = {row["place"]: row for row in rows if row["word"] == word}
            yield [word, *(f"{found[place]['mean']:.1%} ({found[place]['most']:.1%})" for place in places)]

    return table("word | in front of the thing | behind it | at the end", lines())


def precision_table(rows: list[Record]) -> str:
    """Return what each way to hold a model takes of memory, and how far off it is."""

    def lines() -> Iterator[list[str]]:
        for row in rows:
            name = f"`{row['precision']}`{', `checkpointing`' if row['checkpointing'] else ''}"
            sizes = [f"{row[part] / 2**20:.0f} MiB" for part in ("weights", "kept")]
            yield [name, *sizes, f"{row['off']:.0%}", f"{row['loss']:.2f}", f"{row['cosine']:.3f}"]

    head = "held as | weights | kept for the backward pass | logits off by | loss"
    return table(f"{head} | gradients' cosine", lines())
