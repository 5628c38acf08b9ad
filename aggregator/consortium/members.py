"""The members: invitations, registered banks with their keys, and the roster.

Law: a name always means one pair of keys. A bank that left may come back with a new invitation
and the same keys; with other keys it needs another name. So every signature on record can be
checked as long as the database exists.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, or_, select
from sqlalchemy.orm import Session

from aggregator.audit.log import AuditTrail
from aggregator.caller import Caller
from aggregator.consortium.key_epochs import retire_epochs
from aggregator.consortium.replay import insert_nonce
from aggregator.consortium.tokens import hash_secret, new_secret
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import BankRow, InviteRow, RemovalRow
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.consortium.public.documents import check_member_keys, verify_removal
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.errors import ConflictError, ForbiddenError, NotFoundError, ProtocolError
from fraudfed.wire.messages import (
    BankRegistration,
    Invite,
    InviteRequest,
    MemberKeys,
    MemberRemoval,
    Roster,
)

_REMOVED_AT = Statement(select(BankRow.removed_at).where(BankRow.name == bindparam("of_bank")))


@dataclass(frozen=True)
class SignedNonce:
    """Nonce of a checked signature, and when the signature is stale (epoch seconds)."""

    nonce: str
    expires_at: int


def current_members(session: Session) -> tuple[MemberKeys, ...]:
    """Return the members now, sorted by name."""
    rows = session.scalars(select(BankRow).where(BankRow.removed_at.is_(None)))
    return tuple(sorted((_keys(row) for row in rows), key=lambda keys: keys.name))


class Members:
    """Invitations and members of one aggregator. Safe to use from many threads."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail
        self._known_keys: dict[str, str] = {}

    def roster(self) -> Roster:
        """Return the members now, and every removal that a member has signed."""
        return self._database.transaction("roster", Kind.READ, lambda read: _roster(read.session))

    def signing_key(self, name: str) -> str:
        """Return the signing key of a bank; raises ForbiddenError for an unknown name."""
        known = self.known_key(name)
        if known is None:
            raise ForbiddenError(f"{name} is no bank of this aggregator")
        return known

    def known_key(self, name: str) -> str | None:
        """Return the signing key of a bank, also of one that left; None for an unknown name."""
        # A name always means the same key, so what was found once stays true.
        known = self._known_keys.get(name)
        if known is None:
            query = select(BankRow.signing_key).where(BankRow.name == name)
            known = self._database.transaction(
                "signing-key", Kind.READ, lambda read: read.connection.scalar(query)
            )
            if known is not None:
                self._known_keys[name] = known
        return known

    def require_member(self, connection: Connection, name: str) -> None:
        """Raise ``ForbiddenError`` for a bank that was removed."""
        found = _REMOVED_AT.row(connection, {"of_bank": name})
        if found is None or found[0] is not None:
            raise ForbiddenError(
                f"bank {name!r} was removed from this consortium; ask the operator for a new "
                "invitation"
            )

    def invite(self, wanted: InviteRequest, caller: Caller) -> Invite:
        """Make an invitation for one bank; its code is shown this once.

        Raises
        ------
        ConflictError
            If the bank is a member.
        """
        now = int(time.time())
        code = new_secret()
        expires_at = now + wanted.valid_seconds

        def invite(written: Transaction) -> None:
            row = written.session.get(BankRow, wanted.name)
            if row is not None and row.removed_at is None:
                raise ConflictError(
                    f"bank {wanted.name!r} is a member already; remove it first, or choose another "
                    "name"
                )
            written.session.add(
                InviteRow(
                    code_sha256=hash_secret(code),
                    bank=wanted.name,
                    created_at=now,
                    expires_at=expires_at,
                )
            )
            detail = f"valid for {wanted.valid_seconds} s"
            self._trail.note(written, caller, "invite", f"bank/{wanted.name}", detail)

        self._database.transaction("invite-bank", Kind.WRITE, invite)
        return Invite(name=wanted.name, code=code, expires_at=expires_at)

    def register(self, wanted: BankRegistration, caller: Caller, signed: SignedNonce) -> MemberKeys:
        """Make an invited bank a member; the same again changes nothing.

        The caller of this method has checked the request's signature with the announced key.

        Raises
        ------
        KeyMaterialError
            If a key is of a kind that identifies nobody.
        ForbiddenError
            If the invitation is unknown, for another bank, used or expired.
        ConflictError
            If the name belongs to other keys, or a key to another name.
        AuthError
            If the request was seen before.
        """
        keys = MemberKeys(
            name=wanted.name, signing_key=wanted.signing_key, agreement_key=wanted.agreement_key
        )
        check_member_keys(keys)
        now = int(time.time())

        def register(written: Transaction) -> None:
            session = written.session
            invite = _invite(session, wanted)
            row = session.get(BankRow, wanted.name)
            is_member = row is not None and row.removed_at is None and _keys(row) == keys
            if invite.used_at is not None:
                if not is_member:
                    raise ForbiddenError(
                        f"invitation of bank {wanted.name!r} was used before; ask the operator for "
                        "a new one"
                    )
            elif invite.expires_at <= now:
                raise ForbiddenError(
                    f"invitation of bank {wanted.name!r} has expired {now - invite.expires_at} s "
                    "ago; ask the operator for a new one"
                )
            # Only now: without an invitation, nothing that is sent is stored.
            insert_nonce(
                written.connection, wanted.name, signed.nonce, expires_at=signed.expires_at
            )
            if is_member:
                # The answer to the first one was lost.
                invite.used_at = invite.used_at or now
                return
            _admit(session, row, keys, now)
            invite.used_at = now
            retire_epochs(session, now)
            # The fingerprint is what the other banks will be read out over the phone.
            shown = fingerprint(keys.name, keys.signing_key, keys.agreement_key)
            detail = f"fingerprint {shown}"
            self._trail.note(written, caller, "registration", f"bank/{keys.name}", detail)

        self._database.transaction("register-bank", Kind.WRITE, register)
        return keys

    def sign_removal(self, name: str, wanted: MemberRemoval, caller: Caller) -> Roster:
        """Store a member's signature that another one has left; the same again changes nothing.

        Whether there are enough is each bank's to decide; nothing changes here.

        Raises
        ------
        ForbiddenError
            If the caller is not the signer.
        ProtocolError
            If it is of another bank than its address says.
        NotFoundError
            If there never was such a bank.
        ConflictError
            If the bank has other keys here.
        KeyMaterialError
            If the signature is wrong, or the bank would remove itself.
        """
        if wanted.signer != caller.bank:
            raise ForbiddenError(
                f"removal of bank {name!r} is signed by {wanted.signer!r}, but {caller.name!r} "
                "sent it"
            )
        if wanted.removed.name != name:
            raise ProtocolError(
                f"removal of bank {wanted.removed.name!r} was sent to bank {name!r}"
            )

        def sign(written: Transaction) -> Roster:
            session = written.session
            removed, signer = session.get(BankRow, name), session.get(BankRow, wanted.signer)
            if removed is None or signer is None:
                raise NotFoundError(f"there is no bank {name!r} here; list the banks to see")
            if _keys(removed) != wanted.removed:
                raise ConflictError(
                    f"removal of bank {name!r} names other keys than it has at this aggregator; "
                    "read the roster again"
                )
            verify_removal(wanted, signer.signing_key)
            if session.get(RemovalRow, (name, wanted.signer)) is None:
                session.add(
                    RemovalRow(
                        removed=name,
                        signer=wanted.signer,
                        signature=wanted.signature,
                        signed_at=int(time.time()),
                    )
                )
                session.flush()
                detail = "a member says that it has left"
                self._trail.note(written, caller, "member-removal", f"bank/{name}", detail)
            return _roster(session)

        return self._database.transaction("sign-removal", Kind.WRITE, sign)

    def remove(self, name: str, caller: Caller) -> Roster:
        """End a membership; return the members left. A bank that left already stays so.

        Raises
        ------
        NotFoundError
            If there never was such a bank.
        """
        now = int(time.time())

        def remove(written: Transaction) -> Roster:
            row = written.session.get(BankRow, name)
            if row is None:
                raise NotFoundError(f"there is no bank {name!r} here; list the banks to see")
            if row.removed_at is None:
                row.removed_at = now
                retire_epochs(written.session, now)
                detail = "no longer a member"
                self._trail.note(written, caller, "removal", f"bank/{name}", detail)
            return _roster(written.session)

        return self._database.transaction("remove-bank", Kind.WRITE, remove)


