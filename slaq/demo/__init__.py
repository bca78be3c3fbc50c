"""A service desk in a minute: real database, real worker, tickets that cross their thresholds."""
