"""policy.toml: what is done with a payment of a given probability."""
