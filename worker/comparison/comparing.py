"""Ask the new model the old one's questions, with its adapter and without, and measure what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.comparison.encoder import Encoder
from worker.comparison.measures import Compared
from worker.comparison.model import SIDE_BY_SIDE, AdaptedModel
from worker.comparison.questions import Question


def compare(
    model: AdaptedModel, questions: Sequence[Question], encoder: Encoder | None, most_tokens: int | None
) -> Iterator[Compared]:
    """Yield what was found for each question; those with short old answers come first, since they share a batch."""
    ordered = sorted(questions, key=lambda question: max(map(len, question.answers)))
    for start in range(0, len(ordered), SIDE_BY_SIDE):
        together = ordered[start : start + SIDE_BY_SIDE]
        limit = model.reply_limit([answer for question in together for answer in question.answers], most_tokens)
        chats = [question.messages() for question in together]
        new = model.replies(chats, limit, adapted=True)
        untrained = model.replies(chats, limit, adapted=False)
        for question, (said, cut), (before, _) in zip(together, new, untrained, strict=True):
            yield _measured(model, question, said, before, cut, encoder)


def _measured(
    model: AdaptedModel, question: Question, said: str, before: str, cut: bool, encoder: Encoder | None
) -> Compared:
    chats = [question.messages(answer) for answer in question.answers]
    losses = [(model.loss(chat, adapted=False), model.loss(chat, adapted=True)) for chat in chats]
    row = Compared(
        question=question,
        new=said,
        untrained=before,
        cut=cut,
        tokens=sum(count for (_, count), _ in losses),
        loss_before=sum(loss for (loss, _), _ in losses),
        loss_after=sum(loss for _, (loss, _) in losses),
    )
    if encoder is not None:
        row.similarity_before, row.similarity = encoder.nearest([before, said], question.answers)
    return row
