"""What an author of a room uses: the skeleton of a new paper, and a test of its tests."""
