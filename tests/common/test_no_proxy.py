"""``NO_PROXY`` as curl reads it: examples, and laws against requests and ``ipaddress``."""

import ipaddress
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.utils import should_bypass_proxies

from fraudfed.http.no_proxy import exempting_entry, overlooked_entry

#: Host, value, and the entry that exempts it. curl's manual, and its own tests of the function
#: (``tests/unit/unit1614.c``), say the same of each.
READ: list[tuple[str, str, str | None]] = [
    ("agg.corp.example", "*", "*"),
    ("agg.corp.example", "*,other.example", None),
    ("agg.corp.example", "corp.example", "corp.example"),
    ("agg.corp.example", ".corp.example", ".corp.example"),
    ("corp.example", ".corp.example", ".corp.example"),
    ("mycorp.example", "corp.example", None),
    ("corp.example", "agg.corp.example", None),
    ("agg.corp.example.", "corp.example", "corp.example"),
    ("agg.corp.example", "corp.example.", "corp.example."),
    ("Agg.Corp.Example", "CORP.example", "CORP.example"),
    ("agg.corp.example", "*.corp.example", None),
    ("agg.corp.example", "agg.corp.example:8443", None),
    ("agg.corp.example", "a , b,\tcorp.example", "corp.example"),
    ("agg.corp.example", "a b corp.example c", "corp.example"),
    ("agg.corp.example", ",,corp.example,,", "corp.example"),
    ("agg.corp.example", ",. , ..", None),
    ("192.168.7.1", "192.168.0.0/16", "192.168.0.0/16"),
    ("192.168.7.1", "192.168.0.0/24", None),
    ("192.168.7.1", "192.168.7.1/32", "192.168.7.1/32"),
    ("192.168.7.1", "192.168.7.1/33", None),
    ("192.168.7.1", "192.168.7.0/31", "192.168.7.0/31"),
    ("192.168.7.1", "0.0.0.0/0", None),
    ("192.168.7.1", "7.1", None),
    ("192.168.7.1", "192.168.7.1.", None),
    ("192.168.7.1", "192.168.007.1", None),
    ("192.168.7.1", "192.168.0.0/255.255.0.0", None),
    ("::1", "::1", "::1"),
    ("::1", "0:0::1", "0:0::1"),
    ("::1", "[::1]", None),
    ("fd12:3456::7", "fd00::/8", "fd00::/8"),
    ("fd12:3456::7", "fd10::/13", "fd10::/13"),
    ("fd12:3456::7", "fd12:3456::/33", "fd12:3456::/33"),
    ("fd12:3456::7", "fe00::/8", None),
    ("fd12:3456::7", "fd12:3456::7/129", None),
    ("fd12:3456::7", "10.0.0.0/8", None),
    ("10.0.0.1", "fd00::/8,10.0.0.0/8", "10.0.0.0/8"),
    ("agg", "agg", "agg"),
    ("agg", "", None),
]


@pytest.mark.parametrize(("host", "value", "entry"), READ)
def test_no_proxy_is_read_as_curl_reads_it(host: str, value: str, entry: str | None) -> None:
    assert exempting_entry(host, value) == entry


_LABELS = st.sampled_from(["a", "agg", "corp", "example", "my-corp", "x1"])
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
_ADDRESSES = st.builds(
    lambda low: str(ipaddress.IPv4Address(0x0A000000 + low)), st.integers(0, 0x1FFFFFF)
)
_RANGES = st.builds(lambda address, bits: f"{address}/{bits}", _ADDRESSES, st.integers(1, 32))
_HOSTS = st.one_of(_NAMES, _ADDRESSES)
_ENTRIES = st.one_of(_NAMES, _NAMES.map(lambda name: f".{name}"), _ADDRESSES, _RANGES)


@given(_HOSTS, st.lists(_ENTRIES, min_size=1, max_size=4), st.sampled_from([",", ", ", " ,"]))
def test_requests_reads_it_alike_where_both_say_how(
    host: str, entries: list[str], separator: str
) -> None:
    """Of names and IPv4 in lower case. What requests adds of its own (ports) is left out."""
    value = separator.join(entries)
    # It would ask the machine's own settings as well.
    with mock.patch("requests.utils.proxy_bypass", return_value=False):
        expected = should_bypass_proxies(f"https://{host}/", value)
    assert (exempting_entry(host, value) is not None) == expected


@given(
    st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1), st.integers(0, 128), st.integers(1, 128)
)
def test_a_range_is_that_of_the_ipaddress_module(
    number: int, noise: int, shared: int, bits: int
) -> None:
    """For IPv6 of every length; the two addresses share their first bits."""
    other = number ^ (noise >> shared)
    host, network = str(ipaddress.IPv6Address(number)), str(ipaddress.IPv6Address(other))
    expected = ipaddress.IPv6Address(number) in ipaddress.IPv6Network((other, bits), strict=False)
    assert (exempting_entry(host, f"{network}/{bits}") is not None) == expected


@pytest.mark.parametrize(
    ("host", "value", "found"),
    [
        (
            "agg.corp.example",
            "a,agg.corp.example:8443",
            ("agg.corp.example:8443", "agg.corp.example"),
        ),
        ("agg.corp.example", "*.corp.example", ("*.corp.example", ".corp.example")),
        ("agg.corp.example", "https://corp.example", ("https://corp.example", "corp.example")),
        ("::1", "[::1]", ("[::1]", "::1")),
        ("::1", "[::1]:8443", ("[::1]:8443", "::1")),
        ("fd00::5", "[fd00::]/8", ("[fd00::]/8", "fd00::/8")),
        ("10.0.0.1", "10.0.0.1:443", ("10.0.0.1:443", "10.0.0.1")),
        ("agg", "*,other", ("*", "*")),
        ("agg.corp.example", "other.example,1.2.3.4,*.net", None),
    ],
)
def test_an_entry_that_was_meant_is_found(
    host: str, value: str, found: tuple[str, str] | None
) -> None:
    assert exempting_entry(host, value) is None
    assert overlooked_entry(host, value) == found
