"""The pages as one part of the application."""

from pathlib import Path

from flask import Blueprint, Flask, redirect
from werkzeug.wrappers import Response

from aggregator.api.services import Services
from aggregator.pages.chain import ChainChecks
from aggregator.pages.views import Views, sign_in, still_good
from fraudfed.http.pages.sessions import Sessions
from fraudfed.http.pages.site import PAGES, Site, SiteNames

_NAMES = SiteNames(
    program="aggregator",
    cookie="fraudfed-aggregator",
    navigation=(
        ("Runs", ""),
        ("Consortium", "consortium"),
        ("Models", "models"),
        ("Audit", "audit"),
    ),
    foot="What this aggregator knows. Payments, features and scores never come here; sums arrive "
    "encrypted, and only the banks can open them.",
    hint="An operator's or a viewer's: the file operator.token in the aggregator's state "
    "directory, or one of `aggregator tokens create`.",
)


def install(app: Flask, services: Services, *, key: bytes) -> None:
    """Let an application answer with pages below ``PAGES``, and lead there from its root.

    Parameters
    ----------
    key : bytes
        Of the sessions: the same in all workers of one start of the service.
    """
    site = Site(
        _NAMES,
        templates=Path(__file__).parent / "templates",
        sessions=Sessions(key),
        sign_in=sign_in,
        still_good=still_good,
        secure=services.config.tls_certificate is not None,
    )
    pages = Blueprint("pages", __name__, url_prefix=PAGES)
    site.install(pages)
    Views(site, ChainChecks(services.audit)).install(pages)
    app.register_blueprint(pages)
    app.add_url_rule("/", "root", _to_pages)


def _to_pages() -> Response:
    # Relative, as a proxy may stand in front.
    return redirect(f"{PAGES.removeprefix('/')}/", 303)
