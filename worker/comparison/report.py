"""Write a comparison as one HTML page: the verdict, the figures, and every question with its answers side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from worker.comparison import sentences
from worker.comparison.measures import Compared, Summary

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:1280px;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.6rem}h2{margin-top:2.4rem;font-size:1.2rem}
.lead{font-size:1.1rem;background:#eef4ff;border-left:4px solid #3563e9;padding:.8rem 1rem;margin:.6rem 0}
table{border-collapse:collapse;width:100%}
th,td{padding:.5rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid #e3e7ee}
.figures{width:auto}.figures td:nth-child(n+2){font-variant-numeric:tabular-nums}
.small{color:#5b6472;font-size:.85rem}.answers{table-layout:fixed}
.answers td{white-space:pre-wrap;overflow-wrap:anywhere}.answers th:first-child{width:22%}
td.new{background:#f4f8ff}td.before{color:#5b6472}summary{cursor:pointer;color:#3563e9}
@media(max-width:760px){.answers,.answers tbody,.answers tr,.answers td{display:block;width:auto}
.answers thead{display:none}.answers td{border:0}.answers tr{border-bottom:2px solid #d7dce5}
.answers td::before{content:attr(data-who);display:block;font-size:.8rem;color:#5b6472}}
"""


@dataclass(frozen=True)
class Comparison:
    """Everything that the page shows."""

    adapter: str
    backbone: str
    answers: str  # the file
    old_model: str
    known_from: str
    notes: Sequence[str]
    summaries: Sequence[Summary]
    rows: Sequence[Compared]


def page(found: Comparison) -> str:
    """Return the whole page; it needs nothing else, and runs no script."""
    title = f"{found.backbone} with {found.adapter}, beside {found.old_model}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        *(f'<p class="lead">{_text(sentences.verdict(summary))}</p>' for summary in found.summaries),
        f'<p class="small">Old answers: {_text(found.answers)}. New model: {_text(found.backbone)} with the adapter '
        f"{_text(found.adapter)}, which always says what it thinks likeliest. What was trained on is "
        f"{_text(found.known_from)}.</p>",
        *(f'<p class="small">{_text(note)}</p>' for note in found.notes),
        *(_figures(summary) for summary in found.summaries),
        *(_answers(summary.group, found.rows) for summary in found.summaries),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{_text(title)}</title><style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _figures(summary: Summary) -> str:
    rows = [
        f"<tr><td>{_text(sentences.TITLES[name])}<br><span class=small>{_text(sentences.MEANINGS[name])}"
        f"{_text('; ' + figure.note if figure.note else '')}</span></td>"
        f"<td>{_text(sentences.ranged(figure, figure.before, figure.before_interval))}</td>"
        f"<td>{_text(sentences.ranged(figure, figure.after, figure.after_interval))}</td>"
        f"<td>{_text(sentences.value(figure, figure.old))}</td></tr>"
        for name, figure in summary.figures.items()
    ]
    head = "<tr><th></th><th>before training</th><th>after training</th><th>the old model itself</th></tr>"
    return (
        f"<h2>{sentences.questions(summary.questions)}, {_text(summary.group)}</h2>"
        f'<p class="small">In brackets: 95 % intervals over questions.</p>'
        f'<table class="figures">{head}{"".join(rows)}</table>'
    )


def _answers(group: str, rows: Sequence[Compared]) -> str:
    own = sorted((row for row in rows if row.question.group == group), key=lambda row: row.wording)
    head = "<tr><th>question</th><th>old model</th><th>new model</th><th>before training</th></tr>"
    body = "".join(map(_row, own))
    return (
        f"<h2>Side by side, {_text(group)}</h2><p class=small>The least alike first.</p>"
        f'<table class="answers"><thead>{head}</thead><tbody>{body}</tbody></table>'
    )


def _row(row: Compared) -> str:
    first, *others = row.question.answers
    more = f"<details><summary>{len(others)} more</summary>{_text(chr(10).join(others))}</details>" if others else ""
    rate = f"loss {row.loss_before / max(1, row.tokens):.2f} to {row.loss_after / max(1, row.tokens):.2f}"
    facts = [f"{row.wording:.0%} of the wording", *(["cut at the limit"] if row.cut else [])]
    if row.similarity is not None:
        facts.append(f"nearness {row.similarity:.0%}")
    return (
        f'<tr><td data-who="question">{_question(row)}\n<span class=small>{rate}</span></td>'
        f'<td data-who="old model">{_text(first)}{more}</td>'
        f'<td class="new" data-who="new model">{_text(row.new)}\n'
        f"<span class=small>{_text(', '.join(facts))}</span></td>"
        f'<td class="before" data-who="before training">{_text(row.untrained)}</td></tr>'
    )


def _question(row: Compared) -> str:
    *before, (role, last) = row.question.asked
    told = "\n".join(f"{who}: {said}" for who, said in before)
    fold = f"<details><summary>what came before</summary>{_text(told)}</details>" if before else ""
    return f"{fold}{_text(last if role == 'user' else f'{role}: {last}')}"


def _text(value: object) -> str:
    return html.escape(str(value))
