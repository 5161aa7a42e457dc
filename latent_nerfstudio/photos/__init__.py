"""Photos without poses -> scenes on disk: structure from motion by COLMAP, undistortion, a box."""
