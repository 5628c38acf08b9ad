"""Media types of the bodies that travel between banks and aggregator."""

JSON = "application/json"
#: Frames, and whatever is sealed.
BINARY = "application/octet-stream"
#: An error (RFC 9457).
PROBLEM = "application/problem+json"
