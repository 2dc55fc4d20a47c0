"""What classify is about, without any machinery: reading texts, and which adapter revision reads a brand's."""
