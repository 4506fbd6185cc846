//! The task manager's rules, one by one and all together at random.

mod hosted;
mod random;
mod rules;
mod world;
