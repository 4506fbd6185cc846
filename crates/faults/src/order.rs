//! What can be asked of an injector, and within which bounds.

use std::time::Duration;

use grace_types::{id::FaultId, limits::NAME_BYTES};
use serde::{Deserialize, Serialize};

use crate::limits;

/// One fault, as a runner orders it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// Names the fault, and its file in `DATA/faults/`. Chosen by the runner, never used twice.
    pub id: FaultId,
    /// What is to be done to whom.
    pub fault: Fault,
    /// How long from the order on, in milliseconds, the proof of its bite included. For a fault that is over at once (kill), how
    /// long it may take.
    pub duration_ms: u64,
}

/// What is done to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// SIGKILL.
    Kill {
        /// Which process.
        target: ProcessTarget,
    },
    /// SIGSTOP, and SIGCONT at its end.
    Stop {
        /// Which process.
        target: ProcessTarget,
    },
    /// Heartbeat revocation: the control plane drops what this process says on its life line.
    Mute {
        /// Which process: the main one of a component.
        target: ProcessTarget,
    },
}

/// A process of a component. Pid and start time name it for as long as the machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTarget {
    /// The component that it belongs to.
    pub component: String,
    /// Its process id.
    pub pid: u32,
    /// Its start time in clock ticks since the machine booted (proc_pid_stat(5), field 22).
    pub start_ticks: u64,
}

/// Why an order makes no sense, whatever runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// Too short to be proved, or too long to be left alone.
    #[error(
        "a fault lasts from {} ms to {} s, and this one {millis} ms",
        limits::SHORTEST.as_millis(),
        limits::LONGEST.as_secs()
    )]
    Duration {
        /// What was ordered.
        millis: u64,
    },
    /// No component has such a name.
    #[error("`{0}` cannot be the name of a component")]
    Component(String),
    /// 0 and 1 are never a component's process.
    #[error("process {0} cannot be a component's")]
    Pid(u32),
}

impl FaultOrder {
    /// An order. See [`FaultOrder::check`] for what is refused.
    #[must_use]
    pub fn new(id: FaultId, fault: Fault, duration: Duration) -> Self {
        Self { id, fault, duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) }
    }

    /// How long the fault may last.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// Whether the order is within bounds. A runner can ask before anything is attacked.
    ///
    /// # Errors
    /// What is out of bounds.
    pub fn check(&self) -> Result<(), OrderFault> {
        if !(limits::SHORTEST..=limits::LONGEST).contains(&self.duration()) {
            return Err(OrderFault::Duration { millis: self.duration_ms });
        }
        let ProcessTarget { component, pid, .. } = self.fault.target();
        if component.is_empty() || component.len() > NAME_BYTES || component.contains(char::is_control) {
            let shown = component.chars().take(NAME_BYTES).collect::<String>();
            return Err(OrderFault::Component(shown.escape_debug().to_string()));
        }
        if *pid <= 1 || i32::try_from(*pid).is_err() {
            return Err(OrderFault::Pid(*pid));
        }
        Ok(())
    }
}

impl Fault {
    /// Its name in scenarios and reports: the `type` tag of its JSON form.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Stop { .. } => "stop",
            Self::Mute { .. } => "mute",
        }
    }

    /// Whom it hits.
    #[must_use]
    pub const fn target(&self) -> &ProcessTarget {
        match self {
            Self::Kill { target } | Self::Stop { target } | Self::Mute { target } => target,
        }
    }

    /// Whether it is over as soon as it has bitten, with nothing to undo.
    #[must_use]
    pub const fn is_over_at_once(&self) -> bool {
        matches!(self, Self::Kill { .. })
    }

    /// How long it may take until its bite is proved.
    #[must_use]
    pub const fn proof_time(&self) -> Duration {
        match self {
            Self::Kill { .. } | Self::Stop { .. } => limits::SIGNAL_PROOF,
            Self::Mute { .. } => limits::MUTE_PROOF,
        }
    }

    /// Time between two looks for the proof.
    #[must_use]
    pub const fn look_interval(&self) -> Duration {
        match self {
            Self::Kill { .. } | Self::Stop { .. } => limits::SIGNAL_LOOK,
            Self::Mute { .. } => limits::MUTE_LOOK,
        }
    }
}

impl std::fmt::Display for ProcessTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (pid {})", self.component, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(component: &str, pid: u32, duration_ms: u64) -> FaultOrder {
        let target = ProcessTarget { component: component.to_owned(), pid, start_ticks: 7 };
        FaultOrder { id: FaultId::from_bits(1), fault: Fault::Stop { target }, duration_ms }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_bound() {
        assert_eq!(order("web", 42, 10).check(), Ok(()));
        assert_eq!(order("web", 42, 600_000).check(), Ok(()));
        for (wrong, says) in [
            (order("web", 42, 0), "a fault lasts from 10 ms to 600 s, and this one 0 ms"),
            (order("web", 42, 9), "this one 9 ms"),
            (order("web", 42, 600_001), "this one 600001 ms"),
            (order("web", 42, u64::MAX), "this one 18446744073709551615 ms"),
            (order("", 42, 10), "cannot be the name"),
            (order("a\nb", 42, 10), "`a\\nb` cannot be the name"),
            (order(&"a".repeat(64), 42, 10), "cannot be the name"),
            (order("web", 0, 10), "process 0"),
            (order("web", 1, 10), "process 1"),
            (order("web", u32::MAX, 10), "process 4294967295"),
        ] {
            let fault = wrong.check().unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
    }

    #[test]
    fn the_json_form_is_fixed_and_knows_no_other_keys() {
        let json = r#"{"id":"flt_00000000000000000000000001","fault":{"type":"stop","target":{"component":"web","pid":42,"start_ticks":7}},"duration_ms":10}"#;
        assert_eq!(serde_json::to_string(&order("web", 42, 10)).unwrap(), json);
        assert_eq!(serde_json::from_str::<FaultOrder>(json).unwrap(), order("web", 42, 10));
        for wrong in [json.replace("stop", "melt"), json.replace("\"pid\"", "\"force\":true,\"pid\"")] {
            assert!(serde_json::from_str::<FaultOrder>(&wrong).is_err(), "{wrong}");
        }
    }
}
