"""Text that names persons: e-mail addresses, phone numbers, names, addresses of streets and of machines.

A model of such a column can only repeat the values that it was shown. So columns of them are left out where every value
differs, and where they are kept a note says what samples repeat.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence

from genus.codec.digits import words_of

__all__ = ["PHONE_WORDS", "looks_personal"]

MANY = 20  # levels: so many different names are names of persons sooner than of groups
SHARE = 0.9  # of values that look alike
LOOKED_AT = 1000  # different values
LONGEST = 200  # characters

EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;.]{2,}")
URL = re.compile(r"(https?://|www\.)\S+\.\S+", re.I)
PHONE = re.compile(r"(\+|00)[1-9][\d ()./-]{6,20}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}|\(0?\d{2,5}\)[ /-]?\d{3,}[\d -]*")
DIGITS = re.compile(r"[+(]?\d[\d ()./+-]{5,20}\d")  # in a column that is called phone
NAMES = re.compile(r"[^\W\d_](?:[^\W\d_]|[ ,.'’()\"-])+")
FULL_NAME = re.compile(
    r"(?:[A-ZÀ-ÞĀ-Ž][^\W\d_]*[.,]?[ '’-](?:(?:de|van|von|der|den|da|di|du|la|le|del|dos|bin|ibn|al|el|y)[ -]){0,2}){1,3}"
    r"[A-ZÀ-ÞĀ-Ž][^\W\d_]*\.?"
)
STREET = re.compile(
    r"\d+[a-z]?,? (\S+ ){1,4}(st|street|ave|avenue|rd|road|blvd|boulevard|lane|ln|drive|dr|way|court|ct|place|square)\b.*"
    r"|.*(stra(ß|ss)e|str\.|weg|gasse|platz|allee) ?\d+.*|\d+[a-z]?,? (rue|avenue|boulevard|place|calle|via) .*",
    re.I,
)
PLACE = re.compile(r".*[^\W\d_]{2}.*\d.*|.*\d.*[^\W\d_]{2}.*")  # in a column that is called address

PHONE_WORDS = {"phone", "telephone", "tel", "mobile", "cell", "cellphone", "fax", "phones", "telefon", "handy", "msisdn"}
ADDRESS_WORDS = {"address", "addr", "street", "adresse", "strasse", "residence"}
NAME_WORDS = {"name", "names", "surname", "forename", "firstname", "lastname", "fullname", "username", "nachname", "vorname"}
PERSON_WORDS = {"first", "last", "full", "middle", "family", "given", "maiden", "user", "customer", "client", "patient",
                "employee", "person", "contact", "owner", "passenger", "author", "student", "teacher", "doctor", "member",
                "nurse", "manager", "guest", "tenant", "applicant", "participant", "subject", "holder", "mother", "father",
                "spouse", "player", "driver", "recipient", "sender", "the", "of", "s"}  # fmt: skip
OTHER_WORDS = {"city", "town", "country", "state", "county", "region", "place", "location", "product", "item", "title",
               "company", "firm", "brand", "model", "department", "team", "job", "occupation", "profession", "species",
               "genre", "category", "type", "class", "kind", "airport", "station", "school", "college", "university", "hotel",
               "restaurant", "store", "shop", "movie", "film", "song", "album", "book", "status", "description", "district",
               "neighborhood", "neighbourhood", "street", "color", "colour", "cuisine", "dish", "ingredient", "drug",
               "disease", "diagnosis", "education", "industry", "sector", "race", "ethnicity", "language", "religion",
               "nationality", "month", "weekday", "day", "reason", "event"}  # fmt: skip


def looks_personal(name: str, values: Sequence[str]) -> str | None:
    """Return what the values of a column are, in the plural, where they are likely to name persons; else None.

    Args:
        name: of the column, which tells names of persons from those of products, and phone numbers from other digits.
        values: different values; the first thousand are looked at.

    >>> looks_personal("contact", ["anna@example.org", "bert@example.com"])
    'e-mail addresses'
    >>> looks_personal("colour", ["red", "light green"])
    """
    shown = [text.strip()[: LONGEST + 1] for text in values[:LOOKED_AT]]
    if sum(len(text) > LONGEST for text in shown) > (1 - SHARE) * len(shown):
        return None
    words = words_of(name)
    tests: list[tuple[str, Callable[[str], object]]] = [
        ("e-mail addresses", EMAIL.fullmatch),
        ("addresses of web pages", URL.fullmatch),
        ("IP addresses", _is_machine),
        ("phone numbers", DIGITS.fullmatch if words & PHONE_WORDS else PHONE.fullmatch),
        ("addresses", PLACE.fullmatch if words & ADDRESS_WORDS else STREET.fullmatch),
    ]
    named = bool(words & NAME_WORDS) and words <= NAME_WORDS | PERSON_WORDS
    if len(shown) >= MANY and not words & OTHER_WORDS:
        tests.append(("names of persons", NAMES.fullmatch if named else FULL_NAME.fullmatch))
    return next((noun for noun, test in tests if shown and sum(map(bool, map(test, shown))) >= SHARE * len(shown)), None)


def _is_machine(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
