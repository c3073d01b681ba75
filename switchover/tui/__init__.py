"""The wizard: reads the plan, starts the runner, appends decisions."""
