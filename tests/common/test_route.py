"""Which proxy the environment names, which it cannot name, and what is said of it."""

import base64
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ConfigurationError
from fraudfed.http.address import check_url
from fraudfed.http.route import Route, route_to

URL = "https://agg.corp.example:8443"


def route(url: str = URL, **environment: str) -> Route:
    return route_to(url, environment)


@pytest.mark.parametrize(
    ("environment", "proxy", "variable"),
    [
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, "http://a:1", "https_proxy"),
        ({"HTTPS_PROXY": "http://b:2", "all_proxy": "http://c:3"}, "http://b:2", "HTTPS_PROXY"),
        ({"all_proxy": "http://c:3", "ALL_PROXY": "http://d:4"}, "http://c:3", "all_proxy"),
        ({"ALL_PROXY": "http://d:4"}, "http://d:4", "ALL_PROXY"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://b:2"}, "http://b:2", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "proxy.corp:3128"}, "http://proxy.corp:3128", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "HTTP://Proxy.Corp:3128/"}, "http://proxy.corp:3128", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, "http://[::1]:3128", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "https://proxy.corp"}, "https://proxy.corp:443", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "u:p@10.0.0.1:80"}, "http://10.0.0.1:80", "HTTPS_PROXY"),
    ],
)
def test_the_first_variable_that_is_set_names_the_proxy(
    environment: dict[str, str], proxy: str, variable: str
) -> None:
    found = route(**environment)
    assert str(found.proxy) == proxy
    assert found.told == f" through the proxy {proxy} of {variable}"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, " without a proxy (HTTPS_PROXY is not set)"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://a:1"}, "HTTPS_PROXY is not set"),
        (
            {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "x,.corp.example"},
            " without a proxy (NO_PROXY exempts it by '.corp.example')",
        ),
        (
            {"ALL_PROXY": "http://a:1", "no_proxy": "*", "NO_PROXY": "x"},
            " without a proxy (no_proxy exempts it by '*')",
        ),
    ],
)
def test_why_there_is_no_proxy_is_told(environment: dict[str, str], told: str) -> None:
    found = route(**environment)
    assert found.proxy is None
    assert told in found.told


def test_the_lower_case_no_proxy_counts_alone() -> None:
    assert route(HTTPS_PROXY="http://a:1", no_proxy="x", NO_PROXY="*").proxy is not None
    assert route(HTTPS_PROXY="http://a:1", no_proxy="", NO_PROXY="*").proxy is None


@pytest.mark.parametrize("entry", ["agg.corp.example:8443", "*.corp.example", "x,*"])
def test_an_entry_that_curl_does_not_read_is_told(entry: str) -> None:
    found = route(HTTPS_PROXY="http://a:1", NO_PROXY=entry)
    assert found.proxy is not None
    assert "does not exempt it, as curl reads it" in found.told


@pytest.mark.parametrize("url", ["http://localhost:8765", "http://127.0.0.1", "http://[::1]:1/x"])
def test_plain_http_has_no_proxy_whatever_is_named(url: str) -> None:
    """Not even one that could not be used."""
    assert route(url).told == ""
    found = route(url, HTTPS_PROXY="socks5://a:1", http_proxy="http://a:1", ALL_PROXY="x")
    assert found.proxy is None
    assert "stays on this machine" in found.told


SECRET = "hunter2"
UNUSABLE = [
    ("socks5://user:hunter2@a:1080", "'socks5'"),
    ("SOCKS5H://user:hunter2@a:1080", "'socks5h'"),
    ("socks://a:1", "'socks'"),
    ("socks4a://a:1", "'socks4a'"),
    ("ftp://user:hunter2@a:1", "no http proxy"),
    ("hunter2://a:1", "no http proxy"),
    ("http://user:hunter2@a", "names no port"),
    ("user:hunter2@proxy.corp", "names no port"),
    ("http://user:hunter2#x@a:1", "not percent-encoded"),
    ("http://user:hunter2 @a:1", "not percent-encoded"),
    ("http://user:hunter2/x@a:1", "no URL"),
    ("http://user:hunter2?x@a:1", "not percent-encoded"),
    ("http://user:hünter2@a:1", "not percent-encoded"),
    ("http://user:hunter2@a:99999", "no URL"),
    ("http://user:hunter2@a:1/path", "has a path"),
    ("http://user:hunter2@:1", "names no host"),
    ("http://user:hunter2@a%62:1", "names no host"),
    ("http://user:hunter2@[fe80::1%25eth0]:1", "names no host"),
    ("http://us%3Aer:hunter2@a:1", "colon"),
    ("http://user:hunter2%0d%0aX:1@a:1", "cannot be printed"),
    ("hunter2", "names no port"),
]


@pytest.mark.parametrize(("value", "said"), UNUSABLE)
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(
    value: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as failure:
        route(HTTPS_PROXY=value)
    text = str(failure.value)
    assert said in text
    assert "HTTPS_PROXY" in text
    assert "\n" not in text
    assert SECRET not in text
    # Nor in what a traceback shows.
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__ or failure.value.__context__ is None


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co"])),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co"])),
)
def test_user_and_password_arrive_whole_and_are_never_shown(user: str, password: str) -> None:
    user = user.replace(":", "")
    named = f"http://{quote(user, safe='')}:{quote(password, safe='')}@proxy.corp:3128"
    proxy = route(HTTPS_PROXY=named).proxy
    assert proxy is not None
    assert proxy.authorization is not None
    scheme, _, encoded = proxy.authorization.partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", f"{user}:{password}")
    assert repr(proxy).startswith("Proxy(scheme='http', host='proxy.corp', port=3128")
    assert encoded not in repr(proxy) + str(proxy)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/fraudfed",
        "https://host/fraudfed/",
        "https://host:8443/one/two-2/three_3",
        "https://[2001:db8::1]/x.y~z",
        "http://127.0.0.1:8765/fraudfed",
        "https://agg.corp.example.:8443",
    ],
)
def test_urls_with_a_path_are_accepted(url: str) -> None:
    assert check_url(url) == url.removesuffix("/")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://host//fraudfed", "no '//'"),
        ("https://host/fraudfed//", "no '//'"),
        ("https://host/a//b", "no '//'"),
        ("https://host//", "no '//'"),
        ("https://host/fraud%66ed", "no '%'"),
        ("https://host/fraud%2Ffed", "no '%'"),
        ("https://host/a/../b", "'..' alone"),
        ("https://host/.", "'..' alone"),
        ("https://host/a;b=1", "letters, digits"),
        ("https://host/a:b", "letters, digits"),
        ("https://host/a b", "percent-encoded"),
        ("https://host/é", "percent-encoded"),
        ("https://127.1:8443", "neither a host name nor an address"),
        ("https://0x7f.0.0.1", "neither a host name nor an address"),
        ("https://10.0.0.256", "neither a host name nor an address"),
        ("https://a..example", "neither a host name nor an address"),
        ("https://[fe80::1%25eth0]:8443", "neither a host name nor an address"),
        ("https://ho%73t", "neither a host name nor an address"),
    ],
)
def test_urls_that_programs_on_the_way_may_change_are_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"https?://|/NAME") as failure:
        check_url(url)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_password_in_a_url_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for url in (
            "https://user:hunter2@host",
            "https://user:hunter2#@host",
            "https://user:hunter2@host:x",
            "https://[user:hunter2@host",
        ):
            with pytest.raises(ConfigurationError) as failure:
                check_url(url)
            assert SECRET not in str(failure.value)
    assert SECRET not in caplog.text
