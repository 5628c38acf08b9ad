"""Values of the header ``Content-Type``."""

JSON = "application/json"
#: Frames and stored models.
BINARY = "application/octet-stream"
#: RFC 9457, section 3: ``messages.Problem``.
PROBLEM = "application/problem+json"
