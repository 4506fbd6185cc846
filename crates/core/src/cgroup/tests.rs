//! Groups: what is written, on a folder that imitates the kernel's files, and on the kernel itself where it lets us.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use grace_types::time::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, WaitOptions};

use super::{
    hierarchy::{Base, clear},
    *,
};
use crate::spawn::Spawn;

const ALL: Controllers = Controllers { cpu: true, memory: true, pids: true };

fn limits() -> Resources {
    Resources { memory_bytes: Some(64 << 20), cpu_cores: Some(1.5), open_files: Some(64), processes: Some(8) }
}

#[test]
fn limits_become_the_kernels_words_and_what_no_controller_holds_is_left_over() {
    let files = format::limit_files(&limits(), ALL);
    let expected = [("cpu.max", "150000 100000"), ("memory.max", "67108864"), ("pids.max", "8")];
    assert_eq!(files, expected.map(|(file, text)| (file, text.to_owned())));
    let none = format::limit_files(&Resources::default(), ALL);
    let expected = [("cpu.max", "max 100000"), ("memory.max", "max"), ("pids.max", "max")];
    assert_eq!(none, expected.map(|(file, text)| (file, text.to_owned())));
    let little = Resources { cpu_cores: Some(0.001), ..Resources::default() };
    assert_eq!(format::limit_files(&little, ALL)[0].1, "1000 100000", "less is refused by the kernel");

    let without_cpu = Controllers { cpu: false, ..ALL };
    assert_eq!(format::limit_files(&limits(), without_cpu).len(), 2);
    let left = format::rest(&limits(), without_cpu);
    let expected = Resources { cpu_cores: Some(1.5), open_files: Some(64), ..Resources::default() };
    assert_eq!(left, expected);
    assert_eq!(format::rest(&limits(), Controllers::default()), limits());
    assert!(Controllers::needed(&Resources { open_files: Some(64), ..Resources::default() }).is_empty());
}

#[test]
fn controllers_are_whole_words() {
    assert_eq!(Controllers::parse("cpuset cpu io memory hugetlb pids rdma misc\n"), ALL);
    assert!(Controllers::parse("cpuset hugetlb\n").is_empty());
    assert_eq!(ALL.names().collect::<Vec<_>>(), ["cpu", "memory", "pids"]);
}

#[test]
fn a_process_finds_its_group_through_the_mount() {
    let group = |text: &'static str| format::group_of(text);
    assert_eq!(group("0::/system.slice/a.service\n"), Some(Path::new("/system.slice/a.service")));
    assert_eq!(group("9:name=systemd:/\n4:memory:/x\n0::/\n"), Some(Path::new("/")));
    assert_eq!(group("4:memory:/x\n"), None);
    assert_eq!(group("0::/gone (deleted)\n"), None);
    assert_eq!(group("0::/../outside\n"), None);

    let mountinfo = "\
        23 1 0:4 / /proc rw shared:1 - proc proc rw\n\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 /box /run/c\\040groups rw,relatime shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n\
        broken line\n";
    let mounts: Vec<_> = format::mounts(mountinfo).collect();
    let mount = format::Mount { root: "/box".into(), point: "/run/c groups".into() };
    assert_eq!(mounts, std::slice::from_ref(&mount));
    assert_eq!(mount.folder(Path::new("/box/a/b")), Some("/run/c groups/a/b".into()));
    assert_eq!(mount.folder(Path::new("/box")), Some("/run/c groups".into()));
    assert_eq!(mount.folder(Path::new("/boxes")), None, "outside the mount");
}

#[test]
fn our_own_group_comes_first_and_the_leaf_is_not_divided_again() {
    let place = |own: &str| Place { own: own.into(), top: "/sys/fs/cgroup".into() };
    let own = |folder: &str| Base { folder: folder.into(), own: true };
    assert_eq!(place("/sys/fs/cgroup/x/grace").bases(), [own("/sys/fs/cgroup/x")]);
    assert_eq!(place("/sys/fs/cgroup").bases(), [own("/sys/fs/cgroup")]);
    assert_eq!(place("/sys/fs/cgroup/none-such/y").bases(), [own("/sys/fs/cgroup/none-such/y")]);
}

