"""Texts of times: Python's own ``strptime`` says what they are; zones as ``zoneinfo`` has them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.features.mappings.time_zones import find_zone, to_utc, zone_names
from fraudfed.features.mappings.times import Readings, TimeFormat

#: Formats that programs write, and some that try the reader.
FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%d",
    "%d.%m.%Y %H:%M",
    "%m/%d/%y %I:%M %p",
    "%d-%b-%y %H.%M.%S.%f",
    "%a, %d %B %Y %H:%M:%S %z",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M%S%f",
    "%d%m%y",
    "%y%j",
    "%H:%M am %j. Tag %Y",
    "100%% %Y/%m/%d",
    "%S %M %H %d %m %Y",
    "%A %d (%b) %Y [%I%p]",
)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31))


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def by_python(text: str, form: str) -> int | None:
    """Return the second that Python reads, None if it refuses."""
    try:
        moment = datetime.strptime(text, form)
    except ValueError:
        return None
    return (moment.replace(microsecond=0, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // (
        timedelta(seconds=1)
    )


def read(form: str, *texts: str | None) -> Readings:
    return TimeFormat.parse(form).read(column(*texts))


def by_us(text: str, form: str) -> int | None:
    found = read(form, text)
    assert bool(found.known[0]) != bool(found.wrong[0])
    return int(found.local[0]) if found.known[0] else None


@given(
    st.sampled_from(FORMATS),
    MOMENTS,
    st.sampled_from([0, 90, -330, 845]),
    st.booleans(),
    st.booleans(),
)
def test_what_python_writes_is_read_as_python_reads_it(
    form: str, moment: datetime, minutes: int, capitals: bool, bare: bool
) -> None:
    text = moment.replace(tzinfo=timezone(timedelta(minutes=minutes))).strftime(form)
    if bare:  # Without zeros in front, as many programs write.
        text = text.replace("/0", "/").replace(" 0", " ").replace("-0", "-").replace(".0", ".")
    text = text.upper() if capitals else text
    assert by_us(text, form) == by_python(text, form)


@given(st.sampled_from(FORMATS), MOMENTS, st.data())
def test_a_damaged_text_is_read_or_refused_as_by_python(
    form: str, moment: datetime, data: st.DataObject
) -> None:
    text = moment.replace(tzinfo=UTC).strftime(form)
    place = data.draw(st.integers(0, len(text)))
    change = data.draw(st.sampled_from(["", "0", "9", " ", "-", ":", "x", "3", "Z"]))
    text = text[:place] + change + text[place + data.draw(st.integers(0, 2)) :]
    if ours_alone(text, form):
        return
    assert by_us(text, form) == by_python(text, form)


def ours_alone(text: str, form: str) -> bool:
    """Tell whether a text is of the documented exceptions."""
    return by_python(text, form) != by_us(text, form) and (
        ("%f" in form and by_us(text, form) is not None)
        or ("%z" in form and by_us(text, form) is not None)
        or ("%j" in form and by_us(text, form) is None and "366" in text)
    )


@given(st.lists(st.one_of(st.none(), MOMENTS), min_size=1, max_size=20))
def test_rows_do_not_disturb_each_other(moments: list[datetime | None]) -> None:
    """Padded, bare, missing and wrong texts of one column, each read as if it were alone."""
    form = "%d.%m.%Y %H:%M"
    texts = [
        None if moment is None else moment.strftime(form if index % 3 else "%d.%m.%Y  %H:%M")
        for index, moment in enumerate(moments)
    ]
    texts.append("30.02.2024 10:00")
    found = read(form, *texts)
    assert found.known.tolist() == [text is not None for text in texts[:-1]] + [False]
    assert found.wrong.tolist() == [False] * len(moments) + [True]
    for text, second in zip(texts[:-1], found.local.tolist(), strict=False):
        assert second == (0 if text is None else by_python(text, form))


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S.%f", "2024-01-01 12:00:00.123456789", 1_704_110_400),
        ("%Y-%m-%d %H:%M:%S%z", "2024-01-01 12:00:00+02", 1_704_110_400),
        ("%y%j", "24060", 1_709_164_800),
        ("%y%j", "23366", None),
        ("%y%j", "24366", 1_735_603_200),
        ("%Y-%m-%d", "2023-02-29", None),
        ("%Y-%m-%d", "0000-01-01", None),
        ("%Y-%m-%d %H:%M:%S", "2016-12-31 23:59:60", None),
        ("%Y-%m-%d %H:%M:%S", "2024-01-01 24:00:00", None),
        ("%Y-%m-%d", "\uff12\uff10\uff12\uff14-01-01", None),
        ("%Y年%m月%d日", "2024年2月29日", 1_709_164_800),
    ],
)
def test_corners(form: str, text: str, expected: int | None) -> None:
    assert by_us(text, form) == expected


def test_offsets_and_names_come_with_the_time() -> None:
    found = read("%Y-%m-%d %H:%M%z", "2024-01-01 12:00-03:30", "2024-01-01 12:00Z", None)
    assert found.offset is not None
    assert found.offset.tolist() == [-12_600, 0, 0]
    found = read("%Y-%m-%d %H:%M %Z", "2024-01-01 12:00 cest", None, "2024-01-01 12:00 UTC")
    assert found.zones is not None
    assert found.zones.to_pylist() == ["cest", None, "UTC"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("%Y-%m-%d %T", "write %H:%M:%S"),
        ("%s", 'time_unit = "seconds"'),
        ("%-d.%-m.%Y", "leave the '-' out"),
        ("%c", "depends on the machine's language"),
        ("%Y-%W", "weeks of a year say no day"),
        ("%Y-%m-%d %q", "the letters are %Y, %y"),
        ("%Y-%m-%d 100%", "a single % at the end"),
        ("%H:%M", "expected a whole date"),
        ("%d.%m. %H:%M", "expected a whole date"),
        ("YYYY-MM-DD", "expected a whole date"),
        ("%d.%m.%Y %m", "got %m twice"),
        ("%d.%m.%b %Y", "got %m and %b"),
        ("%d.%m.%y %Y", "got %y and %Y"),
        ("%d.%m.%Y %H %I %p", "got %H and %I"),
        ("%d.%m.%Y %I:%M", "got %I without %p"),
        ("%d.%m.%Y %H:%M %p", "got %p without %I"),
        ("%d.%m.%Y %M", "got %M without %H or %I"),
        ("%d.%m.%Y %H:%S", "got %S without %M"),
        ("%d.%m.%Y %H:%M.%f", "got %f without %S"),
        ("%d.%m.%Y %z", "got %z without %H or %I"),
        ("%d.%m.%Y %H %z %Z", "got %z and %Z"),
    ],
)
def test_a_format_that_cannot_be_meant_is_refused(form: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^got .* expected") as caught:
        TimeFormat.parse(form)
    assert message in str(caught.value)


ZONES = st.sampled_from(
    [
        "Europe/Berlin",
        "Europe/London",
        "America/New_York",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Asia/Kathmandu",
        "UTC",
    ]
)


@given(ZONES, st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2037, 12, 30)), min_size=1))
def test_zones_are_those_of_zoneinfo(name: str, moments: list[datetime]) -> None:
    check_zone(name, moments)


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_hours_of_clock_changes(name: str) -> None:
    """Every minute of the days around the changes of 2024."""
    starts = [datetime(2024, 3, 10), datetime(2024, 3, 31), datetime(2024, 4, 7)]
    starts += [datetime(2024, 10, 6), datetime(2024, 10, 27), datetime(2024, 11, 3)]
    moments = [start + timedelta(minutes=5 * n) for start in starts for n in range(60)]
    found = check_zone(name, moments)
    assert found == (True, True)


def check_zone(name: str, moments: list[datetime]) -> tuple[bool, bool]:
    zone = ZoneInfo(name)
    epoch = datetime(1970, 1, 1)
    local = np.array([(moment - epoch) // timedelta(seconds=1) for moment in moments])
    found = to_utc(local, find_zone(name))
    for index, moment in enumerate(moments):
        aware = [moment.replace(microsecond=0, tzinfo=zone, fold=fold) for fold in (0, 1)]
        first, second = (int(one.timestamp()) for one in aware)
        assert (int(found.first[index]), int(found.second[index])) == (first, second)
        again = aware[0].astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        assert bool(found.missing[index]) == (again != moment.replace(microsecond=0))
        assert bool(found.repeated[index]) == (first < second)
        places, names = zone_names(found.first[[index]], zone)
        known = datetime.fromtimestamp(first, zone).tzname() or ""
        assert names[int(places[0])] == known.upper()
    return bool(found.repeated.any()), bool(found.missing.any())


@pytest.mark.parametrize("name", ["Europe/Berlim", "", "../etc/passwd", "CEST", "a\0b"])
def test_a_zone_that_there_is_not(name: str) -> None:
    with pytest.raises(ValueError, match="IANA time zone database"):
        find_zone(name)
