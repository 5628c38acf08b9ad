"""An aggregator and its banks: in this process, in threads or as real programs."""
