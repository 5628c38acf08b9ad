"""What a world is made from: every dial, with its range, and named presets of all dials."""
