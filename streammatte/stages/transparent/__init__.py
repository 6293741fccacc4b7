"""What is transparent: where it is, what SDMatte says of it, and how that is carried between keyframes."""
