//! The entry points that Grace starts itself with, never a person: the guardian, the control plane, a kernel, an injector of faults.
//!
//! They are taken before clap builds its tree of commands: each of these processes lives for months and should not
//! carry it. Their command lines have one fixed form each: `grace --data DIR guardian`, `grace --data DIR control-plane`,
//! `grace --data DIR injector`, `grace kernel NAME`; a kernel finds its instance in its environment.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

use grace_core::{control::LifeLineControl, instance::Instance};

use crate::control;

/// One of ourselves, to be run in this process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    Guardian(PathBuf),
    ControlPlane(PathBuf),
    Injector(PathBuf),
    Kernel(String),
}

/// What these arguments (without the program's name) ask for, if it is an internal entry point.
pub(crate) fn parse(args: &[OsString]) -> Option<Internal> {
    let word = |arg: &OsString, word: &str| arg.as_os_str() == OsStr::new(word);
    match args {
        [kernel, name] if word(kernel, "kernel") => {
            Some(Internal::Kernel(name.to_string_lossy().into_owned()))
        }
        [flag, data, name] if word(flag, "--data") && word(name, "guardian") => {
            Some(Internal::Guardian(data.into()))
        }
        [flag, data, name] if word(flag, "--data") && word(name, "control-plane") => {
            Some(Internal::ControlPlane(data.into()))
        }
        [flag, data, name] if word(flag, "--data") && word(name, "injector") => {
            Some(Internal::Injector(data.into()))
        }
        _ => None,
    }
}

/// Runs it; returns when it has ended in order.
pub(crate) fn run(internal: Internal) -> ExitCode {
    match internal {
        Internal::Guardian(data) => grace_core::guardian::main(&data),
        Internal::ControlPlane(data) => grace_core::control_plane::main(&data),
        Internal::Injector(data) => {
            let instance = Instance::at(&data);
            let life_line = LifeLineControl(move |request: &_| {
                control::ask(&instance, request).map_err(|failure| failure.what)
            });
            grace_faults::injector::main(&data, Box::new(life_line))
        }
        Internal::Kernel(name) => {
            keep_memory();
            grace_core::kernels::run(&name, &crate::layers::built_in())
        }
    }
}

/// A kernel frees on one thread what it allocated on another, message after message, and some of it in large pieces. By default glibc gives
/// each large piece back to the system and sorts all small ones anew whenever it frees a middling one; without that, a task costs 3 to 5 %
/// less processor time, and a kernel holds at most [`KEPT_BYTES`] more that it does not use.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's allocator is set by a call of its own")]
fn keep_memory() {
    let set = [
        // No lists of small pieces beside each thread's own.
        (libc::M_MXFAST, 0),
        (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
        (libc::M_MMAP_THRESHOLD, KEPT_BYTES),
        (libc::M_TOP_PAD, KEPT_BYTES / 32),
    ];
    for (parameter, value) in set {
        // SAFETY: it takes two numbers, and no other thread runs yet. Where it refuses one, the default holds.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
const fn keep_memory() {}

/// As much freed memory a kernel keeps for what comes next.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Internal> {
        parse(&text.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_one_form_is_taken() {
        assert_eq!(parsed("--data /d guardian"), Some(Internal::Guardian("/d".into())));
        assert_eq!(parsed("--data /d control-plane"), Some(Internal::ControlPlane("/d".into())));
        assert_eq!(parsed("--data /d injector"), Some(Internal::Injector("/d".into())));
        assert_eq!(parsed("kernel x"), Some(Internal::Kernel("x".into())));
        for other in [
            "",
            "guardian",
            "--data /d up",
            "--data /d kernel",
            "injector",
            "kernel",
            "kernel x y",
            "--data /d guardian x",
            "--json /d guardian",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
