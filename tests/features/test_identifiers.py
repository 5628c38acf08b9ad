"""Canonical identifiers: laws of every kind, IBANs, numbers that have lost digits, three banks."""

import random
import string
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraudfed.errors import DataError, ProtocolError
from fraudfed.features import OnlineFeatures, Payment, build_features
from fraudfed.features.identifiers import (
    DEFAULT_KINDS,
    IdentifierKind,
    canonical,
    canonical_column,
    canonical_transactions,
    is_iban,
    read_identifiers,
    wrong_ibans,
)
from fraudfed.features.mappings.mapping import Mapping, parse_mapping
from fraudfed.features.payment import payments_of
from fraudfed.features.shared_risk import risk_entries
from fraudfed.intake.transactions import read_transactions
from fraudfed.reading.file import DataFile
from fraudfed.wire.messages import DataContract, FeatureSpec, RiskSpec
from fraudfed.wire.messages.base import parse

DAY = 86400
#: Published examples: the IBAN registry (SWIFT) and Wikipedia's page.
IBANS = (
    "GB29NWBK60161331926819",
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "MT84MALT011000012345MTLCAST001S",
    "NO9386011117947",
    "SA0380000000608010167519",
)
KINDS = st.sampled_from(list(IdentifierKind))
COMPARED = st.sampled_from([kind for kind in IdentifierKind if kind is not IdentifierKind.TOKEN])
#: White space and what nobody sees, as systems add it around a value.
NOISE = st.text(" \t\n\r\0\u00a0\u2002\u3000\u200b\ufeff", max_size=3)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(string.ascii_letters + string.digits + " .-", max_size=12),
    st.text("aAe\u0301\u0308\u00e9\u00c4\u00df\u0130\u01c5\u0345\u212b ", max_size=8),
    st.sampled_from(IBANS),
    st.from_regex(r"[0-9]{1,17}\.0|IBAN:? ?[A-Z]{2}[0-9]{2} [A-Z0-9]{4}", fullmatch=True),
)


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


@given(KINDS, TEXTS)
def test_the_form_of_a_form_is_the_form(kind: IdentifierKind, text: str) -> None:
    form = canonical(text, kind)
    assert form != ""
    if form is not None:
        assert canonical(form, kind) == form


@given(COMPARED, TEXTS, NOISE, NOISE)
def test_encodings_and_what_stands_around_do_not_count(
    kind: IdentifierKind, text: str, before: str, after: str
) -> None:
    expected = canonical(text, kind)
    for form in ("NFC", "NFD"):
        assert canonical(unicodedata.normalize(form, text), kind) == expected
    # A combining mark at the start composes with what nobody sees no more than with nothing.
    assert canonical(before + text + after, kind) == expected


@given(st.text(max_size=12))
def test_case_counts_for_codes_and_not_for_names(text: str) -> None:
    name = canonical(text, IdentifierKind.NAME)
    assert canonical(text.casefold(), IdentifierKind.NAME) == name
    code = canonical(text, IdentifierKind.CODE)
    assert (code is None) == (name is None)
    if code is not None and not code.endswith(".0"):
        assert code == unicodedata.normalize("NFC", code)
        assert code == code.strip()


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_a_token_is_itself(one: str, other: str) -> None:
    assert canonical(one, IdentifierKind.TOKEN) == one
    assert (canonical(one, IdentifierKind.TOKEN) == canonical(other, IdentifierKind.TOKEN)) == (
        one == other
    )


@given(KINDS, st.lists(st.one_of(st.none(), TEXTS), max_size=12))
def test_a_column_is_its_texts_one_by_one(kind: IdentifierKind, texts: list[str | None]) -> None:
    found = canonical_column(column(*texts), kind)
    expected = [None if text is None else canonical(text, kind) for text in texts]
    assert found.values.to_pylist() == expected
    known = {text for text in texts if text is not None and canonical(text, kind) is not None}
    assert found.merged == len(known) - len({canonical(text, kind) for text in known})
    if found.example is not None:
        one, other = found.example
        assert one != other
        assert canonical(one, kind) == canonical(other, kind)


@pytest.mark.parametrize("iban", IBANS)
def test_published_ibans(iban: str) -> None:
    on_paper = " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))
    for kind in (IdentifierKind.ACCOUNT, IdentifierKind.IBAN):
        for text in (iban, on_paper, on_paper.lower(), f"IBAN {on_paper}", f" {iban}\u00a0"):
            assert canonical(text, kind) == iban
    assert canonical(on_paper, IdentifierKind.CODE) == on_paper
    damaged = iban[:-1] + ("1" if iban[-1] != "1" else "2")
    assert not is_iban(damaged)
    assert canonical(damaged.lower(), IdentifierKind.ACCOUNT) == damaged.lower()
    assert canonical(damaged.lower(), IdentifierKind.IBAN) == damaged


