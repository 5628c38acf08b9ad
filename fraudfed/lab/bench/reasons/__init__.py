"""``fraudfed bench reasons``: whether the reasons of alerts are the causes that were planted."""
