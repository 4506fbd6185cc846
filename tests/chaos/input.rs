//! What cannot be run is refused before anything is attacked.

use super::{PROGRAMS, scenario, write};
use crate::instance::Instance;

#[test]
fn what_cannot_be_run_is_refused_with_the_reason() {
    let instance = Instance::of(PROGRAMS);
    let idle = instance.grace(&["chaos", "run", "dirt-critical-kernel-kill"]);
    assert_eq!(idle.code, Some(3), "{idle}");
    assert!(idle.err.contains("error[not_running]"), "{idle}");
    let unknown = instance.grace(&["chaos", "run", "dirt-critical-kernel-kil"]);
    assert_eq!(unknown.code, Some(2), "{unknown}");
    assert!(unknown.err.contains("did you mean `dirt-critical-kernel-kill`?"), "{unknown}");
    write(&instance, "bad", &scenario("bad", "verifications: [{name: v, chek: 'true'}]\n"));
    let bad = instance.grace(&["chaos", "run", "bad"]);
    assert_eq!(bad.code, Some(2), "{bad}");
    assert!(bad.err.contains("verifications[0].chek: unknown key"), "{bad}");
    assert!(bad.err.contains("help: did you mean `check`?"), "{bad}");
    // The others are listed all the same.
    let list = instance.grace(&["chaos", "list"]);
    assert_eq!(list.code, Some(2), "{list}");
    assert!(list.out.contains("dirt-critical-kernel-kill"), "{list}");

    instance.up();
    let rest = "faults: [{type: kill, target: quite}]\nverifications: [{name: v, check: 'true'}]\n";
    write(&instance, "nobody", &scenario("nobody", rest));
    for more in [&["--dry-run"][..], &[]] {
        let args = [&["chaos", "run", "nobody"][..], more].concat();
        let nobody = instance.grace(&args);
        assert_eq!(nobody.code, Some(2), "{nobody}");
        assert!(
            nobody.err.contains("faults[0].target: there is no component `quite` (did you mean `quiet`?)"),
            "{nobody}"
        );
    }
    assert!(!instance.data().join("runs").exists(), "nothing was begun");
    instance.down();
}

#[test]
fn a_dry_run_says_who_would_be_hit_and_hits_nobody() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    let before = instance.component("quiet");
    let rest = "faults: [{type: stop, target: {kind: process, not: [beating]}, at: 1s, duration: 5s}]\n\
                blast_radius: {spare: [clarity]}\nsafeguards: [nothing]\nplaybooks: [no_such]\n\
                verifications: [{name: v, check: 'true'}]\n";
    write(&instance, "dry", &scenario("dry", rest));
    let plan = instance.grace(&["chaos", "run", "dry", "--dry-run"]);
    assert_eq!(plan.code, Some(0), "{plan}");
    let pid = before.pid.unwrap();
    assert!(plan.out.contains(&format!("at   1.00 s  stop  quiet (pid {pid}), for 5 s at most")), "{plan}");
    assert!(plan.out.contains("spared       clarity"), "{plan}");
    for missing in ["there is no safeguard `nothing`", "there is no playbook `no_such`"] {
        let warned = plan.out.lines().any(|l| l.contains(missing) && l.ends_with("so the run would fail"));
        assert!(warned, "{missing}: {plan}");
    }
    let told = instance.told(&["chaos", "run", "dry", "--dry-run"]).remove(0);
    assert_eq!(told["playbooks"], serde_json::json!([{"name": "no_such", "known": false}]));
    assert_eq!(instance.component("quiet").pid, before.pid);
    instance.down();
}
