//! Which instance a command means: the folder of its files.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use grace_core::instance::Instance;

use crate::failure::{Exit, Failure};

/// The instance in `--data`, else `GRACE_DATA`, else this user's own.
pub(crate) fn instance(data: Option<PathBuf>) -> Result<Instance, Failure> {
    let folder = choose(data, |name| std::env::var_os(name).filter(|value| !value.is_empty()))?;
    // The control plane and the processes that it starts have other working folders than we do.
    let absolute = std::path::absolute(&folder).map_err(|e| {
        Failure::new(Exit::Usage, "bad_data_folder", format!("cannot tell where the data folder is: {e}"))
            .at(&folder.display())
            .help("give --data an absolute path")
    })?;
    Ok(Instance::at(real(&absolute)))
}

/// One name for one folder, however it is spelled: the short folder of sockets of a deep instance is named after it. What
/// does not exist yet keeps its spelling below what does.
fn real(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match known {
        Some((above, real)) => path.strip_prefix(above).map_or(real.clone(), |rest| {
            // Joining nothing would add a slash.
            if rest.as_os_str().is_empty() { real } else { real.join(rest) }
        }),
        None => path.to_owned(),
    }
}

fn choose(data: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Failure> {
    if let Some(folder) = data {
        if folder.as_os_str().is_empty() {
            return Err(Failure::new(Exit::Usage, "bad_data_folder", "--data is empty"));
        }
        return Ok(folder);
    }
    if let Some(folder) = variable("GRACE_DATA") {
        return Ok(folder.into());
    }
    // The XDG base directory specification: a relative path in its variables is to be ignored.
    let state = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")));
    state.map(|folder| folder.join("grace")).ok_or_else(|| {
        Failure::new(Exit::Usage, "no_data_folder", "there is no HOME to keep the instance's files in")
            .help("name a folder with --data DIR or GRACE_DATA")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(data: Option<&str>, variables: &[(&str, &str)]) -> Result<PathBuf, String> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
        choose(data.map(PathBuf::from), find).map_err(|f| f.code)
    }

    #[test]
    fn one_folder_has_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("a")).unwrap();
        std::os::unix::fs::symlink(base.join("a"), base.join("b")).unwrap();
        assert_eq!(real(&base.join("b/../a")), base.join("a"));
        assert_eq!(real(&base.join("b")).as_os_str(), base.join("a").as_os_str());
        assert_eq!(real(&base.join("b/new/deep")), base.join("a/new/deep"));
    }

    #[test]
    fn the_nearest_wish_wins() {
        let all = [("GRACE_DATA", "/g"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(chosen(Some("d"), &all), Ok("d".into()));
        assert_eq!(chosen(None, &all), Ok("/g".into()));
        assert_eq!(chosen(None, &all[1..]), Ok("/x/grace".into()));
        assert_eq!(chosen(None, &all[2..]), Ok("/h/.local/state/grace".into()));
        assert_eq!(
            chosen(None, &[("XDG_STATE_HOME", "x"), ("HOME", "/h")]),
            Ok("/h/.local/state/grace".into())
        );
        assert_eq!(chosen(None, &[]), Err("no_data_folder".into()));
        assert_eq!(chosen(Some(""), &all), Err("bad_data_folder".into()));
    }
}
