"""What an operator watches: metrics, readiness, log lines."""
