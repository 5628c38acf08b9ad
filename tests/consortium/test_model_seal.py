"""A sealed model: the same bytes from every member, nothing for anybody else."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.consortium.model_seal import SEAL_OVERHEAD_BYTES, open_model, seal_model
from fraudfed.errors import KeyMaterialError


class Holder:
    """Somebody with a consortium secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def expose_secret(self) -> bytes:
        return self._secret


MEMBER = Holder(bytes(range(32)))


@settings(max_examples=50)
@given(model=st.binary(max_size=300), run_id=st.text("abc-_0", min_size=1, max_size=9))
def test_every_member_seals_the_same_bytes_and_opens_them(model: bytes, run_id: str) -> None:
    sealed = seal_model(model, holder=MEMBER, run_id=run_id)
    assert seal_model(model, holder=Holder(bytes(range(32))), run_id=run_id) == sealed
    assert len(sealed) == len(model) + SEAL_OVERHEAD_BYTES
    assert open_model(sealed, holder=MEMBER, run_id=run_id) == model
    assert len(model) < 8 or model not in sealed


@settings(max_examples=50)
@given(data=st.data())
def test_nothing_opens_after_a_byte_is_changed(data: st.DataObject) -> None:
    sealed = bytearray(seal_model(b'{"learner": 1}', holder=MEMBER, run_id="r"))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(KeyMaterialError, match="does not open"):
        open_model(bytes(sealed), holder=MEMBER, run_id="r")


def test_another_run_secret_or_length_does_not_open() -> None:
    sealed = seal_model(b"model", holder=MEMBER, run_id="r")
    for holder, run_id, content in (
        (Holder(bytes(32)), "r", sealed),
        (MEMBER, "q", sealed),
        (MEMBER, "r", sealed[:-1]),
        (MEMBER, "r", b""),
        (MEMBER, "r", sealed[:12]),
    ):
        with pytest.raises(KeyMaterialError, match="does not open"):
            open_model(content, holder=holder, run_id=run_id)


def test_models_and_runs_do_not_share_nonce_and_key() -> None:
    first = seal_model(b"model 1", holder=MEMBER, run_id="r")
    second = seal_model(b"model 2", holder=MEMBER, run_id="r")
    other = seal_model(b"model 1", holder=MEMBER, run_id="q")
    assert first[:12] != second[:12]
    assert first[12:] != other[12:]


def test_the_bytes_never_change_their_meaning() -> None:
    sealed = seal_model(b"model", holder=MEMBER, run_id="r")
    assert hashlib.sha256(sealed).hexdigest() == (
        "32cc353d7915910b73b3b9a0211814800b94276e291712b947760bbd2620b856"
    )
