"""Ways to see what changed that more than one provider can use."""
