"""What all banks know of one account, terminal or merchant, and corrections of it."""