@pytest.mark.parametrize(
    ("kind", "texts", "form"),
    [
        (
            "name",
            ["Caf\u00e9  Blau", "CAFE\u0301 BLAU ", "\ufeffcaf\u00e9\u00a0blau"],
            "caf\u00e9 blau",
        ),
        ("name", ["Stra\u00dfe 7", "STRASSE 7", "strasse\t7"], "strasse 7"),
        ("name", ["\u1f88", "\u1f80", "\u1f00\u03b9"], "\u1f00\u03b9"),
        ("code", ["T-07", " T-07", "T\u00ad-07\0\0"], "T-07"),
        ("code", ["12", "12.0", " 12 "], "12"),
        ("account", ["0007", "0007 ", "\u200b0007"], "0007"),
        ("token", ["aB+/="], "aB+/="),
    ],
)
def test_one_thing_in_three_ways(kind: str, texts: list[str], form: str) -> None:
    assert {canonical(text, IdentifierKind(kind)) for text in texts} == {form}


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("name", ["Caf\u00e9", "Cafe"]),
        ("name", ["A.B. Ltd", "AB Ltd"]),
        ("code", ["T7", "t7", "T07", "T 7"]),
        ("account", ["7", "007", "7.00"]),
        ("token", ["x", "x ", "X", "\u00e9", "e\u0301"]),
    ],
)
def test_different_things_stay_different(kind: str, texts: list[str]) -> None:
    assert len({canonical(text, IdentifierKind(kind)) for text in texts}) == len(texts)


@pytest.mark.parametrize("kind", list(IdentifierKind))
@pytest.mark.parametrize(
    "text", ["1.2E+15", "1,2E+15", "8.4E+15", "1E+15", "4.1e15", "-1.0E+2", "9007199254740993.0"]
)
def test_numbers_that_have_lost_digits(kind: IdentifierKind, text: str) -> None:
    (fault,) = read_identifiers(column("ok", text, None), kind).faults
    assert fault.bad.tolist() == [False, True, False]
    with pytest.raises(DataError, match="expected an identifier with all its digits"):
        Payment("t", 1, "c", 1, merchant_id=text, identifiers={"merchant_id": kind})


@pytest.mark.parametrize("text", ["12E10", "1E5", "E+15", "1.2E", "1.2E+15x", "4111111111111111"])
def test_codes_that_only_look_like_it(text: str) -> None:
    assert read_identifiers(column(text), IdentifierKind.CODE).faults == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([7.0, None, 1e14]), ["7", None, "100000000000000"]),
        (pa.array([1.2e15, 7.0]), None),
        (pa.array([8.5]), None),
        (pa.array([2**63 - 1, 7]), ["9223372036854775807", "7"]),
        (pa.array(["007", "7"]).dictionary_encode(), ["007", "7"]),
    ],
)
def test_columns_of_numbers(values: pa.Array, expected: list[str | None] | None) -> None:
    read = read_identifiers(pa.chunked_array([values]), IdentifierKind.CODE)
    if expected is None:
        assert read.wrong.tolist() == [True] + [False] * (len(values) - 1)
    else:
        assert read.faults == ()
        assert read.column.values.to_pylist() == expected


def rows(**changes: object) -> pd.DataFrame:
    n_rows = 40
    table = {
        "transaction_id": [f" t{i} " for i in range(n_rows)],
        "event_time": [1_700_000_000 + 9_000 * i for i in range(n_rows)],
        "label_time": [1_700_000_000 + 9_000 * i + DAY for i in range(n_rows)],
        "customer_id": [f"c{i % 3}" for i in range(n_rows)],
        "merchant_id": [f"Caf\u00e9 {i % 4}" for i in range(n_rows)],
        "terminal_id": "T1",
        "payee_id": IBANS[0],
        "amount_minor": 100,
        "is_fraud": [int(i % 5 == 0) for i in range(n_rows)],
    }
    return pd.DataFrame({**table, **changes})


def noisy(table: pd.DataFrame) -> pd.DataFrame:
    """Write each identifier in one of several ways, row by row."""
    draw = random.Random(7)
    ways = {
        "merchant_id": (str.upper, str.lower, lambda text: unicodedata.normalize("NFD", text)),
        "terminal_id": (lambda text: f" {text}", lambda text: f"{text}\u00a0"),
        "payee_id": (str.lower, lambda text: f"{text[:4]} {text[4:]}"),
        "customer_id": (lambda text: f"{text}\0", lambda text: f"\ufeff{text}"),
    }
    return table.assign(
        **{name: [draw.choice(how)(text) for text in table[name]] for name, how in ways.items()}
    )


def loaded(table: pd.DataFrame, path: Path, mapping: Mapping | None = None) -> pd.DataFrame:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    file = DataFile.open(path)
    read = read_transactions(file, mapping, file.problems(), extra={}, needs_labels=True)
    return read.rows


