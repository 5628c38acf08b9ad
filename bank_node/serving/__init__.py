"""What a bank does with an accepted model. Nothing is sent."""
