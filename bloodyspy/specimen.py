"""Ids of specimens: pseudonyms only. What could tell who the patient is gets no further than this module.

An id such as ``S-2024-00017`` has 1 to 40 capitals, digits, dashes, dots and underscores, with a digit, at most eight
digits in a row, at most three letters in a row and five in all. That leaves no room for most names and numbers of
persons; what does fit is looked for: full dates, telephone numbers, and the national numbers of many countries as
they are printed, with the check digits of python-stdnum where a number has any. No sentence repeats what was given.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import date

from stdnum.at import vnr
from stdnum.be import nn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.us import ssn

from bloodyspy.errors import SpecimenRefused

LONGEST = 40
LETTERS_IN_A_ROW, LETTERS, DIGITS_IN_A_ROW = 3, 5, 8

_SHAPE = re.compile(rf"(?=.*[0-9])[A-Z0-9][A-Z0-9._-]{{0,{LONGEST - 1}}}")
SCHEMA = {"format": "pseudonym", "pattern": f"^({_SHAPE.pattern})?$"}
"""Of such an id or none, in an OpenAPI document; a pattern alone cannot say what is a name."""

_EMAIL = re.compile(r"\S@\S")
_PHONE = re.compile(
    r"\+ ?\(?\d(?:[ ()/.-]{0,2}\d){6,14}"  # international
    r"|^(?:(?:TEL|FON|PHONE|MOB|CELL|HANDY)[A-Z]*[ .:-]*)?\(?0\d(?:[ ()/.-]{0,2}\d){7,13}$"  # with a trunk prefix
    r"|^(?:TEL|FON|PHONE|MOB|CELL|HANDY)[A-Z]*[ .:-]*\d(?:[ ()/.-]{0,2}\d){5,14}$"
    r"|(?<!\d)\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)"  # North America
)
_MONTHS = "JAN|FEB|MAR|APR|MAY|MAI|JUN|JUL|AUG|SEP|OCT|OKT|NOV|DEC|DEZ"
_WRITTEN_DATE = re.compile(rf"\d{{1,2}}[ ._-]*(?:{_MONTHS})[A-Z]*[ ._-]*\d{{2,4}}(?!\d)")
_DATE = re.compile(r"(?<!\d)(\d{1,4})([-._/ ])(\d{1,2})\2(\d{1,4})(?!\d)")
_BARE_DATE = re.compile(r"(?<!\d)\d{8}(?!\d)")

_S = r"[ .-]?"
# How a number is printed, and what tells that it is one; None where nothing can, or where the pattern says enough.
_NATIONAL: tuple[tuple[str, str, Callable[[str], bool] | None], ...] = (
    ("a Swiss AHV number", rf"756{_S}\d{{4}}{_S}\d{{4}}{_S}\d{{2}}", None),
    ("an Italian codice fiscale", r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", None),
    ("an Italian codice fiscale", r"[A-Z]{6}[0-9L-V]{2}[A-Z][0-9L-V]{2}[A-Z][0-9L-V]{3}[A-Z]", codicefiscale.is_valid),
    (
        "a French NIR",
        rf"[1-478]{_S}\d{{2}}{_S}(?:0[1-9]|1[0-2]|[2-4]\d|[5-9]\d){_S}(?:\d{{2}}|2[AB]){_S}\d{{3}}{_S}\d{{3}}(?:{_S}\d{{2}})?",
        None,
    ),
    ("a Belgian national number", rf"\d{{2}}{_S}\d{{2}}{_S}\d{{2}}{_S}\d{{3}}{_S}\d{{2}}", nn.is_valid),
    ("a Norwegian personal number", rf"\d{{6}}{_S}\d{{5}}", fodselsnummer.is_valid),
    ("a German tax number (Steuer-ID)", rf"\d{{2}}{_S}\d{{3}}{_S}\d{{3}}{_S}\d{{3}}", idnr.is_valid),
    ("a Polish PESEL", r"\d{11}", pesel.is_valid),
    # Without check digits: Denmark gave them up in 2007, and a mistyped Swedish or Finnish number names a person, too.
    (
        "a Nordic personal number",
        r"(?:\d{2})?(\d{6})(?:[-+]?\d{4}|[-+A-FU-Y]\d{3}[0-9A-Y])",
        lambda found: _is_short_date(re.sub(r"^(?:18|19|20)(?=\d{6}\D?\d{4}$)", "", found)[:6]),
    ),
    ("a British NHS number", r"\d{3}[ -]?\d{3}[ -]?\d{4}", nhs.is_valid),
    ("a British national insurance number", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", None),
    ("an Austrian insurance number", r"\d{4} ?\d{6}", vnr.is_valid),
    ("a Dutch BSN", r"\d{4}\.\d{2}\.\d{3}|\d{9}", bsn.is_valid),
    ("a US social security number", r"\d{3}[ -]\d{2}[ -]\d{4}", None),
    ("a US social security number", r"\d{9}", ssn.is_valid),
    ("a Spanish DNI", r"\d{8}[ -]?[A-Z]", dni.is_valid),
    ("a Spanish NIE", r"[XYZ][ -]?\d{7}[ -]?[A-Z]", nie.is_valid),
)
_COMPILED = [(what, re.compile(rf"(?<![A-Z0-9])(?:{p})(?![A-Z0-9])"), valid) for what, p, valid in _NATIONAL]


def check(text: str) -> str:
    """The id, without blanks around it.

    Raises:
        SpecimenRefused: it is no pseudonymous id; the sentence says what it looks like, and does not repeat it.
    """
    if len(text) > 4 * LONGEST:
        raise SpecimenRefused(f"is longer than {LONGEST} characters")
    given = unicodedata.normalize("NFKC", text).strip()  # full-width digits are digits, too
    capitals = re.sub(r"[\u2010-\u2015\u2212]", "-", given).upper()
    if _EMAIL.search(capitals):
        raise SpecimenRefused("looks like an e-mail address")
    for what, printed, valid in _COMPILED:
        for found in printed.finditer(capitals):
            if valid is None or valid(found[0]):
                raise SpecimenRefused(f"looks like {what}")
    if _has_date(capitals):
        raise SpecimenRefused("has a full date in it, which may be a date of birth; a year alone may stay")
    if _PHONE.search(capitals):
        raise SpecimenRefused("looks like a telephone number")
    runs = re.findall(r"[^\W\d_]+", given)
    long = any(len(run) > LETTERS_IN_A_ROW or (len(run) > 1 and not run.isupper()) for run in runs)
    if long or sum(map(len, runs)) > LETTERS or not re.search(r"\d", given):
        raise SpecimenRefused(
            f"may be a person's name: small letters, more than {LETTERS_IN_A_ROW} capitals in a row, more than "
            f"{LETTERS} in all, or no digit"
        )
    if re.search(rf"\d{{{DIGITS_IN_A_ROW + 1}}}", given):
        raise SpecimenRefused(f"has more than {DIGITS_IN_A_ROW} digits in a row, as the numbers of persons have")
    if not _SHAPE.fullmatch(given):
        raise SpecimenRefused(
            f"is not 1 to {LONGEST} capitals, digits, dashes, dots and underscores, with a letter or a digit in front"
        )
    return given


def _has_date(text: str) -> bool:
    if _WRITTEN_DATE.search(text):
        return True
    for found in _DATE.finditer(text):
        first, second, third = int(found[1]), int(found[3]), int(found[4])
        if len(found[1]) == 4 and len(found[4]) <= 2:
            orders = [(first, second, third)]
        elif len(found[1]) <= 2 and len(found[4]) in (2, 4):
            orders = [(third, second, first), (third, first, second), (first, second, third)]
        else:
            continue
        if any(_is_date(*order) for order in orders):
            return True
    for found in _BARE_DATE.finditer(text):
        d = found[0]
        spelled = [(d[:4], d[4:6], d[6:]), (d[4:], d[2:4], d[:2]), (d[4:], d[:2], d[2:4])]
        if any(_is_date(int(year), int(month), int(day)) for year, month, day in spelled):
            return True
    return bool(re.fullmatch(r"\d{6}", text)) and _is_short_date(text)


def _is_short_date(d: str) -> bool:
    spelled = [(d[:2], d[2:4], d[4:]), (d[4:], d[2:4], d[:2]), (d[4:], d[:2], d[2:4])]
    return any(_is_date(int(year), int(month), int(day)) for year, month, day in spelled)


def _is_date(year: int, month: int, day: int) -> bool:
    """Whether somebody alive may have been born then; of two digits of a year the century is left open."""
    if year < 100:
        year += 2000  # a leap year wherever one of the two is
    elif not 1900 <= year <= 2099:
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
