"""What a plain method reaches on the same pixels: the lines a pretrained network has to beat."""
