"""Public bounds of coming sums: the slots of a secure sum are as wide as these."""