/// A folder with the files of a group, which keep what is written to them.
fn imitation(folder: PathBuf, files: &[(&str, &str)]) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    let usual = ["cgroup.procs", "cgroup.subtree_control", "cpu.max", "memory.max", "pids.max"];
    for file in usual {
        fs::write(folder.join(file), "").unwrap();
    }
    for (file, text) in files {
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

const OFFERED: (&str, &str) = ("cgroup.controllers", "cpu io memory pids\n");
const ENABLED: (&str, &str) = ("cgroup.subtree_control", "cpu memory pids\n");

#[test]
fn a_group_gets_its_limits_and_goes_when_it_can() {
    let root = tempfile::tempdir().unwrap();
    let base = imitation(root.path().join("own"), &[OFFERED, ENABLED]);
    imitation(base.join("grace-1"), &[OFFERED, ENABLED]);
    let web = imitation(base.join("grace-1/component-cgroup.procs"), &[]);
    let bases = vec![Base { folder: base.clone(), own: true }];
    let hierarchy = Hierarchy::open(bases, "grace-1", &|_| false).unwrap();
    assert_eq!(hierarchy.held, ALL);
    hierarchy.group("cgroup.procs", &limits()).unwrap();
    let read = |file: &str| fs::read_to_string(web.join(file)).unwrap();
    assert_eq!(
        [read("memory.max"), read("cpu.max"), read("pids.max")],
        ["67108864", "150000 100000", "8"],
        "a component's name is never taken for one of the kernel's files"
    );
    assert!(!hierarchy.remove("cgroup.procs"), "files are in the way, as processes would be");
    for file in fs::read_dir(&web).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    fs::create_dir_all(web.join("divided/further")).unwrap();
    assert!(hierarchy.remove("cgroup.procs"));
    assert!(hierarchy.remove("cgroup.procs"), "gone is gone");
}

#[test]
fn what_cannot_be_divided_is_refused_with_the_reason_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let open = |folder: &Path, own| {
        let base = Base { folder: folder.to_owned(), own };
        Hierarchy::open(vec![base], "grace-1", &|_| true)
    };
    let few = imitation(root.path().join("few"), &[("cgroup.controllers", "hugetlb\n")]);
    assert_eq!(open(&few, true).unwrap_err(), Refused::NoControllers { group: few });
    let around = imitation(root.path().join("around"), &[OFFERED]);
    assert!(open(&around, false).is_err(), "controllers are not enabled in a group that is not ours");
    assert_eq!(fs::read_to_string(around.join("cgroup.subtree_control")).unwrap(), "");
    assert!(matches!(open(&root.path().join("none"), true), Err(Refused::System { .. })));
    assert_eq!(Hierarchy::open(vec![], "grace-1", &|_| true).unwrap_err(), Refused::NotMounted);
}

#[test]
fn what_is_not_held_is_said_once_a_component() {
    let mut groups = Groups::new(Path::new("/some/data"));
    groups.hierarchy = Some(Err(Refused::NotMounted));
    let mut said = |name: &str, limits: &Resources| {
        let (group, said) = groups.place(name, limits, &|_| false);
        assert!(group.is_none());
        said
    };
    let text = said("web", &limits()).unwrap();
    assert_eq!(text, "`web`: its limit on CPU is not held: cgroup v2 is not mounted");
    assert_eq!(said("web", &limits()), None);
    assert!(said("worker", &limits()).is_some());
    let memory = Resources { cpu_cores: None, ..limits() };
    assert_eq!(said("db", &memory), None, "rlimits hold it");
}

/// A group of our own for a test, in the hierarchy of this machine; removed with all that runs in it.
struct Real(PathBuf);

impl Real {
    /// `None`, with a word about it, where the machine has none that may be written.
    fn new(name: &str, needs_controllers: bool) -> Option<Self> {
        let make = || -> Result<Self, String> {
            let base = Place::current().map_err(|e| e.to_string())?.own;
            if needs_controllers {
                let base = Base { folder: base.clone(), own: true };
                let held = Hierarchy::open(vec![base], "unused", &|_| false).map_err(|e| e.to_string())?.held;
                if held != ALL {
                    return Err(format!("it offers no more than {held:?}"));
                }
            }
            let folder = base.join(format!("grace-test-{}-{name}", std::process::id()));
            fs::create_dir(&folder).map_err(|e| e.to_string())?;
            Ok(Self(folder))
        };
        let tell = |why| {
            let text = format!("not tested on the kernel: no cgroup v2 to use here: {why}");
            grace_kernel::process::tell(&text);
        };
        make().map_err(tell).ok()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let name = self.0.file_name().unwrap().to_str().unwrap();
        clear(&[Base { folder: self.0.parent().unwrap().to_owned(), own: true }], name, PATIENCE);
        assert!(std::thread::panicking() || !self.0.exists(), "{} is left over", self.0.display());
    }
}

fn start(script: &str, limits: Resources, group: Option<Group>) -> (Pid, fs::File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let pid = Spawn {
        command: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        working_dir: None,
        output: Some((write.try_clone().unwrap(), write)),
        passed: Vec::new(),
        limits,
        group,
        new_session: false,
    }
    .start()
    .unwrap();
    (pid, read.into())
}

