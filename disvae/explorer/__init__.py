"""A page to explore what each latent of a trained run means: its decoder, with sliders, in one HTML file."""
