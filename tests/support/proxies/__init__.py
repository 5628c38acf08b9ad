"""What may stand between a bank and the aggregator."""
