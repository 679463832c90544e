"""What a person looks at: figures as PNG, tables, and a page that holds both in one file."""
