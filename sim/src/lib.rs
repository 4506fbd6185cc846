//! Deterministic simulation of deciders.
