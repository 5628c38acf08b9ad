"""What attackers make of what they see."""
