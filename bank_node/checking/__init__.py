"""What ``check-data`` says of a file, without sending anything of it."""
