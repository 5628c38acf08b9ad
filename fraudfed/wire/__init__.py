"""What a message is. No behaviour beyond checking and (de)serialising."""
