"""What the pages of both programs share: look, headers, sessions, forms; no page of its own."""
