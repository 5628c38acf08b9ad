"""The pages of one program: signing in, forms, rendering, headers; which pages is the program's.

All pages stand side by side, and their addresses in links are relative, so that they hold under any
path that a proxy puts before them. For the same reason the cookie names no path: a browser then
takes the one of the page, which is the same for all.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Blueprint, Response, g, request
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    ForbiddenError,
    FraudFedError,
    ProtocolError,
    UnavailableError,
)
from fraudfed.foreign_text import visible
from fraudfed.http.pages import words
from fraudfed.http.pages.headers import SECURITY_HEADERS
from fraudfed.http.pages.sessions import Session, Sessions

#: Where all pages of a service stand.
PAGES = "/pages"
_HERE = Path(__file__).parent
_STATIC = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
#: More than any form of ours holds.
_MOST_FORM_BYTES = 64 * 1024
_FORM = "application/x-www-form-urlencoded"
_FORM_FIELD = "form_token"
#: Where to go after the sign-in: below the pages, so that no link leads elsewhere.
_NEXT = re.compile(r"(?:[a-z][a-z-]*(?:\?[a-z]+=[A-Za-z0-9_.-]+)?)?")


@dataclass(frozen=True)
class SiteNames:
    """What tells the pages of one program from those of another.

    Attributes
    ----------
    program : str
        Shown on every page.
    cookie : str
        Of no other service on the same host: browsers do not tell ports apart.
    navigation : sequence of (str, str)
        Name and address below the pages.
    foot : str
    hint : str
        Where to find the token that signs in.
    """

    program: str
    cookie: str
    navigation: Sequence[tuple[str, str]]
    foot: str
    hint: str


class Site:
    """What the pages of a program have in common. Safe to use from many threads.

    Parameters
    ----------
    names : SiteNames
    templates : Path
        The program's own.
    sessions : Sessions
    sign_in : callable
        Returns the subject of a token; raises AuthError for one that is not good.
    still_good : callable
        Whether a subject that has signed in may go on.
    secure : bool
        The service itself serves https.
    """

    def __init__(
        self,
        names: SiteNames,
        *,
        templates: Path,
        sessions: Sessions,
        sign_in: Callable[[str], str],
        still_good: Callable[[str], bool],
        secure: bool = False,
    ) -> None:
        self.names = names
        self.sessions = sessions
        self._sign_in = sign_in
        self._still_good = still_good
        self._secure = secure
        self._environment = Environment(
            loader=ChoiceLoader(
                [FileSystemLoader(templates), FileSystemLoader(_HERE / "templates")]
            ),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            when=words.when,
            ago=words.ago,
            duration=words.duration,
            count=words.count,
            size=words.size,
            digest=words.digest,
            visible=visible,
        )
        self._static = {name: (_HERE / "static" / name).read_bytes() for name in _STATIC}

    def install(self, pages: Blueprint) -> None:
        """Add what every site has to a blueprint: files, sign-in and sign-out, errors, headers."""
        pages.add_url_rule('/<any("style.css", "live.js", "icon.svg"):name>', "file", self._file)
        pages.add_url_rule("/sign-in", "sign_in", self._show_sign_in)
        pages.add_url_rule("/sign-in", "do_sign_in", self._do_sign_in, methods=["POST"])
        pages.add_url_rule("/sign-out", "sign_out", self._do_sign_out, methods=["POST"])
        pages.before_request(self._begin)
        pages.after_request(self._finish)
        pages.register_error_handler(FraudFedError, self._problem)

    # A request

    @property
    def subject(self) -> str:
        """The token's name of this request's session; empty before the sign-in."""
        session: Session | None = g.get("pages_session")
        return session.subject if session is not None else ""

    def require_subject(self) -> str:
        """Return whose session it is.

        Raises
        ------
        AuthError
            If nobody has signed in, or the session is over.
        """
        if not self.subject:
            raise AuthError("sign in first; a session ends by itself")
        return self.subject

    def form(self) -> Mapping[str, str]:
        """Return the fields of a form that one of this session's pages has sent.

        Raises
        ------
        ForbiddenError
            If it was sent by another site, or by a page of another session.
        ProtocolError, BodyTooLargeError
            If it is no form of ours.
        """
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise ForbiddenError("this form was sent by another site; nothing was changed")
        length = request.content_length
        if length is None or request.mimetype != _FORM:
            raise ProtocolError(f"expected a form ({_FORM}) with its Content-Length")
        if length > _MOST_FORM_BYTES:
            raise BodyTooLargeError(f"form has {length} bytes, expected at most {_MOST_FORM_BYTES}")
        fields = request.form
        g.body_received = True
        session: Session | None = g.get("pages_session")
        token = fields.get(_FORM_FIELD, "")
        if session is None or not self.sessions.is_form_token(session, token):
            raise ForbiddenError(
                "this form belongs to another session or one that has ended; nothing was changed: "
                "open the page again and send it from there"
            )
        return fields

    def render(self, template: str, *, http_status: int = 200, **context: Any) -> Response:
        """Return a page; text in it is escaped."""
        found = self._environment.get_template(template).render(
            program=self.names.program,
            navigation=self.names.navigation,
            foot=self.names.foot,
            subject=self.subject,
            section=context.pop("section", self._below()),
            form_field=self._form_field,
            **{"said": None, **context},
        )
        g.pages_rendered = True
        return Response(found, http_status, content_type="text/html; charset=utf-8")

    def fragment(self, template: str, **context: Any) -> Response:
        """Return a part of a page that a script fetched; it does not keep the session alive."""
        found = self._environment.get_template(template).render(
            form_field=self._form_field, **context
        )
        return Response(found, content_type="text/html; charset=utf-8")

    def redirect(self, address: str) -> Response:
        """Send the browser to an address below the pages, with GET."""
        return Response(status=303, headers={"Location": address or "./"})

    # Parts

    def _below(self) -> str:
        return request.path.removeprefix(f"{PAGES}/")

    def _form_field(self) -> Markup:
        session = self._session()
        return Markup('<input type="hidden" name="{}" value="{}">').format(
            _FORM_FIELD, self.sessions.form_token(session)
        )

    def _session(self) -> Session:
        """Return the request's session; a new one, of nobody, if it has none."""
        if g.get("pages_session") is None:
            g.pages_session = self.sessions.open("")
        session: Session = g.pages_session
        return session

    def _cookie_name(self, *, secure: bool) -> str:
        return f"__Secure-{self.names.cookie}" if secure else self.names.cookie

    def _is_secure(self) -> bool:
        """Whether the browser came by https; a proxy in front shows in the origin it names."""
        origin = urlsplit(request.headers.get("Origin", "")).scheme
        return (
            self._secure or origin == "https" or self._cookie_name(secure=True) in (request.cookies)
        )

    def _begin(self) -> None:
        g.pages_rendered = False
        g.pages_session = None
        for secure in (True, False):
            value = request.cookies.get(self._cookie_name(secure=secure))
            session = self.sessions.read(value)
            if session is not None:
                if not session.subject or self._still_good(session.subject):
                    g.pages_session = session
                return

    def _finish(self, response: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            response.headers[name] = value
        session: Session | None = g.get("pages_session")
        if session is not None and g.get("pages_rendered"):
            self._set_cookie(response, session)
        return response

    def _set_cookie(self, response: Response, session: Session) -> None:
        secure = self._is_secure()
        response.set_cookie(
            self._cookie_name(secure=secure),
            self.sessions.write(session),
            path=None,
            secure=secure,
            httponly=True,
            samesite="Strict",
        )

    def _file(self, name: str) -> Response:
        response = Response(self._static[name], content_type=_STATIC[name])
        response.add_etag()
        response.make_conditional(request)
        return response

    def _show_sign_in(self, refused: str | None = None, status: int = 200) -> Response:
        wanted = (
            request.values.get("next", "")
            if request.method == "POST"
            else (request.args.get("next", ""))
        )
        wanted = wanted if _NEXT.fullmatch(wanted) else ""
        return self.render(
            "sign_in.html.j2",
            http_status=status,
            refused=refused,
            next=wanted,
            hint=self.names.hint,
        )

    def _do_sign_in(self) -> Response:
        fields = self.form()
        wanted = fields.get("next", "")
        try:
            subject = self._sign_in(fields.get("token", "").strip())
        except ForbiddenError as error:
            return self._show_sign_in(str(error), 403)
        except AuthError as error:
            return self._show_sign_in(str(error), 401)
        g.pages_session = self.sessions.open(subject)
        response = self.redirect(wanted if _NEXT.fullmatch(wanted) else "")
        self._set_cookie(response, g.pages_session)
        return response

    def _do_sign_out(self) -> Response:
        self.form()
        self.sessions.end(self._session())
        g.pages_session = self.sessions.open("")
        response = self.redirect("sign-in")
        self._set_cookie(response, g.pages_session)
        return response

    def _problem(self, error: FraudFedError) -> Response:
        if isinstance(error, AuthError) and not isinstance(error, ForbiddenError):
            response = self._ask_to_sign_in(error)
        else:
            response = self.render(
                "problem.html.j2", http_status=error.http_status, title=error.title, text=str(error)
            )
        if isinstance(error, UnavailableError):
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        if request.content_length and not g.get("body_received", False):
            # A body that is not read is not waited for either: no other request can follow it.
            response.headers["Connection"] = "close"
        return response

    def _ask_to_sign_in(self, error: AuthError) -> Response:
        if request.headers.get("Sec-Fetch-Mode") in ("cors", "same-origin"):
            # Asked for by the script of a page, which then opens the page anew.
            return Response(str(error), 401, content_type="text/plain; charset=utf-8")
        if request.method == "GET":
            wanted = request.full_path.removeprefix(f"{PAGES}/").rstrip("?")
            return self.redirect(f"sign-in?next={quote(wanted)}" if wanted else "sign-in")
        return self._show_sign_in(str(error), 401)
