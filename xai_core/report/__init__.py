"""Reports: rows, pictures, and one page that shows them."""
