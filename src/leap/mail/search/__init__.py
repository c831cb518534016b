"""Full-text search: text folded once at storage, an index of its words, and answers that are exact."""
