"""Where a training stands between two steps, as canonical bytes."""
