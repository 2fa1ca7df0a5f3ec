"""Plain text that is something else is refused by its name, or named; prose is neither."""

from __future__ import annotations

import pytest

from core.errors import UnsupportedMedia
from core.references.files import formats, texts
from core.settings import Settings

SURE = {
    "YAML of rows": ("- prompt: a\n  completion: b\n- prompt: c\n  completion: d\n", "YAML"),
    "YAML under a key": ("messages:\n  - role: user\n    content: a\n", "YAML"),
    "YAML with its mark": ("---\nname: a\nother: b\n", "YAML"),
    "a web page": ("<!DOCTYPE html>\n<html><body>a</body></html>", "a web page"),
    "a piece of a page": ("<p>One.</p>\n\n<p>Two.</p>", "a web page"),
    "a drawing": ('<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
    "XML": ('<?xml version="1.0"?>\n<rows><row>a</row></rows>', "XML"),
    "XML without its mark": ("<rows><row><q>a</q><a>b</a></row><row>c</row></rows>\n", "XML"),
    "a table of Markdown": ("| prompt | completion |\n|---|---|\n| a | b |\n", "a table of Markdown"),
    "rich text": ("{\\rtf1\\ansi Ahoy}", "RTF"),
}


@pytest.mark.parametrize("what", SURE)
def test_what_it_surely_is_is_named_with_how_to_save_it(what: str) -> None:
    text, name = SURE[what]
    if (found := formats.of(text.encode())) is None:
        with pytest.raises(UnsupportedMedia) as refusal:
            texts.read(text.encode(), "a.txt", Settings())
        assert refusal.value.message.startswith(f"a.txt looks like {name}")
    else:
        assert found.name.startswith(name)


LOOKS = {
    "a template": ("<|im_start|>user\na<|im_end|>\n", "a template"),
    "another template": ("<s>[INST] a [/INST] b </s>", "a template"),
    "speakers": ("User: a\nAssistant: b\nUser: c\nAssistant: d\n", "speakers' names"),
    "LaTeX": ("\\documentclass{article}\n\\begin{document}a\\end{document}", "LaTeX"),
    "settings": ("[main]\ncolour = red\n", "settings"),
    "a head of Markdown": ("---\ntitle: a\n---\n\nOnce there was.", "Markdown with a head"),
    "a database": ("INSERT INTO a VALUES (1);", "a dump of a database"),
    "mails": ("From ann@example.com Mon\nSubject: a\n\nHello", "e-mails"),
    "a messenger": ("1/2/24, 10:00 - Ann: a\n1/2/24, 10:01 - Bob: b\n1/2/24, 10:02 - Ann: c\n", "a messenger"),
    "a log": ("2024-01-02 10:00 a\n2024-01-02 10:01 b\n2024-01-02 10:01 c\n", "a log"),
    "keys": ("name: a\nage: 1\nname: b\nage: 2\n", "YAML"),
    "tags": ("<act><line>a</line>\n<line>b</line></act> and <act>c</act>, so", "XML"),
}


@pytest.mark.parametrize("what", LOOKS)
def test_what_only_looks_so_is_learned_with_a_word(what: str) -> None:
    text, name = LOOKS[what]
    read = texts.read(text.encode(), "a.txt", Settings())
    assert read.items
    [notice] = read.notices
    assert notice.code == "looks_like"
    assert name in notice.detail


PROSE = [
    "Once there was a lighthouse.\n\nIt stood - so they say - by the sea: alone.",
    "<3 is a heart.\n\nNo tag at all.",
    "- milk\n- bread\n- a lamp",
    "# A heading\n\nA line.\n\n## Another\n\n* one\n* two",
    "Dear Ann,\n\nthe sea was wide.\n\nYours: Bob",
    "[Verse]\nLa la la",
    "Ann: Hello.\nBob: Hello.",
    "ORCs live here. ID3 is a tag; PAR1 too.",
    "1. One\n2. Two\n3. Three",
    "---\n\nA line below a rule.",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_learned_without_a_word(text: str) -> None:
    read = texts.read(text.encode(), "a.txt", Settings())
    assert read.items
    assert read.notices == []
