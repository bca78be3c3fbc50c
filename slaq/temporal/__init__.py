"""The Enterprise timers: a durable workflow for each ticket. Imports temporalio; nothing outside may import it unasked."""
