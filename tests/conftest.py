"""What holds for all tests: a law that is checked on a busy machine may take its time."""

from hypothesis import settings

settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
