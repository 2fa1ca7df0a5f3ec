"""Guess the language of a text by its script and its commonest words: enough to notice a mix, and silent in doubt."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

MAX_READ_CHARACTERS = 500  # of a text are looked at
MIN_LETTERS = 8
MIN_COMMON_WORDS = 3  # common words of one language, and twice as many as of any other
SCRIPTS = {
    "CYRILLIC": "Cyrillic script",
    "GREEK": "Greek",
    "ARABIC": "Arabic script",
    "HEBREW": "Hebrew",
    "THAI": "Thai",
    "DEVANAGARI": "Devanagari script",
    "HANGUL": "Korean",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "CJK": "Chinese script",
}
# words that are common in one of these languages and rare or unknown in the others
_COMMON = {
    "English": "the and of to is that it with for you this are was have not from your be",
    "German": "der und nicht ist das mit ein eine auf für sich den dem ich wir auch oder wird bei",
    "French": "le les et des est une dans pour que qui pas sur avec nous vous il elle du au",
    "Spanish": "el los las y que del por una con para es está pero como más su lo muy",
    "Italian": "il che di gli una per non con sono della è anche più ma nel alla questo",
    "Portuguese": "os as que não uma para com em do da é mais como você mas seu isso",
    "Dutch": "de het een en van niet dat op te zijn met voor ook maar wordt bij naar je",
    "Polish": "nie się jest na że do jak ale po co tak przez oraz dla tego są był",
    # too alike to be told apart by a few words
    "Danish or Norwegian": "og er ikke jeg til af fra også når hun være blev ble etter meg deg seg hvad hva noget noe "
    "skal mange hvis hvor hvordan hans bliver blir nogle noen ind inn",
    "Swedish": "och att är inte jag för till ett från när hon också mycket där vad hur ska många något utan mellan sin "
    "hade alla blir oss nu",
    "Romanian": "și şi în este nu din pentru cu sunt mai fost sau după prin fără între acest această lui să pe că",
    "Catalan": "el els és amb que però molt aquest aquesta seva seu dels més són hi ha també sense quan va fer té una",
    "Czech": "je že není který která jsem jsou jeho také když podle nebo ještě byl bylo už při jsme jako pro ale až",
    "Indonesian": "yang dan ini itu dengan untuk tidak dari dalam akan pada juga ke karena ada mereka saya kami adalah "
    "bisa oleh atau sudah",
}
COMMON: Mapping[str, frozenset[str]] = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")


def guess(text: str) -> str | None:
    """Name the language or the script of a text; None where it is too short or too mixed to tell."""
    words = _WORD.findall(text[:MAX_READ_CHARACTERS].lower())
    letters = "".join(words)
    if len(letters) < MIN_LETTERS:
        return None
    scripts = Counter(_script(letter) for letter in letters)
    if scripts["Japanese"] > len(letters) / 10:
        return "Japanese"
    script, count = scripts.most_common(1)[0]
    if count < 0.6 * len(letters):
        return None
    return script or _latin(words)


def _script(letter: str) -> str:
    return "" if letter < "\u0370" else SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0], "")


def _latin(words: list[str]) -> str | None:
    counts = Counter({language: sum(word in common for word in words) for language, common in COMMON.items()})
    (first, most), (_, second) = counts.most_common(2)
    return first if most >= MIN_COMMON_WORDS and most >= 2 * second else None
