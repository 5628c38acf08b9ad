"""``fraudfed bench search``: a search beside one training, both over real processes."""
