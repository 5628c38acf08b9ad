"""pacs.008 messages as rows: whatever was written is read back, and nothing else is read."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from examples.pacs008 import HEAD, SPACE, Message, Payment, document, made_up, transfer, xml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from fraudfed.errors import DataError
from fraudfed.reading.file import DataFile
from fraudfed.reading.iso20022.files import MESSAGE_COLUMNS, is_messages
from fraudfed.reading.iso20022.messages import read_messages
from fraudfed.reading.iso20022.pacs008 import epoch_seconds
from fraudfed.reading.problems import ProblemsError

TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"
    ),
    min_size=1,
    max_size=20,
).filter(lambda text: text == text.strip() and text != "NOTPROVIDED")
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=ZONES)
AMOUNTS = st.decimals(0, 10**12, allow_nan=False, places=2).map(lambda amount: f"{amount:f}")


def written(folder: Path, text: str | bytes, name: str = "a.xml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(path: Path) -> list[dict[str, object]]:
    return read_messages(path).to_pylist()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read_messages(path)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@st.composite
def payments(draw: st.DrawFn) -> Payment:
    return Payment(
        end_to_end=draw(st.just("NOTPROVIDED") | TEXTS),
        tx_id=draw(st.none() | TEXTS),
        uetr=draw(st.none() | st.uuids(version=4).map(str)),
        amount=draw(AMOUNTS),
        currency=draw(st.sampled_from(["EUR", "JPY", "KWD"])),
        accepted=draw(st.none() | TIMES.map(datetime.isoformat)),
        debtor=draw(st.sampled_from(["IBAN", "OTHR", "PRXY"])) + ":" + draw(TEXTS),
        debtor_agent=draw(st.none() | st.just("BUKBGB22")),
        purpose=draw(st.none() | TEXTS),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(
        st.builds(
            Message,
            payments=st.lists(payments(), min_size=1, max_size=4),
            name=TEXTS,
            made=TIMES.map(datetime.isoformat),
            version=st.integers(2, 13),
            prefix=st.sampled_from(["", "p", "ns0"]),
            app_header=st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_written_is_read(messages: list[Message], tmp_path: Path) -> None:
    found = rows(written(tmp_path, xml(*messages)))
    expected = [(message, one) for message in messages for one in message.payments]
    assert len(found) == len(expected)
    for row, (message, one) in zip(found, expected, strict=True):
        named = [one.uetr, one.tx_id, None if one.end_to_end == "NOTPROVIDED" else one.end_to_end]
        best = next((name for name in named if name), None)
        if best is None:
            assert str(row["Id"]).startswith(f"{message.name}/")
        else:
            assert row["Id"] == best
        moment = datetime.fromisoformat(one.accepted or message.made)
        assert row["Time"] == moment.astimezone(UTC).replace(microsecond=0)
        assert (row["IntrBkSttlmAmt"], row["Ccy"]) == (one.amount, one.currency)
        assert row["MsgId"] == message.name
        assert row["Purp"] == one.purpose
        kind, _, account = str(one.debtor).partition(":")
        if kind == "IBAN":
            assert row["DbtrAcct"] == "".join(account.split()).upper()
        else:
            bank = "" if one.debtor_agent is None else f"{one.debtor_agent}/"
            assert row["DbtrAcct"] == bank + account


@pytest.mark.parametrize("name", ["a.xml", "A.XML", "b.Xml"])
def test_files_and_folders_in_any_case(tmp_path: Path, name: str) -> None:
    written(tmp_path, xml(made_up(3, seed=1)), name)
    written(tmp_path, xml(made_up(2, seed=2), made_up(4, seed=3)), "z.xml")
    (tmp_path / "readme.txt").write_text("no message")
    assert is_messages(tmp_path)
    assert is_messages(tmp_path / name)
    assert not is_messages(tmp_path / "readme.txt")
    assert read_messages(tmp_path / name).num_rows == 3
    assert [row["MsgId"] for row in rows(tmp_path)] == ["MSG-1"] * 3 + ["MSG-2"] * 2 + ["MSG-3"] * 4


def test_an_account_number_is_one_of_its_bank(tmp_path: Path) -> None:
    same = [
        Payment(creditor="OTHR:1234", creditor_agent="AAAAGB2L", end_to_end="1"),
        Payment(creditor="OTHR:1234", creditor_agent="BBBBGB2L", end_to_end="2"),
        Payment(creditor="OTHR:1234", creditor_agent="AAAAGB2LXXX", end_to_end="3"),
        Payment(creditor="IBAN:de75 5121 0800 1245 1261 99", end_to_end="4"),
        Payment(creditor="IBAN:DE75512108001245126199", end_to_end="5"),
    ]
    found = [row["CdtrAcct"] for row in rows(written(tmp_path, xml(Message(same))))]
    assert found[0] == found[2] != found[1]
    assert found[3] == found[4] == "DE75512108001245126199"


def test_a_party_without_an_account_is_named_by_its_identification(tmp_path: Path) -> None:
    more = "<Dbtr><Id><PrvtId><Othr><Id>16135551001</Id></Othr></PrvtId></Id></Dbtr>"
    message = document(Message([Payment(debtor=None)])).replace(
        "<Dbtr><Nm>Made Up</Nm></Dbtr>", more
    )
    assert rows(written(tmp_path, message))[0]["DbtrAcct"] == "BUKBGB22/16135551001"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-31T10:15:30Z", "2026-03-31T10:15:30+00:00"),
        ("2026-03-31T10:15:30.999999999+02:00", "2026-03-31T08:15:30+00:00"),
        ("2026-03-31T10:15:30", "2026-03-31T10:15:30+00:00"),
        ("2026-12-31T24:00:00-05:00", "2027-01-01T05:00:00+00:00"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert epoch_seconds(text) == datetime.fromisoformat(expected).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T10:15:30Z",
        "2026-03-31 10:15:30Z",
        "2026-03-31",
        "2026-03-31T25:00:00Z",
        "2026-03-31T23:59:60Z",
        "31.03.2026T10:15:30Z",
        "2026-03-31T10:15:30+0200",
        "9999-12-31T24:00:00Z",
        "",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert epoch_seconds(text) is None


LAUGHS = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))
HOSTILE = {
    "billion laughs": f'<!DOCTYPE d [<!ENTITY l0 "ha">{LAUGHS}]>',
    "quadratic": f'<!DOCTYPE d [<!ENTITY l9 "{"a" * 50_000}">]>',
    "external entity": '<!DOCTYPE d [<!ENTITY l9 SYSTEM "file:///etc/hostname">]>',
    "external subset": '<!DOCTYPE d SYSTEM "http://127.0.0.1:9/x.dtd">',
    "parameter entity": '<!DOCTYPE d [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]>',
    "no entity": "<!DOCTYPE d>",
    "in lower case": "<!doctype d>",
    "after a comment": "<!-- <x> --><?p <x> ?>\n<!DOCTYPE d>",
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_document_type_is_refused_before_anything_is_parsed(
    tmp_path: Path, hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = document(Message([Payment(end_to_end="E&l9;")])).replace("&amp;l9;", "&l9;")
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    path = written(tmp_path, head + HOSTILE[hostile] + body)

    def no_parser(**_: object) -> None:
        pytest.fail("a parser was made")

    path_of_read = "fraudfed.reading.iso20022.xml_stream"
    monkeypatch.setattr(f"{path_of_read}._parser", no_parser)
    assert "has a document type declaration (DOCTYPE)" in refusal(path)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_behind_that_the_parser_expands_and_fetches_nothing(
    tmp_path: Path, hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fraudfed.reading.iso20022.xml_stream._check_prolog", lambda *_: None)
    monkeypatch.setattr(
        "fraudfed.reading.iso20022.xml_stream._refuse_document_type", lambda *_: None
    )
    body = document(Message([Payment(end_to_end="E&l9;")])).replace("&amp;l9;", "&l9;")
    path = written(tmp_path, HOSTILE[hostile] + body)
    try:
        found = rows(path)
    except DataError:
        found = []
    assert all(row["EndToEndId"] in ("E", None) for row in found)


def test_control_a_parser_that_resolves_entities_reads_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "fraudfed.reading.iso20022.xml_stream"
    monkeypatch.setattr(f"{module}._check_prolog", lambda *_: None)
    monkeypatch.setattr(f"{module}._refuse_document_type", lambda *_: None)
    monkeypatch.setattr(
        f"{module}._parser",
        lambda: etree.XMLPullParser(
            events=("start", "end"), resolve_entities=True, load_dtd=True, no_network=False
        ),
    )
    secret = written(tmp_path, "secret of this machine", "secret.txt")
    body = document(Message([Payment(end_to_end="E&l9;")])).replace("&amp;l9;", "&l9;")
    head = f'<!DOCTYPE d [<!ENTITY l9 SYSTEM "{secret.as_uri()}">]>'
    (row,) = rows(written(tmp_path, head + body))
    assert row["EndToEndId"] == "Esecret of this machine"


def test_the_second_look_refuses_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraudfed.reading.iso20022.xml_stream._check_prolog", lambda *_: None)
    path = written(tmp_path, "<!DOCTYPE d>" + document(made_up(1)))
    assert "has a document type declaration; it is not read" in refusal(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"Id,Time\n1,2\n", "is no XML of UTF-8"),
        (b"\x1f\x8b\x08\x00gzip", "is no XML of UTF-8"),
        (xml(made_up(2)).encode("utf-16"), "is no XML of UTF-8"),
        (xml(made_up(2)).replace("UTF-8", "ISO-8859-1").encode(), "encoding ISO-8859-1, expected"),
        (xml(Message([Payment(end_to_end="é")])).encode("latin-1"), "is not well-formed XML"),
        (xml(made_up(2)).encode()[:-40], "is not well-formed XML"),
        ((xml(made_up(1)) + document(made_up(1))).encode(), "is not well-formed XML"),
        (b"<!--" + b"x" * 70_000 + b"--><d/>", "more than 64 KiB before its first element"),
        (b"<Envelope><AppHdr/></Envelope>", "holds no message"),
        (
            document(made_up(1)).replace(".08", ".14").encode(),
            "message of pacs.008.001.14, expected",
        ),
        (
            document(made_up(1)).replace(".08", ".01").encode(),
            "message of pacs.008.001.01, expected",
        ),
        (document(made_up(1)).replace("s.008", "s.009").encode(), "message of pacs.009.001.08"),
        (re.sub(' xmlns="[^"]*"', "", document(made_up(1))).encode(), "message of no namespace"),
        (document(Message([])).encode(), "holds no credit transfer"),
    ],
)
def test_what_is_no_such_message_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in refusal(written(tmp_path, content))


NO_ACCOUNT = "neither an account nor an identification of the party"


@pytest.mark.parametrize(
    ("payment", "element", "got", "expected"),
    [
        (Payment(amount="12,50"), "IntrBkSttlmAmt", "'12,50'", "an amount of at most 18 digits"),
        (Payment(amount="-1.00"), "IntrBkSttlmAmt", "'-1.00'", "an amount of at most 18 digits"),
        (Payment(amount="1E3"), "IntrBkSttlmAmt", "'1E3'", "an amount of at most 18 digits"),
        (Payment(amount=""), "IntrBkSttlmAmt", "no amount", "an amount of at most 18 digits"),
        (Payment(currency=None), "IntrBkSttlmAmt/@Ccy", "no currency", "a currency of ISO 4217"),
        (Payment(currency="Euro"), "IntrBkSttlmAmt/@Ccy", "'Euro'", "a currency of ISO 4217"),
        (Payment(accepted="31.3.26"), "AccptncDtTm", "'31.3.26'", "a time such as 2026-03-31T12"),
        (Payment(day="2026-02-30"), "IntrBkSttlmDt", "'2026-02-30'", "a day such as 2026-03-31"),
        (Payment(debtor=None), "DbtrAcct", NO_ACCOUNT, "DbtrAcct/Id/IBAN, DbtrAcct/Id/Othr/Id"),
        (Payment(creditor=None), "CdtrAcct", NO_ACCOUNT, "CdtrAcct/Id/IBAN, CdtrAcct/Id/Othr/Id"),
    ],
)
def test_a_fault_names_file_message_transfer_and_element(
    tmp_path: Path, payment: Payment, element: str, got: str, expected: str
) -> None:
    good = made_up(3, seed=1)
    bad = Message([*made_up(2).payments, payment, payment], name="M2")
    path = written(tmp_path, xml(good, bad), "day.xml")
    message = refusal(path)
    place = re.match(r"[^:]*day\.xml: row 6 \(line (\d+)\), column '([^']*)': got (.*)", message)
    assert place is not None
    assert "NOTPROVIDED" in path.read_text().splitlines()[int(place[1]) - 1]
    assert place[2] == f"CdtTrfTxInf/{element}"
    assert place[3].startswith(f"{got} in message 2 ('M2'), transfer 3, expected {expected}")
    assert "(and 1 more row); correct the message or leave it out" in message


def test_all_faults_are_told_at_once_and_counted(tmp_path: Path) -> None:
    bad = [Payment(amount="x", currency="y")] * 25 + [Payment(debtor=None)] * 2
    written(tmp_path, xml(Message(bad, count="3")))
    written(tmp_path, xml(Message([Payment(amount="z")], made="?")), "b.xml")
    with pytest.raises(ProblemsError) as refused:
        DataFile.open(tmp_path).read({"Id": pa.string()})
    found = {one.column: (one.count, len(one.cells)) for one in refused.value.problems}
    assert found == {
        "'CdtTrfTxInf/IntrBkSttlmAmt'": (26, 10),
        "'CdtTrfTxInf/DbtrAcct'": (2, 2),
        "'GrpHdr/NbOfTxs'": (1, 1),
        "'GrpHdr/CreDtTm'": (1, 1),
    }
    assert "in b.xml, message 1 ('MSG-1'), transfer 1" in refused.value.problems[3].cells[0].got


def test_messages_are_a_data_file(tmp_path: Path) -> None:
    path = written(tmp_path, xml(made_up(3)), "day.XML")
    file = DataFile.open(path)
    assert file.columns == MESSAGE_COLUMNS
    read = file.read({"Ccy": pa.string(), "Time": pa.float64()})
    assert read.column_names == ["Ccy", "Time"]
    assert read["Ccy"].to_pylist() == ["GBP"] * 3
    with pytest.raises(DataError, match="a directory, expected"):
        DataFile.open(tmp_path / "..")


@pytest.mark.parametrize("count", ["2", "4", "x", ""])
def test_a_message_with_a_part_missing_is_refused(tmp_path: Path, count: str) -> None:
    message = Message(made_up(3).payments, name="M1", count=count)
    text = refusal(written(tmp_path, xml(message)))
    assert "column 'GrpHdr/NbOfTxs': got" in text
    assert "for 3 transfers in message 1 ('M1'), expected the number of transfers" in text


def test_other_things_in_a_message_do_not_matter(tmp_path: Path) -> None:
    inner = document(made_up(2)).replace("<Document ", "<Document lang='x' ")
    more = f"<SplmtryData><Envlp>{inner}</Envlp></SplmtryData>"
    comment = "<!-- <CdtTrfTxInf> --><?x y?>"
    payment = Payment(end_to_end="A", more=f"<RmtInf><Ustrd>a &lt; b</Ustrd></RmtInf>{more}")
    text = xml(Message([payment], more=more), Message([Payment(end_to_end="B")], name="M2"))
    text = text.replace("<EndToEndId>", f"{comment}<EndToEndId>").replace(">A<", ">A<!-- x --><")
    text = text.replace("<Envelope>", f'<Envelope><AppHdr xmlns="{HEAD}"><Fr>x</Fr></AppHdr>')
    assert [row["Id"] for row in rows(written(tmp_path, text))] == ["A", "B"]


def test_a_transfer_of_endless_elements_is_refused(tmp_path: Path) -> None:
    message = Message([Payment(more="<SplmtryData>" + "<x/>" * 30_000 + "</SplmtryData>")])
    assert "has more than 20000 elements" in refusal(written(tmp_path, xml(message)))


def test_memory_does_not_grow_with_what_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("w") as file:
        file.write("<Envelope>")
        for _ in range(400):
            file.write("<AppHdr>" + "<x>some text</x>" * 500 + "</AppHdr>")
        file.write(document(made_up(2)) + "</Envelope>")
    # In a process of its own, as libxml2's memory is not Python's.
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from fraudfed.reading.iso20022.messages import read_messages\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_messages(Path(sys.argv[1])); before = peak()\n"
        "rows = read_messages(Path(sys.argv[2])).num_rows; print(rows, peak() - before)"
    )
    small = written(tmp_path, xml(made_up(2)), "small.xml")
    done = subprocess.run(
        [sys.executable, "-c", code, small, path], capture_output=True, text=True, check=True
    )
    n_rows, kilobytes = map(int, done.stdout.split())
    assert n_rows == 2
    assert kilobytes < 8 << 10


def test_the_namespace_counts_and_not_the_prefix(tmp_path: Path) -> None:
    foreign = transfer(Payment(), 8, "").replace("<CdtTrfTxInf>", '<CdtTrfTxInf xmlns="urn:x">')
    text = document(Message([Payment(end_to_end="A")], more=foreign))
    assert SPACE.format(version=8) in text
    assert [row["Id"] for row in rows(written(tmp_path, text))] == ["A"]
