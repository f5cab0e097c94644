"""An HTML page to explore the latents of a trained run: its decoder runs in the page, with a slider for each latent."""
