"""Fill an empty store from a file of any size: read in pieces, divided by key, packed by key."""
