"""A request becomes a result with a record, in the forms of published protocols, and can be asked again."""
