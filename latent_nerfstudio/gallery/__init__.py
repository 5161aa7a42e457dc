"""A folder with one HTML page that shows scenes as thumbnails that turn, without a server and without a network."""
