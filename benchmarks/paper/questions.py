"""Multiple-choice questions in MMLU's form, asked as its harness asks them: which letter is the likeliest answer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.errors import InvalidInput
from core.method.backbones.backbone import IGNORED
from core.method.backbones.texts import cutting
from core.method.backbones.texts.language import LanguageBackbone
from core.method.backbones.texts.masks import padded_on_the_right
from core.method.lora.adapter import Adapter
from core.references.items import References, TextItem

LETTERS = "ABCD"
COLUMNS = ("question", *LETTERS, "answer")
FORM = "A line has six columns: question,A,B,C,D,answer; the answer is one of the letters"
SPLIT = re.compile(r"[_-](test|dev|val|validation|train)$", re.IGNORECASE)  # what MMLU puts behind a subject
AT_ONCE = 4  # rows in one pass; every place has as many logits as there are words


@dataclass(frozen=True)
class Question:
    """One question, its four options, and which of them is right."""

    question: str
    options: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Questions:
    """The questions of one file, and the subject that its name tells."""

    subject: str
    rows: tuple[Question, ...]

    def prompt(self, asked: Question) -> str:
        """Return the words before the letter, as MMLU's harness writes them without examples."""
        options = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, asked.options, strict=True))
        about = f"The following are multiple choice questions (with answers) about {self.subject}."
        return f"{about}\n\n{asked.question}\n{options}\nAnswer:"

    def references(self, *, framed: bool) -> References:
        """Return the questions with their answers, to be learned from; `framed` by a chat template or not."""
        items = [TextItem(prompt=self.prompt(one), completion=letter(one.right, framed=framed)) for one in self.rows]
        return References("texts", tuple(items))


def letter(place: int, *, framed: bool) -> str:
    """Return a letter as it follows the prompt: where nothing stands between the two, after a space."""
    return LETTERS[place] if framed else f" {LETTERS[place]}"


def is_form(path: Path) -> bool:
    """Tell whether a file of references has MMLU's form, by its first line: a fault in a later one is to be told."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    first = next(iter(_rows(path)), (0, [""]))[1]
    return _is_header(first) or (len(first) == len(COLUMNS) and _is_letter(first[-1]))


def read(path: Path) -> Questions:
    """Read a CSV in MMLU's form, with a header or without; raises InvalidInput that says what to do."""
    rows = _rows(path)
    if rows and _is_header(rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise _refused(path, f"it holds no question. {FORM}")
    subject = SPLIT.sub("", path.stem).replace("_", " ").strip()
    return Questions(subject, tuple(_question(path, line, row) for line, row in rows))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that hold something, each with the line that it ends on."""
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8. Save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise _refused(path, f"it is no CSV ({error}). {FORM}") from None
    except OSError as error:
        raise _refused(path, f"it can't be read ({error.strerror}). Name a CSV file") from None


def _is_header(row: Sequence[str]) -> bool:
    return [cell.casefold() for cell in row] == [name.casefold() for name in COLUMNS]


def _is_letter(cell: str) -> bool:
    return len(cell) == 1 and cell.upper() in LETTERS


def _question(path: Path, line: int, row: Sequence[str]) -> Question:
    if len(row) != len(COLUMNS):
        many = f"the question that ends on line {line} has {len(row)} columns"
        raise _refused(path, f"{many}. {FORM}; what holds a comma stands in double quotes")
    if not _is_letter(row[-1]):
        raise _refused(path, f"the answer on line {line} is {row[-1][:20]!r}. {FORM}")
    return Question(row[0], tuple(row[1:-1]), LETTERS.index(row[-1].upper()))


def _refused(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} can't be used: {what}.", code="invalid_questions", param="questions")


class Exam:
    """The questions as tokens of one backbone, each read once with a pass for all letters that are one token."""

    def __init__(self, backbone: LanguageBackbone, questions: Questions) -> None:
        self.backbone, self.right = backbone, torch.tensor([one.right for one in questions.rows])
        self.shortened = 0  # questions that are longer than the backbone has places for
        asked: list[tuple[int, int, tuple[int, ...], list[int]]] = []  # question, letter, what is read, what follows
        for number, one in enumerate(questions.rows):
            for place, (before, after) in enumerate(self._letters(questions.prompt(one))):
                asked.append((number, place, (*before, *after[:-1]), after))
        self._asked = asked
        self._read = sorted({read for _, _, read, _ in asked}, key=len)

    def _letters(self, prompt: str) -> list[tuple[list[int], list[int]]]:
        """Return for each letter the tokens before it and its own, without the mark at which an answer ends."""
        rendering, found = self.backbone.rendering, []
        for place in range(len(LETTERS)):
            answer = letter(place, framed=rendering.template.there)
            cut = cutting.cut(rendering, {"prompt": prompt, "completion": answer}, self.backbone.places)
            self.shortened, kept = self.shortened + (place == 0 and bool(cut.lost)), cut.kept
            first = next(at for at, label in enumerate(kept.labels) if label != IGNORED)
            found.append((kept.ids[:first], kept.ids[first:]))
        return _told_apart(found)

    def scores(self, adapter: Adapter | None) -> Tensor:
        """Return the log-likelihood of every letter as the answer to every question, (n, 4)."""
        place_of, parts = {read: at for at, read in enumerate(self._read)}, []
        for start in range(0, len(self._read), AT_ONCE):
            parts += self._pass(self._read[start : start + AT_ONCE], adapter)
        found = torch.zeros(len(self.right), len(LETTERS))
        for number, place, read, after in self._asked:
            ahead = parts[place_of[read]][-len(after) :]
            found[number, place] = ahead.gather(1, torch.tensor(after)[:, None]).sum()
        return found

    @torch.no_grad()
    def _pass(self, rows: Sequence[tuple[int, ...]], adapter: Adapter | None) -> list[Tensor]:
        """Return the log-probabilities of the last few places of each row, as many as a letter has tokens."""
        width, device = max(map(len, rows)), self.backbone.device
        most = max(len(after) for *_, after in self._asked)
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
        with self.backbone.lora.use(adapter, samples=len(rows)), padded_on_the_right():
            logits = self.backbone.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        ends = [logits[at, max(0, len(row) - most) : len(row)] for at, row in enumerate(rows)]
        return [end.float().log_softmax(-1).cpu() for end in ends]

    def marks(self, adapter: Adapter | None) -> dict[str, float]:
        """Return the share that is answered rightly, and what probability the right letters have among the four."""
        scores = self.scores(adapter)
        right = scores.softmax(1).gather(1, self.right[:, None])
        return {"accuracy": float((scores.argmax(1) == self.right).float().mean()), "probability": float(right.mean())}


def _told_apart(found: Sequence[tuple[list[int], list[int]]]) -> list[tuple[list[int], list[int]]]:
    """Return what was found without the end that all letters share; raises InvalidInput where that is all of them."""
    if len({tuple(after) for _, after in found}) < len(found):
        raise InvalidInput(
            "This backbone's tokenizer reads some of the letters A to D as the same token, so no answer can be told. "
            "Take another backbone, or leave --questions out.",
            code="unsupported_backbone",
            param="questions",
        )
    same, shortest = 0, min(len(after) for _, after in found)
    while same < shortest - 1 and len({after[-same - 1] for _, after in found}) == 1:
        same += 1
    return [(before, after[: len(after) - same]) for before, after in found]
