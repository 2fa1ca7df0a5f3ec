"""`albatross compare` as a command, on an adapter of the tiny backbone: page, figures, sentences."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path

import pytest
import torch

from core.backbones.record import describe
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from tests.tiny_backbones import LLAMA_TARGETS
from tests.worker.floor import register, run_module

EVIL = '<script>alert(1)</script> & "quotes"'


@pytest.fixture
def data(tiny_language_folder: Path, tmp_path: Path) -> Path:
    record = describe("tiny", tiny_language_folder, licence="CC0", target_modules=LLAMA_TARGETS)
    return register(record, tmp_path / "data")


@pytest.fixture
def adapter(tiny_language: LanguageBackbone, tmp_path: Path) -> Path:
    made = tiny_language.lora.new(2, 2.0)
    up = {path: torch.full_like(matrix, 0.02) for path, matrix in made.up.items()}
    tiny_language.lora.save(Adapter(2, 2.0, made.down, up), tmp_path / "peft", "tiny")
    return tmp_path / "peft"


def answers(folder: Path) -> Path:
    rows = []
    for number in range(12):
        asked, mark = f"{EVIL} {number}?", "held_out" if number % 2 else "cut" if number == 4 else None
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": f"arr {number}, {EVIL}"}]
        recorded = {"prompt": asked, "sample": 0, "model": "ft:old", "left_out": mark}
        rows.append(json.dumps({"messages": messages, "recorded": recorded}))
    file = folder / "answers.jsonl"
    file.write_text("\n".join(rows))
    return file


class Page(html.parser.HTMLParser):
    """The tags and words of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.slow
def test_every_question_stands_side_by_side_and_figures_are_apart_for_what_was_held_out(
    data: Path, adapter: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_module(
        "worker.commands.compare",
        data,
        str(answers(tmp_path)),
        "--model",
        str(adapter),
        "--backbone",
        "tiny",
        "--out",
        str(out),
        "--max-tokens",
        "8",
    )
    assert done.returncode == 0, done.stderr
    assert "On 6 questions (held out) the loss a token of the old model's answers" in done.stdout
    assert "On 5 questions (trained on)" in done.stdout
    assert "1 line is not compared: 1 cut." in done.stdout
    assert "11/11 questions" in done.stderr
    page = Page((out / "index.html").read_text())
    assert "script" not in page.tags
    words = "".join(page.words)
    assert words.count(f"{EVIL} 3?") == 1
    assert "arr 3, " + EVIL in words
    found = json.loads((out / "comparison.json").read_text())
    assert [summary["questions"] for summary in found["summaries"]] == [6, 5]
    held = [row for row in found["rows"] if row["question"]["group"] == "held out"]
    loss = found["summaries"][0]["figures"]["loss"]
    assert loss["after"] == pytest.approx(sum(r["loss_after"] for r in held) / sum(r["tokens"] for r in held))
    assert loss["before"] != loss["after"]


@pytest.mark.slow
def test_where_all_was_trained_on_it_says_that_it_may_be_memory(data: Path, adapter: Path, tmp_path: Path) -> None:
    trained = tmp_path / "trained.jsonl"
    trained.write_text(answers(tmp_path).read_text().replace('"held_out"', "null"))
    done = run_module(
        "worker.commands.compare",
        data,
        str(answers(tmp_path)),
        "--model",
        str(adapter),
        "--backbone",
        "tiny",
        "--trained",
        str(trained),
        "--out",
        str(tmp_path / "out"),
        "--limit",
        "2",
        "--max-tokens",
        "4",
    )
    assert done.returncode == 0, done.stderr
    assert "No question was held out of training, so the figures may show memory and not skill." in done.stdout
    assert "9 questions more were not asked; --limit 0 asks all." in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none.jsonl", "--model", "{adapter}", "--backbone", "tiny"), "none.jsonl: No such file or directory"),
        (("{answers}", "--model", "{adapter}", "--backbone", "none"), "There is no such backbone."),
        (("{answers}", "--model", "{adapter}", "--backbone", "emoji-ldm"), "emoji-ldm draws pictures"),
        (("{answers}", "--model", "{folder}", "--backbone", "tiny"), "holds no adapter_config.json"),
        (("{adapter}/adapter_config.json", "--model", "{adapter}", "--backbone", "tiny"), "is not a JSON object"),
        (("{answers}", "--model", "{adapter}", "--backbone", "tiny", "--encoder", "{folder}"), "no sentence encoder"),
        (("{answers}", "--model", "{adapter}", "--backbone", "tiny", "--out", "{answers}"), "File exists"),
        (("{answers}", "--model", "{adapter}", "--backbone", "tiny", "--out", "{pages}"), "holds another page"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    data: Path, adapter: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/index.html").write_text("mine")
    places = {"adapter": adapter, "answers": answers(tmp_path), "folder": data, "pages": tmp_path / "pages"}
    done = run_module(
        "worker.commands.compare", data, "--out", str(tmp_path / "o"), *(word.format(**places) for word in words)
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("albatross: ")
    assert told in done.stderr
