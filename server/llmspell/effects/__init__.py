"""What a driver may ask for, and the types its answers have."""
