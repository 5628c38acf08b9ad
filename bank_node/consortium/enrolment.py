"""``join``: a bank makes its keys and becomes a member of the consortium, once.

The keys are on disk before they are announced, so that an answer that is lost, or a program that is
killed, costs nothing: the same command finishes what was begun, with the same keys.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from bank_node.approval_rules import ApprovalRules
from bank_node.config import BankConfig, CohortRules, TlsFiles
from bank_node.consortium.connection import open_connection
from bank_node.consortium.members import observe_roster
from bank_node.http.transport import read_tls_files
from bank_node.state.directory import StateDirectory
from bank_node.vault.key_sources import Source
from fraudfed.consortium.identity import Identity
from fraudfed.errors import ConfigurationError, ProtocolError, StateError
from fraudfed.http.address import check_url
from fraudfed.wire.messages import BankRegistration

_log = logging.getLogger(__name__)

#: Every run needs a person.
NO_APPROVAL = ApprovalRules()


def enrol(
    path: Path,
    *,
    name: str,
    url: str,
    invite: str,
    passphrase: str | None,
    source: Callable[[], Source] | None,
    rules: CohortRules,
    tls: TlsFiles,
    approval: ApprovalRules = NO_APPROVAL,
) -> StateDirectory:
    """Make the state directory of a bank, or take up one that is not registered; register it.

    Parameters
    ----------
    path : Path
        State directory; new, empty, or left behind by an earlier attempt.
    name, url, invite : str
    passphrase : str or None
        Opens the vault of a directory that is there already; the token's PIN.
    source : callable or None
        Returns where the key is that encrypts what is secret; called for a new directory only.
        None does not encrypt.
    rules, tls, approval
        Go into a new ``bank.toml``; an existing one keeps its own.

    Raises
    ------
    ConfigurationError
        If URL, invite or a TLS file is unusable; nothing was made then.
    StateError
        If the directory belongs to another bank or another aggregator.
    ForbiddenError
        If the invite is unknown, used by other keys, or expired.
    ConflictError
        If the name belongs to other keys.
    """
    url = check_url(url)
    if url.startswith("https:"):
        read_tls_files(tls)
    if StateDirectory.exists(path):
        state = StateDirectory(path)
        _require_same(state, name=name, url=url)
    else:
        identity = Identity.generate()
        public = identity.public
        _registration(name, invite, public.signing_key, public.agreement_key)
        config = BankConfig(
            name=name,
            aggregator=url,
            signing_key=public.signing_key,
            agreement_key=public.agreement_key,
            rules=rules,
            approval=approval,
            tls=tls,
        )
        state = StateDirectory.create(
            path, config, identity, source=None if source is None else source()
        )
        _log.info("made keys for bank %s in %s", name, path)
    with state.locked(), open_connection(state, passphrase) as connection:
        config, client = state.config, connection.client
        if not config.registered:
            announced = connection.identity.member(name)
            answer = client.register(
                _registration(name, invite, announced.signing_key, announced.agreement_key)
            )
            if answer != announced:
                raise ProtocolError(
                    f"{client.url}: registered bank {answer.name!r} with other keys than this "
                    "bank's; the aggregator is at fault, do not work with it"
                )
            # As first seen: an aggregator that changes its key later shows.
            audit_key = client.audit_key().audit_key
            state.save_config(
                config.model_copy(update={"registered": True, "audit_key": audit_key})
            )
            _log.info("registered as %s at %s", name, url)
        observe_roster(state, client)
    return state


def _require_same(state: StateDirectory, *, name: str, url: str) -> None:
    config = state.config
    if (config.name, config.aggregator) != (name, url):
        raise StateError(
            f"{state.path}: is the state directory of bank {config.name} at {config.aggregator}, "
            f"got {name} at {url}; use another directory for another bank or aggregator"
        )


def _registration(name: str, invite: str, signing_key: str, agreement_key: str) -> BankRegistration:
    try:
        return BankRegistration(
            name=name, invite=invite, signing_key=signing_key, agreement_key=agreement_key
        )
    except ValidationError:
        # Not repeated: it may be a good code with a slip of the keyboard.
        raise ConfigurationError(
            "--invite is no invitation code; copy the code that the operator's invitation holds"
        ) from None
