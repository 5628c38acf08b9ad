"""What privacy costs: trainings with and without noise, beside what a bank has alone."""
