"""Languages are guessed where their words are plain, and a mix of them is told."""

from __future__ import annotations

import pytest

from core.findings import fingerprints, uploads
from core.findings.texts import languages
from core.references.items import TextItem


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The egg is in the water and you have to wait for it.", "English"),
        ("Das Ei ist im Wasser und du musst auf es warten, nicht wahr?", "German"),
        ("Яйцо лежит в воде, и надо подождать.", "Cyrillic script"),
        ("卵は水の中にあります。", "Japanese"),
        ("sks cat", None),
        ("Arr, ye be a landlubber, matey, shiver me timbers!", None),
    ],
)
def test_a_language_is_named_only_where_it_is_plain(text: str, language: str | None) -> None:
    assert languages.guess(text) == language


DANISH = (
    "Der ligger en kat på taget, og den vil ikke komme ned til os.",
    "Jeg har læst de to bøger, som du gav mig, men ikke den sidste.",
    "Hvad skal vi have at spise i dag, når børnene er kommet hjem fra skole?",
    "Toget er en halv time forsinket, og der er ikke plads til alle.",
    "Hun blev ved med at le af ham, for han havde glemt sin hat.",
)
SWEDISH = (
    "Det ligger en katt på taket, och den vill inte komma ner till oss.",
    "Jag har läst de två böckerna som du gav mig, men inte den sista.",
    "Vad ska vi äta i dag när barnen har kommit hem från skolan?",
    "Tåget är en halv timme sent, och det är inte plats för alla.",
    "Hon slutade inte att skratta åt honom, för han hade glömt sin hatt.",
)
OTHERS = {
    "English": "There is a cat on the roof that you have not seen, and it was there for an hour.",
    "German": "Auf dem Dach sitzt eine Katze, die nicht zu uns kommt, und der Hund wartet auf sie.",
    "French": "Il y a un chat sur le toit qui ne vient pas, et les enfants sont dans la maison.",
    "Spanish": "Hay un gato en el tejado que no baja, y los niños están en la casa con su madre.",
    "Italian": "Il gatto è sul tetto e non scende, ma gli altri sono nella casa con una signora.",
    "Portuguese": "O gato está no telhado e não desce, mas os meninos brincam com uma bola em casa.",
    "Dutch": "Er zit een kat op het dak die niet naar beneden komt, maar de hond is bij het huis.",
    "Polish": "Kot siedzi na dachu i nie schodzi, ale dzieci są w domu, bo jest tak zimno.",
    "Romanian": "Pisica este pe acoperiș și nu vine, dar copiii sunt în casă cu mama lui.",
    "Catalan": "El gat és a la teulada amb el seu germà, però no hi ha ningú que el pugui fer baixar.",
    "Czech": "Kočka je na střeše a nechce dolů, ale děti už jsou doma, protože není teplo.",
    "Indonesian": "Kucing itu ada di atas atap dan tidak mau turun, karena anak-anak sudah pulang dari sekolah.",
}


@pytest.mark.parametrize(("said", "language"), [(DANISH, "Danish or Norwegian"), (SWEDISH, "Swedish")])
def test_texts_of_one_northern_language_are_no_mix_of_others(said: tuple[str, ...], language: str) -> None:
    assert {languages.guess(text) for text in said} <= {language, None}
    assert languages.guess(" ".join(said)) == language
    items = [TextItem(text=text) for text in said]
    assert uploads.of_texts(items, [fingerprints.text_print(item) for item in items]) == []


@pytest.mark.parametrize("language", OTHERS)
def test_each_language_is_told_from_its_neighbours(language: str) -> None:
    assert languages.guess(OTHERS[language]) == language


def test_a_few_texts_that_look_like_another_language_are_no_mix() -> None:
    usual = [OTHERS["English"].replace("an hour", f"{number} hours") for number in range(2, 52)]
    others = [OTHERS["German"].replace("Hund", f"Hund {number}") for number in range(3)]
    captions = [(f"{number}.png", text) for number, text in enumerate(usual + others[:2])]
    assert uploads.of_captions(captions) == []
    captions += [("last.png", others[2])]
    assert [finding.code for finding in uploads.of_captions(captions)] == ["mixed_languages"]
