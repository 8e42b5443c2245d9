"""Ids of specimens: pseudonyms pass, whatever names a person does not, and no refusal repeats it."""

import string
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import ean, luhn
from stdnum.gb import nhs
from stdnum.iso7064 import mod_11_10

from bloodyspy import specimen
from bloodyspy.errors import SpecimenRefused

PSEUDONYMS = [
    *("S-2024-00017", "1", "A1", "42", "PBC-2024-000017", "S-2024.17_B", "X-00017-2024", "BM-2024-05-123", "S-240517"),
    *("LAB-12345678", "S-2024-000171", "H7", "2024-17", "S.17"),
]

# Each number is published as an example: by the authority that gives it, or in Wikipedia's article about it.
PERSONS = {
    "name": ["Anna Müller", "DOE", "Jane-7", "O'Neill 3", "müller-12", "Łukasz1", "LEE-KIM-1", "王小明", "J. Doe 3"],
    "date": [
        *(
            "12.03.1970",
            "1970-03-12",
            "S-1970-03-12",
            "19700312",
            "S-12031970",
            "12/3/70",
            "12-MAR-1970",
            "3. Mai 1970",
        ),
        *("120370", "geb. 12.03.1970", "\uff11\uff12.\uff10\uff13.1970", "12\u201103\u20111970", "29.02.00"),
    ],
    "e-mail": ["anna@example.org", "S-1 a@b"],
    "telephone": [
        "+41 44 123 45 67",
        "+14155552671",
        "044 123 45 67",
        "(415) 555-2671",
        "Tel. 5551234",
        "0041441234567",
    ],
    "AHV": ["756.9217.0769.85", "7569217076985", "S-756.1234.5678.97", "756 9217 0769 85"],
    "Steuer-ID": ["36 574 261 809", "36574261809", "86 095 742 719"],
    "NIR": ["2 95 10 99 126 111 93", "255081416802538", "1 85 05 78 006 084 36", "2550814168025"],
    "codice fiscale": ["RCCMNL83S18D969H", "MRTMTT91D08F205J", "S-RSSMRA85T10A562S"],
    "social security": ["536-90-4399", "S-536-90-4399", "219-09-9999", "078 05 1120"],
    "NHS": ["943 476 5919", "9434765919", "401 023 2137"],
    "BSN": ["1112.22.333", "111222333", "S-123456782"],
    "Nordic": [
        "070761-4285",
        "211062-5629",
        "811228-9874",
        "19811228-9874",
        "131052-308T",
        "010594Y9021",
        "0707614285",
    ],
    "Norwegian": ["15108695088", "151086 95088"],
    "Belgian": ["85.07.30-033.28", "85073003328"],
    "PESEL": ["44051401359"],
    "DNI": ["54362315-K", "54362315K"],
    "NIE": ["X-2482300W"],
    "national insurance": ["AB123456C", "AB 12 34 56 C"],
    "Austrian": ["1237010180"],
}


@pytest.mark.parametrize("text", PSEUDONYMS)
def test_pseudonyms_pass(text: str) -> None:
    assert specimen.check(text) == text
    assert specimen.check(f" {text}\n") == text


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in PERSONS.items() for text in texts])
def test_what_names_a_person_is_refused_as_that_and_not_repeated(what: str, text: str) -> None:
    with pytest.raises(SpecimenRefused, match=what) as refused:
        specimen.check(text)
    assert text not in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-",
        "../1",
        "a/b/1",
        "S 1",
        "S\n1",
        "S\x001",
        "1" * 41,
        "x" * 10_000,
        "S-1;",
        "<b>1",
        "é1",
        "-1",
        ".1",
        "s-1x2y3z",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(SpecimenRefused):
        specimen.check(text)


@given(st.text(string.ascii_uppercase, min_size=1, max_size=3), st.integers(1990, 2099), st.integers(0, 99_999))
def test_the_usual_scheme_always_passes(prefix: str, year: int, number: int) -> None:
    text = f"{prefix}-{year}-{number:05d}"
    assert specimen.check(text) == text


@given(st.text())
def test_whatever_passes_has_the_shape_and_passes_again(text: str) -> None:
    try:
        found = specimen.check(text)
    except SpecimenRefused:
        return
    assert specimen.check(found) == found
    assert set(found) <= set(string.ascii_uppercase + string.digits + "._-")
    assert len(found) <= specimen.LONGEST


SEPARATORS = st.sampled_from(["", " ", ".", "-"])
PREFIXES = st.sampled_from(["", "S-", "ID ", "BM."])


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from(["", "-", ".", "/", "_", " "]), PREFIXES)
def test_every_full_date_is_refused(born: date, separator: str, prefix: str) -> None:
    for order in (("%Y", "%m", "%d"), ("%d", "%m", "%Y"), ("%m", "%d", "%Y")):
        with pytest.raises(SpecimenRefused):
            specimen.check(prefix + born.strftime(separator.join(order)))


def _grouped(digits: str, sizes: tuple[int, ...], separator: str) -> str:
    groups, rest = [], digits
    for size in sizes:
        groups.append(rest[:size])
        rest = rest[size:]
    return separator.join(groups)


@given(st.text(string.digits, min_size=9, max_size=9), SEPARATORS, PREFIXES)
def test_every_ahv_number_is_refused(digits: str, separator: str, prefix: str) -> None:
    number = "756" + digits
    with pytest.raises(SpecimenRefused, match="AHV"):
        specimen.check(prefix + _grouped(number + ean.calc_check_digit(number), (3, 4, 4, 2), separator))


@given(st.text(string.digits, min_size=9, max_size=9), st.sampled_from(["", " ", "-"]), PREFIXES)
def test_every_nhs_number_is_refused(digits: str, separator: str, prefix: str) -> None:
    for number in (digits + check for check in string.digits):
        if nhs.is_valid(number):
            with pytest.raises(SpecimenRefused):
                specimen.check(prefix + _grouped(number, (3, 3, 4), separator))


@given(st.dates(date(1900, 1, 1), date(2025, 12, 31)), st.integers(0, 999), st.sampled_from(["-", "+", ""]), PREFIXES)
def test_every_swedish_and_danish_number_is_refused(born: date, serial: int, separator: str, prefix: str) -> None:
    nine = f"{born:%y%m%d}{serial:03d}"
    with pytest.raises(SpecimenRefused):
        specimen.check(f"{prefix}{nine[:6]}{separator}{nine[6:]}{luhn.calc_check_digit(nine)}")
    with pytest.raises(SpecimenRefused):
        specimen.check(f"{prefix}{born:%d%m%y}{separator}{serial:04d}")


@given(st.text(string.digits, min_size=10, max_size=10), PREFIXES)
def test_every_steuer_id_is_refused(digits: str, prefix: str) -> None:
    with pytest.raises(SpecimenRefused):
        specimen.check(prefix + digits + mod_11_10.calc_check_digit(digits))
