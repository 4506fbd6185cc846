//! Input that is wrong: refused before anything starts, with its place.

use crate::instance::Instance;

#[test]
fn a_malformed_manifest_is_refused_with_file_line_and_column() {
    let instance = Instance::of("");
    instance.write_manifest("bus: {port: 0}\nprocesses:\n  web:\n    comand: [sleep, '1']\n");
    for check in [&["--check"][..], &[]] {
        let mut args = vec!["up", "--manifest", "grace.yaml"];
        args.extend(check);
        let ran = instance.grace(&args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.err.contains("grace.yaml:4:5: error: processes.web.comand: unknown key"), "{ran}");
        assert!(ran.err.contains("did you mean `command`?"), "{ran}");
    }
    assert!(!instance.data().exists(), "nothing was started");
}
