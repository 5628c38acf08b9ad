"""The same question gets the same answer: what was answered, by transaction.

Within a process the last answers are in memory. Before that there is the decision log: the answer
is made again of what it keeps.
"""

import hashlib
import threading
from collections import OrderedDict

from bank_node.service.messages import Answer, SentPayment
from fraudfed.errors import ConflictError

#: Answers in memory, about 2 kB each.
MOST_ANSWERS = 20_000
_N_LOCKS = 64


class PastAnswers:
    """The last answers. Safe to use from many threads."""

    def __init__(self, *, most: int = MOST_ANSWERS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[bytes, Answer]] = OrderedDict()
        self._locks = [threading.Lock() for _ in range(_N_LOCKS)]

    def lock_of(self, transaction_id: str) -> threading.Lock:
        """Return what is held while a transaction is answered: twice at once is once."""
        return self._locks[hash(transaction_id) % _N_LOCKS]

    def find(self, sent: SentPayment) -> Answer | None:
        """Return the answer to the same payment.

        Raises
        ------
        ConflictError
            If its identifier was answered with other content.
        """
        with self._lock:
            found = self._answers.get(sent.transaction_id)
        if found is None:
            return None
        if found[0] != _content(sent):
            raise other_content(sent.transaction_id)
        return found[1]

    def keep(self, sent: SentPayment, answer: Answer) -> None:
        """Keep an answer; the oldest one goes."""
        with self._lock:
            self._answers[sent.transaction_id] = (_content(sent), answer)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)


def other_content(transaction_id: str) -> ConflictError:
    """Return the error of a transaction that comes again as another payment."""
    return ConflictError(
        f"transaction {transaction_id!r}: was answered with other content, expected the same "
        "payment again or a new transaction_id"
    )


def _content(sent: SentPayment) -> bytes:
    return hashlib.blake2b(sent.model_dump_json().encode(), digest_size=16).digest()
