"""Laws and rules of the clock: slaq.promise, slaq.facts, slaq.phase and slaq.timeline."""
