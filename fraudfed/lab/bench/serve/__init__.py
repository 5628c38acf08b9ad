"""``fraudfed bench serve``: how soon a scoring service answers, and whether it answers right."""
