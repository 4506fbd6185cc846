//! The Debian and PyPI packages that the tests use: installed when missing, named when they cannot be.
//!
//! A machine that has them all pays for a few look-ups and touches no network.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::report::Outcome;

/// A Debian package, and the program in it whose presence is enough: it may come from elsewhere.
struct Debian {
    package: &'static str,
    program: &'static str,
    used_for: &'static str,
}

const DEBIAN: [Debian; 4] = [
    Debian {
        package: "nats-server",
        program: "nats-server",
        used_for: "the broker that ours is compared with",
    },
    Debian {
        package: "redis-server",
        program: "redis-server",
        used_for: "a daemon that is not ours, supervised",
    },
    Debian {
        package: "python3",
        program: "python3",
        used_for: "a NATS client and programs that are not ours",
    },
    Debian {
        package: "libfaketime",
        // A library: the package tells.
        program: "libfaketime",
        used_for: "a wall clock that is set while real processes read it",
    },
];

/// A PyPI package and the module that it brings.
struct PyPi {
    package: &'static str,
    module: &'static str,
    /// It asks for a newer Python than it needs, which the tests show, and than Debian 12 has.
    any_python: bool,
}

const PYPI: [PyPi; 7] = [
    PyPi { package: "nats-py", module: "nats", any_python: false },
    PyPi { package: "schemathesis", module: "schemathesis", any_python: false },
    PyPi { package: "mcp~=2.3", module: "mcp.server.mcpserver", any_python: false },
    PyPi { package: "aics-tlog==0.2.1", module: "aics_tlog", any_python: true },
    PyPi { package: "aics-witness==0.1.0", module: "aics_witness", any_python: true },
    PyPi { package: "rotel==0.0.1a15", module: "rotel", any_python: false },
    PyPi {
        package: "opentelemetry-proto",
        module: "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        any_python: false,
    },
];

/// Installs what is missing.
pub(crate) fn ensure() -> Outcome {
    let missing: Vec<&Debian> = DEBIAN.iter().filter(|d| !present(d)).collect();
    for Debian { package, used_for, .. } in &missing {
        println!("missing: {package} ({used_for})");
    }
    let names: Vec<&str> = missing.iter().map(|d| d.package).collect();
    let mut faults: Vec<String> = install_debian(&names).err().into_iter().collect();
    let missing: Vec<&PyPi> = PYPI.iter().filter(|p| !imports(p.module)).collect();
    for any_python in [false, true] {
        let alike = missing.iter().filter(|p| p.any_python == any_python);
        let names: Vec<&str> = alike.map(|p| p.package).collect();
        faults.extend(install_pypi(&names, any_python).err());
    }
    if faults.is_empty() {
        println!("every package is there");
    }
    Outcome::of_faults(faults)
}

fn present(wanted: &Debian) -> bool {
    let in_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(wanted.program).is_file()));
    in_path
        || output_of("dpkg-query", &["-W", "-f=${db:Status-Status}", wanted.package])
            .is_some_and(|s| s == "installed")
}

fn imports(module: &str) -> bool {
    python(&format!("import {module}")).is_some()
}

fn install_debian(names: &[&str]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install {}", names.join(" "));
    may_install("apt-get", &by_hand)?;
    run("apt-get", &["update", "-qq"], &by_hand)?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(names);
    run("apt-get", &args, &by_hand)
}

fn install_pypi(names: &[&str], any_python: bool) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let option = if any_python { "--ignore-requires-python " } else { "" };
    let by_hand = format!("python3 -m pip install {option}{}", names.join(" "));
    may_install("python3", &by_hand)?;
    if python("import pip").is_none() {
        install_debian(&["python3-pip"])?;
    }
    let mut args = vec!["-m", "pip", "install", "--quiet", "--root-user-action=ignore"];
    // A Debian python says that its packages belong to apt (PEP 668); pyenv's and a virtual environment's do not.
    let managed = "import os, sys, sysconfig\n\
                   here = os.path.join(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED')\n\
                   sys.exit(not (sys.prefix == sys.base_prefix and os.path.exists(here)))";
    if python(managed).is_some() {
        args.push("--break-system-packages");
    }
    if any_python {
        args.push("--ignore-requires-python");
    }
    args.extend(names);
    run("python3", &args, &by_hand)
}

fn may_install(tool: &str, by_hand: &str) -> Result<(), String> {
    // The owner of our own /proc entry is who we are; a crate for one number is not worth it.
    use std::os::unix::fs::MetadataExt as _;
    let root = Path::new("/proc/self").metadata().is_ok_and(|m| m.uid() == 0);
    if !root {
        return Err(format!("not root, so nothing was installed; run `{by_hand}`, then this again"));
    }
    output_of(tool, &["--version"])
        .map(drop)
        .ok_or_else(|| format!("`{tool}` is missing here; install by hand what `{by_hand}` would"))
}

/// Standard output of a program that succeeded.
fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn python(script: &str) -> Option<String> {
    output_of("python3", &["-c", script])
}

fn run(program: &str, args: &[&str], by_hand: &str) -> Result<(), String> {
    let status = Command::new(program)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("`{program}` cannot be started: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{program} {}` failed ({status}); `{by_hand}` shows why", args.join(" ")))
    }
}
