"""What is public of a consortium: all of it that the aggregator may import."""
