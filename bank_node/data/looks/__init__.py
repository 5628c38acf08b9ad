"""What is wrong with a bank's payments, found part by part, here or on workers, and told as one."""
