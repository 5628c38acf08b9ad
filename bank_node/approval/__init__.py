"""What a bank agrees to before it takes part in a run, and who agreed.

``digest`` says which bytes are agreed to. ``training`` and ``risk`` weigh a run's description
against ``[approval]`` of ``bank.toml`` and say what it reveals, ``cost`` what it takes.
``decision`` puts the two ways together: a person has approved the hash, or the rules approve alone.
"""
