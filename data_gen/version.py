"""Version of the generated world; it changes whenever the bytes for a given seed change."""

from typing import Final

GENERATOR_VERSION: Final = "0.2.0"
