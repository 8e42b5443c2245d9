"""The leukocyte differential of one smear, from its classified cells."""
