"""What views work with."""

from flask import current_app

from bank_node.service.scoring import ScoringService


def service() -> ScoringService:
    """Return the service of the application that handles the current request."""
    found: ScoringService = current_app.extensions["scoring"]
    return found
