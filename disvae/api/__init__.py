"""What Python programs and notebooks use: the functions and classes that `import disvae` gives."""
