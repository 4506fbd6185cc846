//! The way to the bus for agents: that of a process that outlives an instance's boots, each of which has credentials of its own, or the bus itself.

use std::sync::{Mutex, PoisonError};

use grace_bus::{
    Bus,
    client::native::{self, NativeOptions, Target},
};
use grace_core::instance::Instance;

/// Under which such a process is known on the bus; its credential hears on inboxes of this name only.
const CLIENT: &str = "agents";

/// See the module's page.
pub struct Line(Way);

enum Way {
    /// Of a process that lives for one boot.
    Bus(Bus),
    /// To an instance, with what was opened last and with which URL.
    Boots(Instance, Mutex<Option<(String, Bus)>>),
}

impl Line {
    /// To an instance, which need not run yet.
    #[must_use]
    pub const fn to(instance: Instance) -> Self {
        Self(Way::Boots(instance, Mutex::new(None)))
    }

    /// Over this bus.
    #[must_use]
    pub const fn over(bus: Bus) -> Self {
        Self(Way::Bus(bus))
    }

    /// The bus of the boot under way. Inside a runtime.
    ///
    /// # Errors
    /// Nothing runs there.
    pub fn bus(&self) -> Result<Bus, String> {
        let (instance, open) = match &self.0 {
            Way::Bus(bus) => return Ok(bus.clone()),
            Way::Boots(instance, open) => (instance, open),
        };
        let url = std::fs::read_to_string(instance.agents_url())
            .map_err(|_| format!("Grace is not running in {}", instance.data().display()))?;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, bus)) = &*open
            && *of == url
        {
            return Ok(bus.clone());
        }
        let mut options = NativeOptions::from_url(url.trim(), CLIENT).map_err(|e| e.to_string())?;
        options.target = Target::Unix(instance.bus_socket());
        let bus = native::connect(options);
        *open = Some((url, bus.clone()));
        Ok(bus)
    }
}
