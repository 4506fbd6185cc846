//! Resource limits by control groups (cgroup v2), where there is a hierarchy that we may divide.
//!
//! | Module | What it holds |
//! |---|---|
//! | this one | what the control plane asks: a group for a run, and its end |
//! | `hierarchy` | the groups in the file system |
//! | `format` | what is read from and written to the files; pure |
//!
//! Only components that set a limit have a group; nothing is looked for or touched before the first of them starts. A
//! group belongs to the component, not to the run, and is removed when a run ends. What cannot be held this way is left to
//! rlimits ([`crate::spawn`]); a limit on CPU has no such way out, and the control plane says so.
//!
//! Not here: `memory.swap.max`, weights and I/O limits, which the manifest has no words for.

mod format;
mod hierarchy;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, os::fd::OwnedFd, path::PathBuf, time::Duration};

use grace_types::manifest::Resources;
use sha2::{Digest, Sha256};

use self::{
    format::Controllers,
    hierarchy::{Hierarchy, Place},
};

/// How long removing all groups may wait for what was killed in them. The next boot removes what is left.
const PATIENCE: Duration = Duration::from_millis(500);

const NOT_OFFERED: &str = "the cpu controller of cgroup v2 is not offered here";

/// Why there are no groups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no hierarchy with this process in it.
    #[error("cgroup v2 is not mounted")]
    NotMounted,
    /// None of the controllers that limits need is there.
    #[error("the cgroup {group} offers none of cpu, memory and pids")]
    NoControllers {
        /// Its folder.
        group: PathBuf,
    },
    /// Grace does not have its group for itself.
    #[error("the cgroup {group} cannot be divided: process {pid} in it is not Grace's")]
    Shared {
        /// Its folder.
        group: PathBuf,
        /// One of the others; 0 when it cannot be seen from here.
        pid: u32,
    },
    /// The system refused something.
    #[error("{path}: {detail}")]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}

/// What a process joins between fork and exec.
#[derive(Debug)]
pub struct Group {
    /// `cgroup.procs`: writing `0` to it moves the writer.
    pub procs: OwnedFd,
    /// The limits that are left to rlimits for a process that joined.
    pub rest: Resources,
}

/// The groups of one instance.
#[derive(Debug)]
pub struct Groups {
    /// The instance's folder, such as `grace-0f3a…`.
    instance: String,
    /// `None` until a component needs it.
    hierarchy: Option<Result<Hierarchy, Refused>>,
    /// Components that ended and whose group is still there.
    ended: BTreeSet<String>,
    /// Components about which was said that a limit is not held.
    said: BTreeSet<String>,
}

impl Groups {
    /// Those of the instance with this data folder. Looks at nothing yet.
    #[must_use]
    pub fn new(data: &std::path::Path) -> Self {
        let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
        let name: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        Self {
            instance: format!("grace-{name}"),
            hierarchy: None,
            ended: BTreeSet::new(),
            said: BTreeSet::new(),
        }
    }

    /// Removes every group of the instance, and ends what runs in it: what an earlier instance on the same data left behind,
    /// or, at the end, all there is.
    pub fn clear(&self) {
        if let Ok(place) = Place::current() {
            hierarchy::clear(&place.bases(), &self.instance, PATIENCE);
        }
    }

    /// A group for a run of `component`, if its limits need one and there can be one; and what people should know, once a
    /// component. `ours` tells whether a process is Grace's own, and may be moved.
    pub fn place(
        &mut self,
        component: &str,
        limits: &Resources,
        ours: &dyn Fn(u32) -> bool,
    ) -> (Option<Group>, Option<String>) {
        let needed = Controllers::needed(limits);
        if needed.is_empty() {
            return (None, None);
        }
        let instance = &self.instance;
        let hierarchy = self.hierarchy.get_or_insert_with(|| {
            Place::current().and_then(|place| Hierarchy::open(place.bases(), instance, ours))
        });
        let (group, why) = match hierarchy {
            Ok(hierarchy) if !needed.and(hierarchy.held).is_empty() => {
                match hierarchy.group(component, limits) {
                    Ok(procs) => {
                        self.ended.remove(component);
                        let rest = format::rest(limits, hierarchy.held);
                        (Some(Group { procs, rest }), NOT_OFFERED.to_owned())
                    }
                    Err(refused) => (None, refused.to_string()),
                }
            }
            Ok(_) => (None, NOT_OFFERED.to_owned()),
            Err(refused) => (None, refused.to_string()),
        };
        let left = group.as_ref().map_or(limits, |group| &group.rest);
        let lost = (left.cpu_cores.is_some() && self.said.insert(component.to_owned()))
            .then(|| format!("`{component}`: its limit on CPU is not held: {why}"));
        (group, lost)
    }

    /// Whether the process that was given `component`'s group is in it; what to say if not. It has its limits as rlimits then.
    pub fn check_joined(&mut self, component: &str, pid: u32) -> Option<String> {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let tail = format!("{}/component-{component}", self.instance);
        let joined = format::group_of(&groups).is_none_or(|group| group.ends_with(&tail));
        (!joined && self.said.insert(component.to_owned()))
            .then(|| format!("`{component}` could not join its cgroup: its limits are held by rlimits only"))
    }

    /// A run of `component` ended: its group is removed, now or in a later [`Groups::sweep`].
    pub fn ended(&mut self, component: &str) {
        if let Some(Ok(hierarchy)) = &self.hierarchy
            && !hierarchy.remove(component)
        {
            self.ended.insert(component.to_owned());
        }
    }

    /// Removes groups that could not be removed before.
    pub fn sweep(&mut self) {
        if let Some(Ok(hierarchy)) = &self.hierarchy {
            self.ended.retain(|component| !hierarchy.remove(component));
        }
    }
}
