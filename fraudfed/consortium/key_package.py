"""The key package of a consortium: one Paillier private key and one shared secret.

Every bank of the consortium holds the same package; the aggregator holds none of it. The file is
JSON that only its owner may read. It is not encrypted: a reader can open every sum.
"""

import hashlib
import json
import re
import secrets
from pathlib import Path
from typing import Any

from fraudfed.consortium.private_reading import MAXIMUM_BYTES, read_private_file
from fraudfed.durable_file import write_new
from fraudfed.errors import KeyMaterialError, StateError
from fraudfed.foreign_json import parse_foreign
from fraudfed.paillier.keys import DEFAULT_KEY_BITS, MAXIMUM_KEY_BITS, PublicKey
from fraudfed.paillier.pheutil import is_pheutil_private_key, read_pheutil_private_key
from fraudfed.paillier.private_key import PrivateKey

#: Raised when the meaning of the file changes.
FORMAT_VERSION = 1
#: Of the consortium secret, the input of every HKDF.
SECRET_BYTES = 32

_FORMAT = "fraudfed key package"
#: Of N^2, the largest number of a package, in hexadecimal digits.
_MOST_DIGITS = 2 * MAXIMUM_KEY_BITS // 4
_NUMBER = re.compile(f"[0-9a-f]{{1,{_MOST_DIGITS}}}")
_FINGERPRINT = re.compile(r"[0-9a-f]{4}( [0-9a-f]{4}){7}")
_SECRET = re.compile(f"[0-9a-f]{{{2 * SECRET_BYTES}}}")
_FINGERPRINT_DOMAIN = b"fraudfed key package v1\0"


