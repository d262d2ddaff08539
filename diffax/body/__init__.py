"""Bodies: skeletons, kinematics and what can be read off a moving body."""
