"""A bank as a process of its own that does one secure sum, to be killed within it.

Usage: ``python -m tests.support.revealing_child URL RUN BANK DIRECTORY SEED``. The directory holds
``package.key``, ``BANK.identity``, ``members.json`` and the bank's outbox. It prints the SHA-256 of
the sum.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from attack_kit.sums import BOUND, make_parts
from examples.ledgers import OpenGate
from federations.live_cohort import LABEL, make_client, make_communicator

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import MemberKeys


def main(url: str, run_id: str, name: str, work: Path, seed: int) -> None:
    """Sum this bank's part with the others."""
    members = [MemberKeys(**one) for one in json.loads((work / "members.json").read_text())]
    path = work / f"{name}.identity"
    identity = Identity.from_bytes(path.read_bytes(), source=str(path))
    client = make_client(name, identity, url, work)
    communicator = make_communicator(
        name,
        client,
        run_id=run_id,
        package=KeyPackage.load(work / "package.key", insecure_allow_small_key=True),
        identity=identity,
        members=members,
        work=work,
        timeout=30.0,
        gate=OpenGate(),
    )
    place = sorted(member.name for member in members).index(name)
    part = make_parts(len(members), seed)[place]
    total = communicator.sum(part, bound=BOUND, label=LABEL)
    print(hashlib.sha256(np.ascontiguousarray(total).tobytes()).hexdigest(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]), int(sys.argv[5]))
