"""What the aggregator is sent, stores and holds: no plaintext statistic, no key.

Every statistic of the run is known here, because training is deterministic: the same banks in one
process give the same sums. Each is searched in every encoding that a careless program would use.
The searches are shown to find what they look for, so that "not found" means something.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from attack_kit.searching import encodings, found
from federations.watched import WatchedRun

from fraudfed.dtypes import Int64Array
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameKind

pytestmark = pytest.mark.e2e


def packed_plaintexts(run: WatchedRun) -> list[bytes]:
    """Return the packed, unencrypted plaintexts: what a forgotten encryption would send."""
    public = run.key_package.public_key
    packed = []
    for statistic in run.statistics:
        layout = SlotLayout.for_bounds(
            statistic.bound,
            statistic.values.shape,
            low=statistic.low,
            plaintext_bits=public.plaintext_bits,
        )
        for plaintext in layout.join(layout.flat(statistic.values)):
            text = (int(plaintext) % public.n).to_bytes(public.plaintext_bytes, "big")
            # The header in the lowest 120 bits depends on the context; the slots do not.
            text = text[: -HEADER_BITS // 8]
            # One that is mostly zeros says nothing, and may be found anywhere.
            if len(set(text)) > 40:
                packed.append(text)
    return packed


def telling(run: WatchedRun) -> list[Int64Array]:
    vectors = [s.values for s in run.statistics] + [s.total for s in run.statistics]
    return [vector for vector in vectors if vector.size >= 8]


def needles(run: WatchedRun) -> list[bytes]:
    return [needle for vector in telling(run) for needle in encodings(vector, 8)]


def joined(parts: Iterable[bytes]) -> bytes:
    """Put something between the parts that is in none."""
    return b"\n#\n".join(parts)


def test_there_is_something_to_find(watched_run: WatchedRun) -> None:
    wanted = needles(watched_run)
    assert len(wanted) > 100
    planted = [b"header" + vector.tobytes() for vector in telling(watched_run)]
    assert len(found(joined(planted), wanted)) >= len(wanted) // 20
    assert len(packed_plaintexts(watched_run)) > 50
    kinds = {statistic.label.partition(":")[0] for statistic in watched_run.statistics}
    assert {"rows", "cuts", "histogram"} <= kinds


def test_no_request_holds_a_plaintext_statistic(watched_run: WatchedRun) -> None:
    everything = [part for each in watched_run.capture.exchanges for part in (each.head, each.body)]
    assert len(everything) > 40
    wanted = needles(watched_run) + packed_plaintexts(watched_run)
    assert not found(joined(everything), wanted)


def test_the_database_holds_no_plaintext_statistic(watched_run: WatchedRun) -> None:
    stored = joined(watched_run.stored())
    assert found(stored, [watched_run.run_id.encode()])
    assert not found(stored, needles(watched_run) + packed_plaintexts(watched_run))


def test_every_binary_body_is_ciphertext_or_a_sealed_box(watched_run: WatchedRun) -> None:
    public = watched_run.key_package.public_key
    contributions = openings = 0
    for exchange in watched_run.capture.exchanges:
        if exchange.method != "POST" or "/rounds/" not in exchange.path:
            continue
        header, payload = frames.decode(exchange.body, source="capture")
        if header.kind is FrameKind.CONTRIBUTION:
            contributions += 1
            assert header.item_bytes == public.ciphertext_bytes
            numbers = [
                int.from_bytes(payload[start : start + header.item_bytes], "big")
                for start in range(0, len(payload), header.item_bytes)
            ]
            # Above n: not a bare plaintext, and not one with trivial noise (1 + m n has no noise).
            assert all(public.n < number < public.n_squared for number in numbers)
            assert all(number % public.n != 1 for number in numbers)
            assert len(set(numbers)) == len(numbers)
        else:
            assert header.kind is FrameKind.OPENING
            openings += 1
            # A sealed box looks random: about 8 bits of entropy per byte once it is long enough.
            if len(payload) >= 2048:
                counts = np.bincount(np.frombuffer(payload, dtype=np.uint8), minlength=256)
                expected = len(payload) / 256
                assert ((counts - expected) ** 2 / expected).sum() < 400
    rounds = {statistic.label for statistic in watched_run.statistics}
    assert contributions == openings == 3 * len(rounds)


def secrets_of(run: WatchedRun) -> dict[str, list[bytes]]:
    """Return the private key and the consortium secret in the forms a process could hold."""
    parts = run.key_package.private_key.expose_secret_parts()
    forms = {}
    for name, value in parts.items():
        size = (value.bit_length() + 7) // 8
        forms[name] = [
            value.to_bytes(size, "big"),
            value.to_bytes(size, "little"),
            format(value, "x").encode(),
            str(value).encode(),
        ]
    secret = run.key_package.expose_secret()
    forms["secret"] = [secret, secret.hex().encode()]
    return forms


def test_no_private_key_is_in_the_aggregators_reach(watched_run: WatchedRun) -> None:
    pid = watched_run.aggregator_pid
    surroundings = joined(
        [
            Path(f"/proc/{pid}/environ").read_bytes(),
            Path(f"/proc/{pid}/cmdline").read_bytes(),
            *watched_run.stored(),
            *(exchange.body for exchange in watched_run.capture.exchanges),
        ]
    )
    public = format(watched_run.key_package.public_key.n, "x").encode()
    assert found(surroundings, [public]), "the search does not even find the public key"
    for name, forms in secrets_of(watched_run).items():
        assert not found(surroundings, forms), f"{name} is in the aggregator's reach"


def test_no_private_key_is_in_the_aggregators_memory(watched_run: WatchedRun) -> None:
    public = watched_run.key_package.public_key.n
    limbs = public.to_bytes((public.bit_length() + 7) // 8, "little")
    wanted = secrets_of(watched_run)
    seen_public = False
    leaked = set()
    try:
        for region in watched_run.memory():
            seen_public = seen_public or limbs in region
            leaked |= {n for n, forms in wanted.items() if any(form in region for form in forms)}
    except PermissionError:
        pytest.skip("this system does not let a parent read its child's memory")
    assert seen_public, "the search does not even find the public modulus"
    assert not leaked


def test_the_aggregator_cannot_import_its_way_to_a_key() -> None:
    """Importing the whole service loads no module that handles keys, rows or models."""
    program = (
        "import sys, aggregator.cli, aggregator.service.app, aggregator.service.server;"
        "print([m for m in sys.modules if m.startswith('fraudfed.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = ast.literal_eval(done.stdout)
    assert "fraudfed.paillier.vector" in loaded
    forbidden = ("boosting", "features", "evaluation", "secure_sum", "federation", "demo", "bench")
    assert not [m for m in loaded if m.split(".")[1] in forbidden]
    secret = ("identity", "key_ceremony", "key_package", "model_seal", "private_reading", "roster")
    assert not {f"fraudfed.consortium.{name}" for name in secret} & set(loaded)
    assert "fraudfed.paillier.private_key" not in loaded
