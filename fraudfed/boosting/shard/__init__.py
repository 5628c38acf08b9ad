"""One bank's rows, wherever they lie: the one interface through which boosting reaches them."""
