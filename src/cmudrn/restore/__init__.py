"""An image of any size to a restored image."""
