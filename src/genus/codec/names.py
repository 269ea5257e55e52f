"""Names of months and weekdays in several languages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

__all__ = ["LANGUAGES", "MONTHS", "WEEKDAYS", "month_numbers", "names", "to_english"]

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# By the code of the language: months, their short names, weekdays, their short names.
_NAMES = {
    "de": ("Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
           "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
           "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag", "Mo Di Mi Do Fr Sa So"),
    "fr": ("Janvier Février Mars Avril Mai Juin Juillet Août Septembre Octobre Novembre Décembre",
           "Janv. Févr. Mars Avr. Mai Juin Juil. Août Sept. Oct. Nov. Déc.",
           "Lundi Mardi Mercredi Jeudi Vendredi Samedi Dimanche", "Lun. Mar. Mer. Jeu. Ven. Sam. Dim."),
    "es": ("Enero Febrero Marzo Abril Mayo Junio Julio Agosto Septiembre Octubre Noviembre Diciembre",
           "Ene Feb Mar Abr May Jun Jul Ago Sep Oct Nov Dic",
           "Lunes Martes Miércoles Jueves Viernes Sábado Domingo", "Lun Mar Mié Jue Vie Sáb Dom"),
    "it": ("Gennaio Febbraio Marzo Aprile Maggio Giugno Luglio Agosto Settembre Ottobre Novembre Dicembre",
           "Gen Feb Mar Apr Mag Giu Lug Ago Set Ott Nov Dic",
           "Lunedì Martedì Mercoledì Giovedì Venerdì Sabato Domenica", "Lun Mar Mer Gio Ven Sab Dom"),
    "pt": ("Janeiro Fevereiro Março Abril Maio Junho Julho Agosto Setembro Outubro Novembro Dezembro",
           "Jan Fev Mar Abr Mai Jun Jul Ago Set Out Nov Dez",
           "Segunda-feira Terça-feira Quarta-feira Quinta-feira Sexta-feira Sábado Domingo", "Seg Ter Qua Qui Sex Sáb Dom"),
    "nl": ("Januari Februari Maart April Mei Juni Juli Augustus September Oktober November December",
           "Jan Feb Mrt Apr Mei Jun Jul Aug Sep Okt Nov Dec",
           "Maandag Dinsdag Woensdag Donderdag Vrijdag Zaterdag Zondag", "Ma Di Wo Do Vr Za Zo"),
}  # fmt: skip
_ENGLISH = (MONTHS, tuple(name[:3] for name in MONTHS), WEEKDAYS, tuple(name[:3] for name in WEEKDAYS))
_TABLES = {"en": _ENGLISH} | {code: tuple(tuple(text.split()) for text in texts) for code, texts in _NAMES.items()}
LANGUAGES = tuple(_TABLES)
_WORD = re.compile(r"[^\W\d_]+(?:-feira)?\.?")


def names(letter: str, language: str = "") -> tuple[str, ...]:
    """Return the names that a letter of a template writes, B, b, A or a, in a language: English by default.

    >>> names("b", "it")[:2]
    ('Gen', 'Feb')
    """
    return _TABLES[language or "en"]["BbAa".index(letter)]


@cache
def month_numbers() -> dict[str, int]:
    """Return the number of the month that each name means, in whatever language, by the name in small letters."""
    return {name.lower(): i + 1 for table in _TABLES.values() for kind in table[:2] for i, name in enumerate(kind)}


def to_english(sample: Sequence[str]) -> tuple[str, list[str]]:
    """Return the language of the months in a sample of dates, and the sample with English names in their place.

    English itself is "". The language is that in which most texts name a month.

    >>> to_english(["3. März 2020", "14. Mai 2020"])
    ('de', ['3. March 2020', '14. May 2020'])
    """
    words = [{word.lower() for word in _WORD.findall(text)} for text in sample if re.search(r"\d", text)]
    known = {code: [{name.lower() for name in kind} for kind in table] for code, table in _TABLES.items()}
    hits = {code: sum(any(found & kind for kind in kinds) for found in words) for code, kinds in known.items()}
    language = max(hits, key=lambda code: hits[code])
    if language == "en" or not hits[language]:
        return "", list(sample)
    full, short = known[language][:2]
    shortened = any(found & (short - full) for found in words)
    english = {
        name.lower(): other
        for kind in ((0, 1, 2, 3) if shortened else (1, 0, 3, 2))  # the last one counts of a name that is in both
        for name, other in zip(_TABLES[language][kind], _ENGLISH[kind], strict=True)
    }
    return language, [_WORD.sub(lambda found: _english(english, found[0]), text) for text in sample]


def _english(english: Mapping[str, str], word: str) -> str:
    """Return the English name for a month or a weekday, with a point that is no part of the name; another word as it is."""
    bare = word.rstrip(".")
    return english.get(word.lower()) or (english[bare.lower()] + word[len(bare) :] if bare.lower() in english else word)
