//! The task manager's rules, one by one and all together at random.

mod hosted;
mod queue;
mod random;
mod reserve;
mod rules;
mod workers;
mod world;