def own_names() -> Mapping:
    lines = [
        f'{name} = {{ column = "{name}"'
        + (', time_unit = "seconds" }' if "_time" in name else " }")
        for name in rows().columns
    ]
    text = 'format_version = 1\nkind = "transactions"\n[columns]\n' + "\n".join(lines)
    return parse_mapping(text, source="own.toml")


OWN_NAMES = own_names()


@pytest.mark.parametrize("mapping", [None, OWN_NAMES])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_noise_changes_no_feature_and_no_cell_of_a_sketch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, mapping: Mapping | None
) -> None:
    clean = canonical_transactions(rows())
    found = loaded(noisy(rows()), tmp_path / f"d{suffix}", mapping)
    assert "identifiers are written in more than one way and count as one" in caplog.text
    for name in DEFAULT_KINDS.keys() & set(clean.columns):
        assert found[name].tolist() == clean[name].tolist(), name
    assert found["transaction_id"].tolist() == rows()["transaction_id"].tolist()
    built, expected = (build_features(t, risk_delay_days=1) for t in (found, clean))
    assert built.values.tobytes() == expected.values.tobytes()
    first = 1_700_000_000 // DAY
    spec = RiskSpec(first_day=first, last_day=first + 6, delay_days=1, min_customers=1)
    entries = [risk_entries(t, spec, hash_key=bytes(32)) for t in (found, clean)]
    np.testing.assert_array_equal(entries[0].transactions.hashes, entries[1].transactions.hashes)
    # Without the canonical form there would be more of them.
    raw = risk_entries(noisy(rows()), spec, hash_key=bytes(32))
    assert len(raw.transactions.hashes) > len(entries[1].transactions.hashes)


def test_one_at_a_time_gives_the_row_of_the_table(tmp_path: Path) -> None:
    written = noisy(rows()).drop(columns=["label_time", "is_fraud"])
    table = canonical_transactions(written)
    built = build_features(table, risk_delay_days=1)
    online = OnlineFeatures(risk_delay_days=1)
    names = [name for name in Payment.__dataclass_fields__ if name in written]
    for index, row in enumerate(written[names].to_dict("records")):
        payment = Payment(**row)
        assert payment == payments_of(table)[index]
        assert online.features(payment).tobytes() == built.values[index].tobytes()
        online.observe(payment)


def test_a_mapping_names_the_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = OWN_NAMES.columns
    token = columns["merchant_id"].model_copy(update={"identifier": IdentifierKind.TOKEN})
    iban = columns["payee_id"].model_copy(update={"identifier": IdentifierKind.IBAN})
    mapping = OWN_NAMES.model_copy(
        update={"columns": {**columns, "merchant_id": token, "payee_id": iban}}
    )
    table = rows(merchant_id=["aB", "Ab", "AB", "ab"] * 10, payee_id=["gb29 nwbk 1", IBANS[1]] * 20)
    found = loaded(table, tmp_path / "d.csv", mapping)
    assert found["merchant_id"].tolist()[:4] == ["aB", "Ab", "AB", "ab"]
    assert found["payee_id"].tolist()[:2] == ["GB29NWBK1", IBANS[1]]
    assert "column 'payee_id': 20 rows hold no IBAN" in caplog.text
    assert "'GB29NWBK1'" in caplog.text
    payment = Payment("t", 1, "c", 1, merchant_id="aB", identifiers=mapping.identifier_kinds)
    assert payment.merchant_id == "aB"


def test_wrong_ibans() -> None:
    assert wrong_ibans(column(IBANS[0], None, "DE00370400440532013000")).tolist() == [0, 0, 1]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_rounded_account_is_named_with_its_row(tmp_path: Path, suffix: str) -> None:
    table = rows()
    table.loc[6, "payee_id"] = "1.2E+15"
    for mapping in (None, OWN_NAMES):
        with pytest.raises(
            DataError, match=r"row 7.*'payee_id': got '1.2E\+15', expected an ident"
        ):
            loaded(table, tmp_path / f"d{suffix}", mapping)


@pytest.mark.parametrize("rules", [0, 2, "1", True, None])
def test_other_rules_are_refused(rules: object) -> None:
    contract = DataContract(kind="table", features=(FeatureSpec(name="x"),))
    risk = RiskSpec(first_day=1, last_day=2, delay_days=0)
    assert contract.identifier_rules == risk.identifier_rules == 1
    for message in (contract, risk):
        told = {**message.model_dump(mode="json"), "identifier_rules": rules}
        with pytest.raises(ValidationError, match="use the fraudfed release of the other banks"):
            type(message).model_validate(told)
        with pytest.raises(ProtocolError, match="identifiers are compared by rules") as caught:
            parse(type(message), told, source="the aggregator")
        assert "\n" not in str(caught.value)