fn outcome((pid, mut output): (Pid, fs::File)) -> (String, Option<i32>) {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1;
    (text, status.terminating_signal())
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = SystemClock.now().mono.plus(Duration::from_secs(30));
    while !condition() {
        assert!(SystemClock.now().mono < end, "{what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn procs(folder: &Path) -> OwnedFd {
    fs::OpenOptions::new().write(true).open(folder.join("cgroup.procs")).unwrap().into()
}

const SHOW: &str = "grep ^0:: /proc/self/cgroup; ulimit -v; ulimit -n";

#[test]
fn a_process_is_in_its_group_before_it_runs_and_falls_back_when_it_cannot_be() {
    let Some(real) = Real::new("join", false) else { return };
    let held = Controllers { cpu: true, memory: true, pids: false };
    let group = || Group { procs: procs(&real.0), rest: format::rest(&limits(), held) };
    let limits = Resources { processes: None, ..limits() };
    let (text, _) = outcome(start(SHOW, limits.clone(), Some(group())));
    let name = real.0.file_name().unwrap().to_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(name), "{text}");
    assert_eq!(lines[1..], ["unlimited", "64"], "memory is the group's, files are not");

    let stuck = start("setsid sleep 1000 & sleep 1000", limits.clone(), Some(group()));
    let members = || fs::read_to_string(real.0.join("cgroup.procs")).unwrap().lines().count();
    until("both run", || members() == 3);
    let base = Base { folder: real.0.parent().unwrap().to_owned(), own: true };
    clear(&[base], name, PATIENCE);
    assert_eq!(outcome(stuck).1, Some(Signal::KILL.as_raw()), "what runs in a group ends with it");

    fs::create_dir_all(&real.0).unwrap();
    let gone = group();
    fs::remove_dir(&real.0).unwrap();
    let (text, _) = outcome(start(SHOW, limits, Some(gone)));
    assert!(!text.contains(name) && text.contains(&(64 << 10).to_string()), "rlimits instead: {text}");
}

#[test]
fn the_kernel_holds_the_limits_of_a_group() {
    let Some(real) = Real::new("limits", true) else { return };
    // A guardian to be, alone in the group that is to be divided; then with a stranger.
    let mut guardian = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let put = |pid: u32, folder: &Path| fs::write(folder.join("cgroup.procs"), pid.to_string());
    put(guardian.id(), &real.0).unwrap();
    put(stranger.id(), &real.0).unwrap();
    let ours = |pid| pid == guardian.id();
    let bases = || vec![Base { folder: real.0.clone(), own: true }];
    let refused = Hierarchy::open(bases(), "grace-1", &ours).unwrap_err();
    assert_eq!(refused, Refused::Shared { group: real.0.clone(), pid: stranger.id() });
    assert!(!real.0.join("grace").exists(), "nothing was touched");
    put(stranger.id(), real.0.parent().unwrap()).unwrap();
    let hierarchy = Hierarchy::open(bases(), "grace-1", &ours).unwrap();
    assert_eq!(hierarchy.held, ALL);
    let leaf = fs::read_to_string(real.0.join("grace/cgroup.procs")).unwrap();
    assert_eq!(leaf.trim(), guardian.id().to_string(), "the guardian made room");
    let again = Place { own: real.0.join("grace"), top: "/".into() };
    assert_eq!(Hierarchy::open(vec![again.bases().remove(0)], "grace-1", &|_| false).unwrap().held, ALL);

    let run = |script: &str, limits: Resources| {
        let procs = hierarchy.group("web", &limits).unwrap();
        let rest = format::rest(&limits, hierarchy.held);
        start(script, limits, Some(Group { procs, rest }))
    };
    let folder = real.0.join("grace-1/component-web");
    let counts = |file: &str, line: &str| {
        fs::read_to_string(folder.join(file))
            .unwrap()
            .lines()
            .any(|l| l.strip_prefix(line).is_some_and(|n| n.trim().parse::<u64>().is_ok_and(|n| n > 0)))
    };
    let memory = Resources { memory_bytes: Some(16 << 20), ..Resources::default() };
    let (_, signal) = outcome(run("exec tail /dev/zero", memory));
    assert_eq!(signal, Some(Signal::KILL.as_raw()), "out of memory");
    assert!(counts("memory.events", "oom_kill "));
    let cpu = Resources { cpu_cores: Some(0.05), ..Resources::default() };
    let busy = run("while :; do :; done", cpu);
    until("it is throttled", || counts("cpu.stat", "nr_throttled "));
    assert!(!hierarchy.remove("web") || !folder.exists());
    assert_eq!(outcome(busy).1, Some(Signal::KILL.as_raw()));
    until("the group goes", || hierarchy.remove("web"));
    let few = Resources { processes: Some(2), ..Resources::default() };
    let (text, _) = outcome(run("sleep 0 | sleep 0 | sleep 0 | sleep 0; true", few));
    assert!(counts("pids.events", "max "), "{text}");

    for child in [&mut guardian, &mut stranger] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
