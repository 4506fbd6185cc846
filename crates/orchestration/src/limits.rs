//! The bounds of intents and of the task manager, each with its reason and what happens when it is reached.
