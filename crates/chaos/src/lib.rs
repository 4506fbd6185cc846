//! Scenarios, the runner that attacks a running Grace and judges it, and the evidence of a run.
