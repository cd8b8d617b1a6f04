"""What a slate must or should keep to: one kind of rule a file, each saying which items are limited, and how."""
