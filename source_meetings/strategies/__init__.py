"""Ways to find changes that more than one provider can use."""
