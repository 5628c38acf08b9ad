"""The vault: sealed files open where they belong and nowhere else, behind each kind of key source.

The token is SoftHSM's, a real PKCS#11 library; without its programs these tests are skipped.
"""

import json
import pickle
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import keyring
import keyring.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend

from bank_node.vault.key_sources import (
    KeyringSource,
    KeySource,
    PassphraseSource,
    Pkcs11Source,
    Source,
)
from bank_node.vault.vault import PlainVault, SealedVault, create_vault, open_vault, source_of
from fraudfed.errors import ConfigurationError, FraudFedError, KeyMaterialError

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
_PIN = "4711"


class MemoryKeyring(KeyringBackend):
    """A keyring of this process; ``keyring`` itself finds and calls it."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def _check(self) -> None:
        if self.is_locked:
            raise keyring.errors.KeyringLocked("locked")

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        self.entries[service, username] = password


@pytest.fixture
def memory_keyring():
    before, ours = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def token(tmp_path, monkeypatch) -> Callable[[str], Pkcs11Source]:
    """Return a source behind a fresh token that holds one AES key, as its own tools make it."""
    module = next((name for name in _MODULES if Path(name).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed")
    import pkcs11

    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    label = f"bank-{secrets.token_hex(4)}"
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", label),
            *("--pin", _PIN, "--so-pin", "1234"),
        ],
        check=True,
        capture_output=True,
    )
    library = pkcs11.lib(module)
    library.reinitialize()
    with library.get_token(token_label=label).open(rw=True, user_pin=_PIN) as session:
        for name in ("fraudfed", "another"):
            session.generate_key(
                pkcs11.KeyType.AES,
                256,
                label=name,
                store=True,
                template={pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.SENSITIVE: True},
            )

    def make(key: str = "fraudfed", pin: str | None = _PIN) -> Pkcs11Source:
        return Pkcs11Source(module=module, token=label, key=key, pin=pin)

    return make


def check_source(source: Source, path: Path, passphrase: str | None) -> None:
    """Check what every source must give: the same vault again, and nothing secret written."""
    made = create_vault(path, source)
    sealed = made.seal("keys/epoch-1.key", b"a secret")
    assert b"a secret" not in sealed
    assert path.stat().st_mode & 0o777 == 0o600
    assert source_of(path) is source.kind
    again = open_vault(path, passphrase)
    assert again.unseal("keys/epoch-1.key", sealed) == b"a secret"
    assert again.source is source.kind
    for one in (made, again):
        assert one._key.hex() not in path.read_text()  # type: ignore[attr-defined]
    with pytest.raises(KeyMaterialError, match="never overwritten"):
        create_vault(path, source)
    for thing in (made, source):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        assert "secret" not in repr(thing)


def test_a_passphrase_opens_its_vault(tmp_path) -> None:
    path = tmp_path / "vault.json"
    check_source(PassphraseSource("open sesame"), path, "open sesame")
    for wrong in ("open sesam", "open sesame ", "Open sesame"):
        with pytest.raises(KeyMaterialError, match="passphrase is wrong"):
            open_vault(path, wrong)
    with pytest.raises(KeyMaterialError, match="--passphrase-file"):
        open_vault(path, None)
    with pytest.raises(KeyMaterialError, match="empty"):
        PassphraseSource("")


def test_a_keyring_opens_its_vault(tmp_path, memory_keyring) -> None:
    path = tmp_path / "vault.json"
    check_source(KeyringSource(), path, None)
    ((where, value),) = memory_keyring.entries.items()
    assert value not in path.read_text()
    memory_keyring.entries[where] = "0" * 64
    with pytest.raises(KeyMaterialError, match="another one"):
        open_vault(path, None)
    memory_keyring.entries.clear()
    with pytest.raises(KeyMaterialError, match="holds no key"):
        open_vault(path, None)
    memory_keyring.is_locked = True
    with pytest.raises(ConfigurationError, match="KeyringLocked"):
        open_vault(path, None)


def test_two_banks_share_a_keyring_and_no_entry(tmp_path, memory_keyring) -> None:
    one, two = (create_vault(tmp_path / f"{name}.json", KeyringSource()) for name in "ab")
    assert len(memory_keyring.entries) == 2
    with pytest.raises(KeyMaterialError):
        two.unseal("identity.key", one.seal("identity.key", b"x"))


def test_a_token_opens_its_vault(tmp_path, token) -> None:
    path = tmp_path / "vault.json"
    check_source(token(), path, _PIN)
    for pin in ("4712", None):
        with pytest.raises(KeyMaterialError, match="holds its PIN"):
            open_vault(path, pin)
    fields = json.loads(path.read_text())
    fields["parameters"]["key"] = "another"
    path.write_text(json.dumps(fields))
    with pytest.raises(KeyMaterialError, match="another"):
        open_vault(path, _PIN)
    with pytest.raises(KeyMaterialError, match="no key"):
        create_vault(tmp_path / "other.json", token("no key"))
    assert not (tmp_path / "other.json").exists()


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    path = tmp_path_factory.mktemp("vault") / "vault.json"
    return create_vault(path, PassphraseSource("x"))


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@given(name=names, data=st.binary(max_size=300))
def test_what_is_sealed_opens_as_itself(vault, name: str, data: bytes) -> None:
    sealed = vault.seal(name, data)
    assert vault.unseal(name, sealed) == data
    assert vault.seal(name, data) != sealed


@given(name=names, other=names, data=st.binary(max_size=100), place=st.integers(0, 10**6))
def test_what_was_changed_or_moved_does_not_open(vault, name, other, data, place) -> None:
    sealed = bytearray(vault.seal(name, data))
    if other != name:
        with pytest.raises(KeyMaterialError, match="does not open"):
            vault.unseal(other, bytes(sealed))
    sealed[place % len(sealed)] ^= 1 << place % 8
    with pytest.raises(FraudFedError):
        vault.unseal(name, bytes(sealed))


def test_nothing_falls_back(vault) -> None:
    plain = PlainVault()
    assert plain.unseal("a", plain.seal("a", b"x")) == b"x"
    with pytest.raises(KeyMaterialError, match=r"no vault\.json"):
        plain.unseal("a", vault.seal("a", b"x"))
    with pytest.raises(KeyMaterialError, match="not encrypted"):
        vault.unseal("a", b"x")


def test_control_without_the_name_a_file_opens_in_the_place_of_another(vault, monkeypatch) -> None:
    monkeypatch.setattr(SealedVault, "_cipher", lambda self, _name: _cipher(self))
    with pytest.raises(KeyMaterialError):
        vault.unseal("b", vault.seal("a", b"x"))  # the name is in the associated data as well
    monkeypatch.setattr("bank_node.vault.vault._DOMAIN", _NoName(b"d"))
    assert vault.unseal("b", vault.seal("a", b"x")) == b"x"


_original_cipher = SealedVault._cipher


def _cipher(vault: SealedVault):
    return _original_cipher(vault, "one for all")


class _NoName(bytes):
    def __add__(self, _other: bytes) -> bytes:
        return bytes(self)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.update(source="magic"),
        lambda fields: fields.update(version=2),
        lambda fields: fields.update(format="x"),
        lambda fields: fields.update(wrapped_key="xyz"),
        lambda fields: fields.update(wrapped_key=""),
        lambda fields: fields.update(parameters=None),
        lambda fields: fields["parameters"].update(log2_n=30),
        lambda fields: fields["parameters"].update(salt="00" * 16),
        lambda fields: fields["parameters"].update(salt=7),
        lambda fields: fields["parameters"].update(extra=1),
        lambda fields: fields.pop("parameters"),
        lambda fields: fields.update(source="pkcs11"),
    ],
)
def test_a_changed_vault_is_refused(tmp_path, change) -> None:
    path = tmp_path / "vault.json"
    create_vault(path, PassphraseSource("x"))
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(KeyMaterialError):
        open_vault(path, "x")


def test_a_vault_that_others_can_read_is_refused(tmp_path) -> None:
    path = tmp_path / "vault.json"
    create_vault(path, PassphraseSource("x"))
    path.chmod(0o644)
    with pytest.raises(KeyMaterialError, match="chmod 600"):
        open_vault(path, "x")


def test_without_a_vault_no_passphrase_is_taken(tmp_path) -> None:
    assert source_of(tmp_path / "vault.json") is None
    assert isinstance(open_vault(tmp_path / "vault.json", None), PlainVault)
    with pytest.raises(KeyMaterialError, match="not encrypted"):
        open_vault(tmp_path / "vault.json", "x")


def test_the_kinds_are_told_apart() -> None:
    assert {kind.value for kind in KeySource} == {"passphrase", "keyring", "pkcs11"}
