"""``python -m fraudfed``."""

from fraudfed.cli import main

if __name__ == "__main__":
    main()
