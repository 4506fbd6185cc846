//! The way to the bus for agents, for a process that outlives an instance's boots: each has credentials of its own.

use std::sync::{Mutex, PoisonError};

use grace_bus::{
    Bus,
    client::native::{self, NativeOptions, Target},
};
use grace_core::instance::Instance;

/// Under which such a process is known on the bus; its credential hears on inboxes of this name only.
const CLIENT: &str = "agents";

/// See the module's page.
pub struct Line {
    instance: Instance,
    /// What it was opened with, and itself.
    open: Mutex<Option<(String, Bus)>>,
}

impl Line {
    /// To an instance, which need not run yet.
    #[must_use]
    pub const fn to(instance: Instance) -> Self {
        Self { instance, open: Mutex::new(None) }
    }

    /// The bus of the boot under way. Inside a runtime.
    ///
    /// # Errors
    /// Nothing runs there.
    pub fn bus(&self) -> Result<Bus, String> {
        let url = std::fs::read_to_string(self.instance.agents_url())
            .map_err(|_| format!("Grace is not running in {}", self.instance.data().display()))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, bus)) = &*open
            && *of == url
        {
            return Ok(bus.clone());
        }
        let mut options = NativeOptions::from_url(url.trim(), CLIENT).map_err(|e| e.to_string())?;
        options.target = Target::Unix(self.instance.bus_socket());
        let bus = native::connect(options);
        *open = Some((url, bus.clone()));
        Ok(bus)
    }
}
