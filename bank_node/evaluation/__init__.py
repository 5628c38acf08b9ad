"""Is this bank better off with the shared model? Its own models, one window, a decision."""
