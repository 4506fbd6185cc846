//! Fault injectors that prove their bite and undo themselves.