def _roster(session: Session) -> Roster:
    signed = session.scalars(select(RemovalRow).order_by(RemovalRow.removed, RemovalRow.signer))
    rows = list(signed)
    removed = {row.removed: session.get_one(BankRow, row.removed) for row in rows}
    return Roster(
        members=current_members(session),
        removals=tuple(
            MemberRemoval(
                removed=_keys(removed[row.removed]), signer=row.signer, signature=row.signature
            )
            for row in rows
        ),
    )


def _keys(row: BankRow) -> MemberKeys:
    return MemberKeys(name=row.name, signing_key=row.signing_key, agreement_key=row.agreement_key)


def _invite(session: Session, wanted: BankRegistration) -> InviteRow:
    row = session.get(InviteRow, hash_secret(wanted.invite))
    if row is None or row.bank != wanted.name:
        raise ForbiddenError(
            f"invitation is not one of bank {wanted.name!r} at this aggregator; register under the "
            "name that the operator invited"
        )
    return row


def _admit(session: Session, row: BankRow | None, keys: MemberKeys, now: int) -> None:
    if row is not None:
        if _keys(row) != keys:
            raise ConflictError(
                f"bank name {keys.name!r} belongs to other keys at this aggregator; use those, or "
                "ask the operator for an invitation under another name"
            )
        row.removed_at = None
    else:
        taken = session.scalar(
            select(BankRow).where(
                or_(
                    BankRow.signing_key == keys.signing_key,
                    BankRow.agreement_key == keys.agreement_key,
                )
            )
        )
        if taken is not None:
            raise ConflictError(
                f"a key of bank {keys.name!r} belongs to bank {taken.name!r}; make keys of its own"
            )
        session.add(
            BankRow(
                name=keys.name,
                signing_key=keys.signing_key,
                agreement_key=keys.agreement_key,
                registered_at=now,
            )
        )
    session.flush()
