//! What other policies or another charter would mean, before anybody is asked to approve them. Pure.
//!
//! | Module | The question |
//! |---|---|
//! | [`cases`] | do they decide as people wrote down that they should? |
//! | [`diff`] | what is written differently, and what does that mean? |
//! | [`matrix`] | what becomes of every type of intent for every kind of actor? |
//! | [`replay`] | what would they have decided differently of what was asked for? |
//!
//! Not here: reading files, the log or what is in force, and showing (the command line).

pub mod cases;
pub mod diff;
pub mod matrix;
pub mod replay;
