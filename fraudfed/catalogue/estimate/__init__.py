"""What a run will cost, from its description: rounds, ciphertexts, bytes, time and memory."""
