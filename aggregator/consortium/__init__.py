"""Who belongs to the consortium: members, key epochs, API tokens, signatures seen before."""
