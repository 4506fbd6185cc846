//! The shell's side of the channel to the guardian.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use grace_types::time::{Clock, SystemClock};

use super::Shell;
use crate::{
    guardian::channel::{ToControlPlane, ToGuardian},
    supervisor::Input,
};

impl Shell {
    /// The channel's descriptor, for waiting on.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(in crate::control_plane) fn guardian_fd(&self) -> io::Result<OwnedFd> {
        self.guardian.as_ref().ok_or(io::ErrorKind::NotConnected)?.as_fd().try_clone_to_owned()
    }

    /// Whether the guardian is gone.
    pub(in crate::control_plane) const fn guardian_lost(&self) -> bool {
        self.guardian.is_none()
    }

    pub(super) fn tell_guardian(&mut self, message: &ToGuardian) {
        if let Some(channel) = &mut self.guardian {
            // An error means that it died, which the loop hears from the channel itself.
            let _ = channel.send(message, &[]);
        }
    }

    /// Takes what the guardian said.
    pub(in crate::control_plane) fn hear_guardian(&mut self) {
        loop {
            let Some(channel) = &mut self.guardian else { return };
            match channel.receive::<ToControlPlane>() {
                Ok((ToControlPlane::Alive, _)) => self.guardian_alive = SystemClock.now().mono,
                Ok((ToControlPlane::Reaped { pid, exit }, _)) => match self.awaited.remove(&pid) {
                    Some((component, incarnation, _)) => {
                        self.tell(Input::Exited { component, incarnation, exit });
                    }
                    // Others are strays that nobody asks for.
                    None if self.state.is_main(pid) => {
                        self.reaped.insert(pid, exit);
                    }
                    None => {}
                },
                Ok((ToControlPlane::Stop { cause }, _)) => self.tell(Input::Shutdown { cause }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.guardian = None;
                    self.tell(Input::Shutdown { cause: "the guardian died".to_owned() });
                }
            }
        }
    }
}
