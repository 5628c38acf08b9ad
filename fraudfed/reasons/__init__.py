"""Why a payment was flagged: contributions of features, grouped and put into words."""
