"""Plain text that is something else is refused by its name, or named; prose is neither."""

from __future__ import annotations

import pytest

from core.errors import UnsupportedMedia
from core.references.files import formats, texts
from core.settings import Settings

SURE = {
    "YAML of rows": ("- prompt: a\n  completion: b\n- prompt: c\n  completion: d\n", "YAML"),
    "YAML under a key": ("messages:\n  - role: user\n    content: a\n", "YAML"),
    "YAML under another key": ("train:\n  - prompt: a\n    completion: b\n", "YAML"),
    "YAML whose rows have numbers": ("- id: 1\n  prompt: a\n  completion: b\n", "YAML"),
    "YAML in blocks": ("prompt: |\n  a\ncompletion: |\n  b\n", "YAML"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
    "rich text behind a byte order mark": ("\ufeff{\\rtf1\\ansi Ahoy}", "RTF"),
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
    "a messenger of a phone": ("\u200e[1.2.24, 10:00:00] Ann: a\n" * 3, "a messenger"),
    "a messenger with long messages": ("[1/2/24 10:00] ann\na\nb\n\n" * 3, "a messenger"),
    "a chat of old": ("<ann> a\n<bob> b\n<ann> c\n", "a messenger"),
    "a log of a system": ("Jan  1 10:00:00 host app: a\n" * 3, "a log"),
    "speakers in bold": ("**User:** a\n\n**Assistant:** b\n\n**User:** c\n\n**Assistant:** d", "speakers' names"),
    "speakers as headings": ("## User\na\n\n## Assistant\nb\n\n## User\nc\n\n## Assistant\nd", "speakers' names"),
    "speakers of a page": ("You said:\na\n\nChatGPT said:\nb\n\nYou said:\nc\n\nChatGPT said:\nd", "speakers' names"),
    "one line a chat": ("USER: a ASSISTANT: b</s>\nUSER: c ASSISTANT: d</s>", "a template"),
    "rows between fences": ('Sure:\n\n```json\n[\n {"text": "a"}\n]\n```\n', "rows of JSON"),
    "rows far below": ("a\nb\nc\nd\ne\n" + '{"text": "a"}\n' * 2, "rows of JSON"),
    "rows with numbers": ('1: {"text": "a"}\n2: {"text": "b"}\n', "rows of JSON"),
    "cells": ("text,label\nso good,1\nso bad,0\n", "a table"),
    "cells behind tabs": ("name\tage\nAnn\t1\nBob\t2\n", "a table"),
    "headers of a mail": ("From: ann@example.com\nTo: bob@example.com\n\nHello", "e-mails"),
    "a log": ("2024-01-02 10:00 a\n2024-01-02 10:01 b\n2024-01-02 10:01 c\n", "a log"),
    "keys": ("name: a\nage: 1\nname: b\nage: 2\n", "YAML"),
    "tags": ("<act><line>a</line>\n<line>b</line></act> and <act>c</act>, so", "XML"),
}


@pytest.mark.parametrize("what", LOOKS)
def test_what_only_looks_so_is_learned_with_a_word(what: str) -> None:
    text, name = LOOKS[what]
    read = texts.read(text.encode(), "a.txt", Settings())
    assert read.items
    [notice] = [notice for notice in read.notices if notice.code == "looks_like"]  # beside cleaned marks, and copies
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
    '"Hi," he said.\n"No," she said.\n"Well," he said.\n',
    "1,234\n5,678\n9,012\n",
    "x = 1;\ny = 2;\nz = 3;\n",
    "### User guide\n\nMix well.",
    "### Response times\n\nMix well.",
    "answer:\n- yes\n- no\n\nAnd so on.",
    "role: |\n\npoem",
    "WEBVTT is a format.\n\nSo it is.",
    "{name}, welcome!",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_learned_without_a_word(text: str) -> None:
    read = texts.read(text.encode(), "a.txt", Settings())
    assert read.items
    assert read.notices == []
