"""Who wakes slaq when a ticket's next crossing is reached."""
