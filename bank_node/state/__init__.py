"""What a bank keeps on disk, and how it survives a crash."""
