"""Mutated messages: each is read as a message of its class or refused by one clear error."""

import inspect
import json

import pytest
from examples.messages import EXAMPLES, mutated_bytes, mutated_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.errors import ProtocolError
from fraudfed.wire import frames, messages
from fraudfed.wire.messages import FrameHeader, Message, parse

HEADER = EXAMPLES[FrameHeader]
PAYLOAD = bytes(range(16))

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


def read(cls: type[Message], data: bytes) -> Message | None:
    """Parse as a server does: a message, or one error of the protocol, on one line."""
    try:
        return parse(cls, data, source="request body")
    except ProtocolError as refusal:
        text = str(refusal)
        assert "\n" not in text
        assert text.startswith("request body: ")
        assert len(text) < 600
        return None


def test_there_is_an_example_of_every_message() -> None:
    classes = {
        cls
        for _, cls in inspect.getmembers(messages, inspect.isclass)
        if issubclass(cls, Message) and cls is not Message
    }
    assert classes == set(EXAMPLES)
    for cls, example in EXAMPLES.items():
        assert read(cls, example.model_dump_json().encode()) == example


@pytest.mark.parametrize("cls", sorted(EXAMPLES, key=lambda cls: cls.__name__))
def test_mutated_messages_are_parsed_or_refused(cls: type[Message]) -> None:
    example = EXAMPLES[cls]
    original = json.loads(example.model_dump_json())
    seen: list[bool] = []

    @quick
    @given(st.data())
    def law(data: st.DataObject) -> None:
        changed = data.draw(mutated_json(original))
        found = read(cls, json.dumps(changed).encode())
        seen.append(found is None)
        if found is not None:
            # What is accepted is understood in full: nothing of it is dropped on the way.
            assert read(cls, found.model_dump_json().encode()) == found
            if isinstance(changed, dict):
                assert set(changed) <= set(cls.model_fields)

    law()
    assert any(seen)


@pytest.mark.parametrize("cls", sorted(EXAMPLES, key=lambda cls: cls.__name__))
def test_mutated_text_of_messages_is_parsed_or_refused(cls: type[Message]) -> None:
    original = EXAMPLES[cls].model_dump_json().encode()

    @quick
    @given(mutated_bytes(original))
    def law(data: bytes) -> None:
        found = read(cls, data)
        if found is not None:
            assert read(cls, found.model_dump_json().encode()) == found

    law()


@settings(max_examples=400, deadline=None)
@given(mutated_bytes(frames.encode(HEADER, PAYLOAD)))
def test_mutated_frames_are_refused(data: bytes) -> None:
    try:
        header, payload = frames.decode(data, source="request body")
    except ProtocolError:
        return
    # The few that pass are frames in their own right, of exactly the announced length.
    assert len(payload) == header.count * header.item_bytes or header.item_bytes == 0
    assert frames.decode(frames.encode(header, payload), source="x") == (header, payload)


@settings(max_examples=200, deadline=None)
@given(mutated_bytes(frames.encode_many([frames.encode(HEADER, PAYLOAD)] * 3)))
def test_mutated_lists_of_frames_are_refused(data: bytes) -> None:
    try:
        found = frames.decode_many(data, source="answer")
    except ProtocolError:
        return
    assert sum(len(frames.encode(h, p)) for h, p in found) <= len(data) + 8 * len(found)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"name":' * 5_000,
        b"\xff\xfe{\x00}\x00",
        b'{"name": "\\ud800"}',
        b"1" * 100_000,
        b'{"name": 1e400}',
        b"NaN",
    ],
)
def test_hostile_json_is_refused(text: bytes) -> None:
    for cls in EXAMPLES:
        assert read(cls, text) is None
