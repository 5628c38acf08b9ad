"""Times of a source column as UTC epoch seconds, whatever the column is stored as.

Numbers are taken exactly: a nanosecond more or less must not be another second. Nothing wraps
around: what is beyond the range of times is said to be.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray, Float64Array, Int64Array
from fraudfed.features.identifiers import damaged_rows
from fraudfed.features.mappings.mapping import ColumnSource, TimeUnit, parsed_format
from fraudfed.features.mappings.time_zones import (
    MissingHour,
    RepeatedHour,
    find_zone,
    to_utc,
    zone_names,
)
from fraudfed.payments.columns import MAX_EPOCH_SECONDS
from fraudfed.reading import cells
from fraudfed.reading.file_format import FileFormat

#: Seconds in a unit, as numerator and denominator: dividing is exact where multiplying is not.
_SECONDS: Final = {
    TimeUnit.NANOSECONDS: (1, 10**9),
    TimeUnit.MICROSECONDS: (1, 10**6),
    TimeUnit.MILLISECONDS: (1, 1000),
    TimeUnit.SECONDS: (1, 1),
    TimeUnit.MINUTES: (60, 1),
    TimeUnit.HOURS: (3600, 1),
    TimeUnit.DAYS: (86400, 1),
}
#: Ticks of an Arrow timestamp in a second.
_TICKS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MILLISECONDS_A_DAY: Final = 86_400_000
#: Whole numbers that may fit into 64 bits.
_WHOLE: Final = r"^[+-]?[0-9]{1,19}$"
#: Names of time zones that mean one thing everywhere.
_UTC_NAMES: Final = ("UTC", "GMT", "Z")


@dataclass(frozen=True, eq=False)
class TimeFault:
    """Rows whose time cannot be taken.

    Attributes
    ----------
    kind : str
        For programs.
    bad : ndarray of shape (n_rows,), dtype=bool
    expected, advice : str
        For the error text.
    """

    kind: str
    bad: BoolArray
    expected: str
    advice: str = "mend the value, or map it"


@dataclass(eq=False)
class SourceTimes:
    """What was read.

    Attributes
    ----------
    seconds : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds, rounded down; 0 where nothing is known.
    known : ndarray of shape (n_rows,), dtype=bool
    faults : list of TimeFault
        Of rows that are not known and hold something.
    """

    seconds: Int64Array
    known: BoolArray
    faults: list[TimeFault] = field(default_factory=list)

    def drop(self, kind: str, bad: BoolArray, expected: str, **more: str) -> None:
        """Put rows aside for a reason."""
        bad = bad & self.known
        if bad.any():
            self.faults.append(TimeFault(kind, bad, expected, **more))
            self.known = self.known & ~bad

    def as_floats(self) -> Float64Array:
        """Return seconds, exact, with NaN where nothing is known."""
        floats: Float64Array = np.where(self.known, self.seconds, np.nan)
        return floats


def accepts(kind: pa.DataType, how: ColumnSource) -> str | None:
    """Return None if a column of a type can be read, else what the mapping expects of it.

    Parameters
    ----------
    kind : Arrow type
        Without dictionaries.
    how : ColumnSource
    """
    if pa.types.is_null(kind):
        return None
    if pa.types.is_timestamp(kind) and kind.tz is not None and how.time_zone is not None:
        return "times without a zone (time_zone)"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return None
    if how.time_unit is not None:
        numeric = cells.is_text(kind) or cells.is_number(kind)
        return None if numeric else "numbers (time_unit)"
    if how.time_format is None:
        return "time_format or time_unit"
    return None if cells.is_text(kind) else "a text of time_format"


def read_times(values: pa.ChunkedArray, how: ColumnSource, file_format: FileFormat) -> SourceTimes:
    """Return the times of a column.

    Parameters
    ----------
    values : chunked Arrow array of shape (n_rows,)
        Of a type that ``accepts`` takes, without dictionaries.
    how : ColumnSource
    file_format : FileFormat
        How texts write numbers.
    """
    kind = values.type
    if pa.types.is_null(kind):
        found = _of_ticks(pa.chunked_array([pa.nulls(len(values), pa.int64())]), 1)
    elif pa.types.is_date32(kind):
        found = _of_ticks(values.cast(pa.int32()).cast(pa.int64()), 1)
        found.seconds = found.seconds * 86_400
    elif pa.types.is_date64(kind):
        found = _of_ticks(values.cast(pa.int64()), _MILLISECONDS_A_DAY)
        found.seconds = found.seconds * 86_400
    elif pa.types.is_timestamp(kind):
        found = _of_ticks(values.cast(pa.int64()), _TICKS[kind.unit])
    elif how.time_unit is not None:
        found = _of_numbers(values, how, file_format)
    else:
        return _in_range(_of_texts(values, how), how)
    if how.time_zone is not None:
        _from_zone(found, find_zone(how.time_zone), how, found.known)
    return _in_range(found, how)


def _of_ticks(ticks: pa.ChunkedArray, per_second: int) -> SourceTimes:
    known: BoolArray = ticks.is_valid().to_numpy().astype(np.bool_)
    whole: Int64Array = pc.fill_null(ticks, 0).to_numpy()
    # Rounded down, before 1970 as well.
    return SourceTimes(whole // per_second, known)


def _of_numbers(values: pa.ChunkedArray, how: ColumnSource, file_format: FileFormat) -> SourceTimes:
    numerator, denominator = _SECONDS[how.time_unit or TimeUnit.SECONDS]
    numbers, wrong = cells.numbers(values, file_format)
    scaled = np.floor(numbers * (numerator / denominator)) + how.since_seconds
    known = ~np.isnan(numbers)
    # Far outside, where int64 might wrap around; what is near is looked at again in the end.
    far = known & ~(np.abs(scaled) <= 2 * MAX_EPOCH_SECONDS)
    whole = _whole_numbers(values)
    if whole is None:
        near = np.where(known & ~far, numbers, 0)
        seconds = np.floor(near * numerator / denominator).astype(np.int64)
    else:
        seconds = np.where(far, 0, whole) * numerator // denominator
    found = SourceTimes(seconds + how.since_seconds, known)
    found.seconds[far] = np.where(scaled[far] < 0, -1, MAX_EPOCH_SECONDS)
    if wrong.any():
        found.faults.append(TimeFault("not_a_number", wrong, "a number"))
    if cells.is_text(values.type):
        found.drop(
            "rounded_number",
            damaged_rows(pc.utf8_trim_whitespace(values)),
            "a number with all its digits (a spreadsheet or a float has rounded this one)",
            advice="export the column as text",
        )
    return found


def _whole_numbers(values: pa.ChunkedArray) -> Int64Array | None:
    """Return the numbers of a column exactly, 0 for null; None if they are not all whole."""
    kind = values.type
    if cells.is_text(kind):
        text = pc.utf8_trim_whitespace(values)
        missing = pc.is_in(text, value_set=pa.array(cells.MISSING_NUMBERS, pa.large_string()))
        text = pc.if_else(missing, pa.scalar(None, pa.large_string()), text)
        if not pc.all(pc.match_substring_regex(text, _WHOLE)).as_py():
            return None
        values = pc.replace_substring_regex(text, r"^\+", "")
    elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        return None
    try:
        whole: Int64Array = pc.fill_null(values.cast(pa.int64()), 0).to_numpy()
    except pa.ArrowInvalid:
        return None
    return whole


def _of_texts(values: pa.ChunkedArray, how: ColumnSource) -> SourceTimes:
    time_format = parsed_format(str(how.time_format))
    text, _ = cells.texts(values)
    read = time_format.read(text)
    found = SourceTimes(read.local.copy(), read.known)
    if read.wrong.any():
        expected = f"a time as {how.time_format!r}"
        found.faults.append(TimeFault("not_a_time", read.wrong, expected))
    if read.offset is not None:
        found.seconds -= read.offset
    elif read.zones is not None:
        _from_names(found, read.zones, how)
    elif how.time_zone is not None:
        _from_zone(found, find_zone(how.time_zone), how, found.known)
    return found


def _from_zone(times: SourceTimes, zone: ZoneInfo, how: ColumnSource, rows: BoolArray) -> None:
    """Turn local times of some rows into UTC, and put aside those that are not certain."""
    where = np.flatnonzero(rows)
    local = to_utc(times.seconds[where], zone)
    chosen = local.second if how.repeated_hour is RepeatedHour.SECOND else local.first
    times.seconds[where] = np.where(local.missing, local.first, chosen)
    if how.repeated_hour in (None, RepeatedHour.REFUSE):
        times.drop(
            "repeated_hour",
            _of_rows(where, local.repeated, len(rows)),
            f"a time that comes once in {zone.key} (here clocks went back)",
            advice="let the mapping say which is meant (repeated_hour)",
        )
    _drop_missing(times, zone, how, _of_rows(where, local.missing, len(rows)))


def _drop_missing(times: SourceTimes, zone: ZoneInfo, how: ColumnSource, bad: BoolArray) -> None:
    if how.missing_hour is not MissingHour.LATER:
        times.drop(
            "missing_hour",
            bad,
            f"a time that there was in {zone.key} (here clocks went forward)",
            advice="are the times of this zone? If so, let the mapping shift them (missing_hour)",
        )


def _from_names(times: SourceTimes, zones: pa.Array, how: ColumnSource) -> None:
    """Turn local times into UTC, each by the zone that its text names."""
    encoded = zones.dictionary_encode()
    places = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    unknown = np.zeros(len(places), dtype=np.bool_)
    for place, name in enumerate(encoded.dictionary.to_pylist()):
        rows = (places == place) & times.known
        if name.upper() in _UTC_NAMES:
            continue
        if "/" in name:
            try:
                _from_zone(times, find_zone(name), how, rows)
            except ValueError:
                unknown |= rows
        elif how.time_zone is None:
            unknown |= rows
        else:
            unknown |= _from_abbreviation(times, name.upper(), how, rows)
    own = "" if how.time_zone is None else f", or what {how.time_zone} calls its time then"
    times.drop(
        "unknown_zone",
        unknown,
        f"the name of a zone that is certain: UTC, GMT, one as 'Europe/Berlin'{own}",
        advice="give the zone of these clocks in the mapping (time_zone)"
        if how.time_zone is None
        else "mend the value, or time_zone",
    )


def _from_abbreviation(
    times: SourceTimes, name: str, how: ColumnSource, rows: BoolArray
) -> BoolArray:
    """Turn local times into UTC by what a zone calls its time; return those it calls otherwise."""
    zone = find_zone(str(how.time_zone))
    where = np.flatnonzero(rows)
    local = to_utc(times.seconds[where], zone)
    fits = []
    for instants in (local.first, local.second):
        indices, names = zone_names(instants, zone)
        fits.append(np.array([known == name for known in names], dtype=np.bool_)[indices])
    times.seconds[where] = np.where(fits[0] | local.missing, local.first, local.second)
    _drop_missing(times, zone, how, _of_rows(where, local.missing, len(rows)))
    return _of_rows(where, ~(fits[0] | fits[1]), len(rows))


def _of_rows(where: Int64Array, flags: BoolArray, n_rows: int) -> BoolArray:
    rows = np.zeros(n_rows, dtype=np.bool_)
    rows[where[flags]] = True
    return rows


def _in_range(times: SourceTimes, how: ColumnSource) -> SourceTimes:
    first, last = (
        datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for second in (0, MAX_EPOCH_SECONDS - 1)
    )
    outside = (times.seconds < 0) | (times.seconds >= MAX_EPOCH_SECONDS)
    by_unit = how.time_unit is not None
    times.drop(
        "time_out_of_range",
        outside,
        f"a time from {first} to {last} UTC",
        advice=f"mend the value; does it count {how.time_unit}?" if by_unit else "mend the value",
    )
    return times
