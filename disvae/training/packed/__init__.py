"""Several runs trained by one vectorised step."""
