"""Where it is kept: Postgres. SQL lives in ``sql/``; this package runs it in the caller's transaction."""
