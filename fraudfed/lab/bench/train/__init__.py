"""``fraudfed bench train``: real processes against XGBoost on the pooled rows."""
