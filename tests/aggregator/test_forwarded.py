"""What proxies say of a request counts only from those that the operator trusts."""

import pytest
from federations.fake_banks import DocumentedClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aggregator.config import MAX_WAIT_SECONDS, ServiceConfig
from aggregator.guards.forwarded import Forwarded
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.store import Store

ours = Forwarded(["10.0.0.0/8", "::1"])


def environ(address: str, *, told: str | None = None, prefix: str | None = None) -> dict[str, str]:
    found = {"REMOTE_ADDR": address}
    if told is not None:
        found["HTTP_X_FORWARDED_FOR"] = told
    if prefix is not None:
        found["HTTP_X_FORWARDED_PREFIX"] = prefix
    return found


@pytest.mark.parametrize(
    ("address", "told", "sender"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("::1", "198.51.100.7", "198.51.100.7"),
        # What the sender wrote itself stands before the address that our proxy saw.
        ("10.1.2.3", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.1.2.3", "10.4.4.4, 10.9.9.9", "10.4.4.4"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.7, unknown", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.7," + "10.0.0.1," * 20 + "10.0.0.2", "10.0.0.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_the_sender_is_the_nearest_that_is_not_trusted(
    address: str, told: str | None, sender: str
) -> None:
    assert ours.sender(environ(address, told=told)) == sender
    assert Forwarded([]).sender(environ(address, told=told)) == address


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_stranger_says_nothing_about_itself(told: str, prefix: str) -> None:
    found = environ("192.0.2.1", told=told, prefix=prefix)
    assert ours.sender(found) == "192.0.2.1"
    assert ours.prefix(found) == ""


@given(st.lists(st.ip_addresses(v=4), max_size=6))
def test_a_sender_cannot_pass_for_another(claimed: list[object]) -> None:
    """Whatever it writes first, a proxy adds the address that it saw."""
    told = ", ".join([*map(str, claimed), "198.51.100.7"])
    assert ours.sender(environ("10.1.2.3", told=told)) == "198.51.100.7"


def test_control_without_a_list_of_proxies_a_sender_passes_for_any_other() -> None:
    """Trusting every address, as a proxy's header is often read, lets a stranger choose."""
    trusting = Forwarded(["0.0.0.0/0"])
    assert trusting.sender(environ("192.0.2.1", told="203.0.113.9, 198.51.100.7")) == "203.0.113.9"


@pytest.mark.parametrize(
    ("told", "prefix"),
    [
        ("/fraudfed", "/fraudfed"),
        ("/fraudfed/", "/fraudfed"),
        ("/a/b", "/a/b"),
        ("", ""),
        ("/", ""),
        ("//evil.example", ""),
        ("https://evil.example", ""),
        ("/a/../b", ""),
        ("/a%2fb", ""),
        ("/a\r\nSet-Cookie: b", ""),
    ],
)
def test_a_prefix_is_one_or_none(told: str, prefix: str) -> None:
    assert ours.prefix(environ("10.1.2.3", prefix=told)) == prefix


def test_settings_name_networks() -> None:
    assert ServiceConfig(trusted_proxies=("10.0.0.0/8", "::1")).trusted_proxies
    for wrong in ("10.0.0.1/8", "proxy.example", ""):
        with pytest.raises(ValidationError, match="address"):
            ServiceConfig(trusted_proxies=(wrong,))


def test_the_api_document_of_a_service_under_a_path(store: Store) -> None:
    for prefix, url in (("", "/"), ("/fraudfed", "/fraudfed")):
        app = create_app(ServiceConfig(path_prefix=prefix), store, Waiters())
        answer = DocumentedClient.__new__(DocumentedClient)
        answer._app = app
        found = answer("GET", f"{prefix}/v1/openapi.json", check=False).json()
        assert found["servers"] == [{"url": url}]


def test_a_wait_is_no_longer_than_the_setting(store: Store) -> None:
    assert ServiceConfig().max_wait_seconds == MAX_WAIT_SECONDS == 30
    with pytest.raises(ValidationError):
        ServiceConfig(max_wait_seconds=31)