class KeyPackage:
    """Private key and secret of a consortium. Never printed, pickled, copied, compared or logged.

    Parameters
    ----------
    private_key : PrivateKey
    secret : bytes of length 32

    Raises
    ------
    KeyMaterialError
        If the secret has another length.
    """

    __slots__ = ("_private_key", "_secret")

    def __init__(self, private_key: PrivateKey, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise KeyMaterialError(
                f"consortium secret has {len(secret)} bytes, expected {SECRET_BYTES}; "
                "make the key package with `bank-node keys create`"
            )
        self._private_key = private_key
        self._secret = secret

    @classmethod
    def generate(
        cls, key_bits: int = DEFAULT_KEY_BITS, *, insecure_allow_small_key: bool = False
    ) -> "KeyPackage":
        """Make a new key and a new secret from the operating system's randomness."""
        private_key = PrivateKey.generate(
            key_bits, insecure_allow_small_key=insecure_allow_small_key
        )
        return cls(private_key, secrets.token_bytes(SECRET_BYTES))

    @property
    def private_key(self) -> PrivateKey:
        """The Paillier private key."""
        return self._private_key

    @property
    def public_key(self) -> PublicKey:
        """The Paillier public key."""
        return self._private_key.public

    def expose_secret(self) -> bytes:
        """Return the consortium secret; search for this name to find every use of it."""
        return self._secret

    @property
    def fingerprint(self) -> str:
        """Eight groups of four hexadecimal digits, to be read out loud and compared.

        They cover the public key and (hashed) the secret, and betray neither: 128 bits of SHA-256.
        """
        digest = hashlib.sha256(_FINGERPRINT_DOMAIN)
        digest.update(bytes.fromhex(self.public_key.fingerprint))
        digest.update(hashlib.sha256(_FINGERPRINT_DOMAIN + self._secret).digest())
        text = digest.hexdigest()[:32]
        return " ".join(text[start : start + 4] for start in range(0, len(text), 4))

    def __repr__(self) -> str:
        return f"<KeyPackage {self.fingerprint}>"

    def __reduce__(self) -> str:
        raise TypeError("a key package cannot be pickled or copied; use save and load")

    def __getstate__(self) -> object:
        raise TypeError("a key package cannot be pickled or copied; use save and load")

    def expose_bytes(self, *, source: str = "key package") -> bytes:
        """Return the package as JSON text: what ``save`` writes and a key ceremony seals.

        Raises
        ------
        KeyMaterialError
            If the key is a plain Paillier key.
        """
        public = self.public_key
        if public.hs is None or public.alpha_bits is None:
            raise KeyMaterialError(
                f"{source}: a plain Paillier key cannot be saved as a key package; make one with "
                "`bank-node keys create`"
            )
        fields: dict[str, Any] = {
            "format": _FORMAT,
            "version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "alpha_bits": public.alpha_bits,
            "hs": format(public.hs, "x"),
            **{k: format(v, "x") for k, v in self._private_key.expose_secret_parts().items()},
            "secret": self._secret.hex(),
        }
        return json.dumps(fields, indent=1).encode() + b"\n"

    def save(self, path: Path) -> None:
        """Write the package to a new file that only its owner may read (mode 0600), atomically.

        Raises
        ------
        KeyMaterialError
            If the file exists already (a lost key package makes its ciphertexts unreadable), if it
            cannot be written, or if the key is a plain Paillier key.
        """
        try:
            write_new(path, self.expose_bytes(source=str(path)))
        except FileExistsError:
            raise KeyMaterialError(
                f"{path}: file exists and a key package is never overwritten; choose another "
                "name or move the old file away"
            ) from None
        except StateError as error:
            raise KeyMaterialError(str(error)) from error

    @classmethod
    def load(cls, path: Path, *, insecure_allow_small_key: bool = False) -> "KeyPackage":
        """Read a key package, or a pheutil private key file (which gets a fresh secret).

        Raises
        ------
        KeyMaterialError
            If the file is missing, unreadable, readable by others than its owner, of another
            format or version, damaged, or holds too small a key.
        """
        data = read_private_file(
            path,
            what="key package",
            hint="get the consortium's with `bank-node keys accept`",
        )
        text = data.decode("ascii", errors="replace")
        if is_pheutil_private_key(text):
            private_key = read_pheutil_private_key(
                text, source=str(path), insecure_allow_small_key=insecure_allow_small_key
            )
            return cls(private_key, secrets.token_bytes(SECRET_BYTES))
        return cls.from_bytes(
            data, source=str(path), insecure_allow_small_key=insecure_allow_small_key
        )

    @classmethod
    def from_bytes(
        cls, data: bytes, *, source: str, insecure_allow_small_key: bool = False
    ) -> "KeyPackage":
        """Read what ``expose_bytes`` returned, and nothing else; ``source`` is for the error text.

        Raises
        ------
        KeyMaterialError
            As ``load``.
        """
        try:
            fields = parse_foreign(data, most_bytes=MAXIMUM_BYTES)
        except ValueError as error:
            raise _not_a_package(source, str(error)) from None
        if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
            raise _not_a_package(source, "it has another format")
        if fields.get("version") != FORMAT_VERSION:
            raise KeyMaterialError(
                f"{source}: key package is of another version than {FORMAT_VERSION}, which this "
                "program reads; use the fraudfed release that made it"
            )
        names = ("P", "Q", "p", "q", "hs")
        # A steward may have sealed anything: text of another form never becomes a number.
        if (
            not all(_is_of(_NUMBER, fields.get(name)) for name in names)
            or not _is_of(_SECRET, fields.get("secret"))
            or not _is_of(_FINGERPRINT, fields.get("fingerprint"))
            or type(fields.get("alpha_bits")) is not int
        ):
            # What is in the file is secret: the message quotes nothing of it.
            raise _not_a_package(source, "a field is missing or malformed")
        numbers = {name: int(fields[name], 16) for name in names}
        try:
            package = cls(
                PrivateKey.from_primes(
                    numbers["P"],
                    numbers["Q"],
                    p=numbers["p"],
                    q=numbers["q"],
                    hs=numbers["hs"],
                    alpha_bits=fields["alpha_bits"],
                    insecure_allow_small_key=insecure_allow_small_key,
                ),
                bytes.fromhex(fields["secret"]),
            )
        except KeyMaterialError as error:
            raise KeyMaterialError(f"{source}: {error}") from None
        if package.fingerprint != fields["fingerprint"]:
            raise KeyMaterialError(
                f"{source}: key package has fingerprint {package.fingerprint}, the file says "
                f"{fields['fingerprint']}; it is damaged, take another copy"
            )
        return package


def _is_of(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _not_a_package(source: str, reason: str) -> KeyMaterialError:
    return KeyMaterialError(
        f"{source}: not a key package ({reason}); expected the file that `bank-node keys accept` "
        "writes"
    )
