"""The endpoints under ``/v1``, one file per noun; ``endpoint`` is how they are declared."""
