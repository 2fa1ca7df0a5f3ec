"""Tables of texts are read where their columns can be learned; of others it is said what is expected."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput, TooLarge
from core.references.files import texts
from core.references.files.texts import Lines
from core.references.items import TextItem
from core.settings import Settings

PAIRS = [TextItem(prompt='Where, "here"?', completion="West;\nnot east"), TextItem(prompt="Rain?", completion="No|\t.")]


def read(text: str, name: str = "a.csv", limits: Settings | None = None) -> Lines:
    return texts.read(text.encode(), name, limits or Settings())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("head", ["prompt{}completion", '"Prompt"{}"Completion"', "\ufeffPROMPT{} completion "])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_table_with_questions_and_answers_is_read(delimiter: str, head: str, name: str) -> None:
    rows = [f'"{item.prompt}"'.replace('"here"', '""here""') + f'{delimiter}"{item.completion}"' for item in PAIRS]
    found = read("\n\n".join([head.format(delimiter), *rows]) + "\n", name)
    assert found.items == PAIRS
    assert [notice.code for notice in found.notices] == ["read_as"]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("question,answer\na,b\n", [TextItem(prompt="a", completion="b")]),
        (
            ",instruction,input,output\n0,a,,b\n1,c,d,e\n",
            [TextItem(prompt="a", completion="b"), TextItem(prompt="c\nd", completion="e")],
        ),
        ('text\nSea.\n"Land,\nhere."\n', [TextItem(text="Sea."), TextItem(text="Land,\nhere.")]),
        ("id,text,weight\n1,Sea.,1\n2,Sun.,0\n", [TextItem(text="Sea.")]),
        ("sep=;\nprompt;completion\na,b;c\n", [TextItem(prompt="a,b", completion="c")]),
        (
            'messages\n"[{""role"": ""user"", ""content"": ""a""}, {""role"": ""assistant"", ""content"": ""b""}]"\n',
            [TextItem(messages=({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))],
        ),
    ],
)
def test_columns_mean_what_keys_mean(text: str, items: list[TextItem]) -> None:
    assert read(text).items == items


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\nc,d\n", 'its first line names "a", "b"; name its columns prompt and completion'),
        ('"x","y"\n"c","d"\n"e","f"\n', 'names "x", "y"'),
        ("prompt,completion\na,b\nc,d,e\n", "Line 3 of a.csv .* it has 3 cells and the head 2"),
        ("prompt,completion\na,b\nc,\n", "Line 3 of a.csv can't be used: completion is empty"),
        ("prompt,completion\na,b\n,d\n", "Line 3 of a.csv can't be used: "),
        ('prompt,completion\na,"b" c\n', "Line 2 of a.csv .* not a row of a table"),
        ("prompt,completion,mood\na,b,c\nd,e,f\n", '^a.csv has the column "mood", which is not known here'),
        ("prompt,completion,weight\na,b,half\n", "weight other than 0"),
        ("messages\n[oops\n", "its chat is not JSON .*; write the rows as JSONL"),
        ("messages\n\"[{'role': 'user'}]\"\n", "with single quotes; write the rows as JSONL"),
        ('prompt\tcompletion\n"a\tb\n', "a quote is not closed"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(text)


@pytest.mark.parametrize("text", ["Text, and what to do with it.\nMore.", "Sea, sun\nWind, rain\n", "prompt\n\ntext\n"])
def test_prose_with_commas_is_prose(text: str) -> None:
    assert all(item.text for item in read(text, "a.txt").items)
    assert read(text, "a.txt").notices == []


def test_a_table_of_too_many_rows_is_too_large() -> None:
    with pytest.raises(TooLarge, match="more than 5 lines"):
        read("prompt,completion\n" + "".join(f"{n},b\n" for n in range(9)), limits=Settings(max_items=5))
