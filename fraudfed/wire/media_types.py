"""What the body of a request or an answer is, as its ``Content-Type`` says."""

JSON = "application/json"
#: Frames, and models in their own bytes.
BINARY = "application/octet-stream"
#: RFC 9457, section 3: ``messages.Problem``.
PROBLEM = "application/problem+json"
