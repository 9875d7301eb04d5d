"""FSPS's physics, exact, from ingredients in a file: FSPS parameters by name in, L_nu out."""
