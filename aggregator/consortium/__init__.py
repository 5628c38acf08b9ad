"""The consortium: members, key epochs, API tokens, signatures seen before."""
