"""What is known of layers: their gradients from inputs and output gradients."""
