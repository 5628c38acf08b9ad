"""Commands of a run that trains: ``train``, ``search``, and what they say of its judgement."""
