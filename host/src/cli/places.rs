//! Where the user's things are by default: state, cache and configuration. Computes paths and does no I/O but to ask which folder is the
//! current one; it makes nothing and reads nothing there.
//!
//! State is not kept in the current folder: a downloaded folder could ship one, and the usual workspace would contain it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::cli::env::Env;
use crate::cli::error::Error;
use crate::id::Digest;

/// The name of our folder in those of the user.
const OURS: &str = "skillhost";
/// The state folder of older versions, below the current folder.
pub(crate) const OLD_STATE: &str = ".skillhost";
/// Where states are in a home.
const STATE: &str = ".local/state";
/// How many hex digits of a folder's digest tell it apart from others of its name.
const KEY_DIGITS: usize = 16;
/// How many characters of a folder's name are in the name of its state: the rest of a name of 255 is for the key.
const NAME_CHARS_MAX: usize = 64;

/// Where the user's things are. What is below our own folders is made for the user alone (0700) by whoever makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Runs, their journals and the index: `--state`, else `HOST_STATE`, else a folder for the current folder below `$XDG_STATE_HOME`.
    pub(crate) state: PathBuf,
    /// Whether nobody said where state is.
    pub(crate) state_is_default: bool,
    /// The folder with the states of all folders. `None` where the user has no home.
    states: Option<PathBuf>,
    /// What can be made again: `$XDG_CACHE_HOME/skillhost`. `None` where the user has no home.
    pub(crate) cache: Option<PathBuf>,
    /// What the operator says: `$XDG_CONFIG_HOME/skillhost`. `None` where the user has no home.
    pub(crate) config: Option<PathBuf>,
}

impl Places {
    /// The places of a call of the program; `state` is what its command line says.
    ///
    /// # Errors
    ///
    /// Where nobody says where state is and the user has no home, or the current folder is gone.
    pub(crate) fn of(env: &Env, state: Option<&Path>) -> Result<Self, Error> {
        let named = state.map(Path::to_owned).or_else(|| env.state.as_ref().map(PathBuf::from));
        let state_is_default = named.is_none();
        let state = match named {
            Some(state) => state,
            None => Self::default_state(env)?,
        };
        let below = |base: Option<PathBuf>| base.map(|base| base.join(OURS));
        Ok(Self {
            state,
            state_is_default,
            states: below(base(env, env.state_home.as_deref(), STATE)),
            cache: below(base(env, env.cache_home.as_deref(), ".cache")),
            config: below(base(env, env.config_home.as_deref(), ".config")),
        })
    }

    /// The folders of ours, whether they are there or not: no grant reaches them.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Path> {
        [&self.states, &self.cache, &self.config].into_iter().filter_map(|place| place.as_deref())
    }

    fn default_state(env: &Env) -> Result<PathBuf, Error> {
        let hint = "name a state folder with `--state DIR` or HOST_STATE, or set HOME";
        let Some(base) = base(env, env.state_home.as_deref(), STATE) else {
            let message =
                "there is no home folder to keep runs in: neither HOME nor XDG_STATE_HOME is an absolute path";
            return Err(Error::request(message).hint(hint));
        };
        let folder = std::fs::canonicalize(".").map_err(|error| {
            let message = format!("the current folder cannot be found, so its runs cannot: {error}");
            Error::request(message).hint("go to a folder that is there, or name a state folder with `--state DIR`")
        })?;
        Ok(base.join(OURS).join(state_name(&folder)))
    }
}

/// A folder of the user: what the variable says, else a place in the home. The XDG rules have paths that are not absolute ignored.
fn base(env: &Env, said: Option<&OsStr>, in_home: &str) -> Option<PathBuf> {
    let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    said.and_then(absolute).or_else(|| Some(env.home.as_deref().and_then(absolute)?.join(in_home)))
}

/// The name of a folder's state: what a person knows the folder by, and what no other folder has.
fn state_name(folder: &Path) -> String {
    let name = folder.file_name().map_or_else(|| "root".into(), OsStr::to_string_lossy);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = name.chars().take(NAME_CHARS_MAX).map(plain).collect();
    // One that begins with a dot would be hidden from who looks for it.
    let name = name.trim_start_matches('.');
    let key: String = Digest::of(folder.as_os_str().as_encoded_bytes()).to_string().chars().take(KEY_DIGITS).collect();
    format!("{}-{key}", if name.is_empty() { "_" } else { name })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| OsString::from(pair.1));
        Env {
            state: get("HOST_STATE"),
            home: get("HOME"),
            state_home: get("XDG_STATE_HOME"),
            cache_home: get("XDG_CACHE_HOME"),
            config_home: get("XDG_CONFIG_HOME"),
            ..Env::default()
        }
    }

    #[test]
    fn what_is_said_comes_before_the_home() {
        let here = state_name(&std::fs::canonicalize(".").unwrap());
        let all = [("HOST_STATE", "s"), ("HOME", "/h"), ("XDG_STATE_HOME", "/xs"), ("XDG_CACHE_HOME", "/xc")];
        let places =
            |option: Option<&str>, skipped: usize| Places::of(&env(&all[skipped..]), option.map(Path::new)).unwrap();
        assert_eq!(places(Some("o"), 0).state, Path::new("o"));
        assert_eq!(places(None, 0).state, Path::new("s"));
        assert_eq!(places(None, 1).state, Path::new("/xs/skillhost").join(&here));
        assert!(places(None, 1).state_is_default && !places(None, 0).state_is_default);
        assert_eq!(places(None, 0).cache.as_deref(), Some(Path::new("/xc/skillhost")));
        assert_eq!(places(None, 0).config.as_deref(), Some(Path::new("/h/.config/skillhost")));
        let home = Places::of(&env(&[("HOME", "/h")]), None).unwrap();
        assert_eq!(home.state, Path::new("/h/.local/state/skillhost").join(&here));
        assert_eq!(home.cache.as_deref(), Some(Path::new("/h/.cache/skillhost")));
    }

    #[test]
    fn without_a_home_state_has_to_be_named() {
        for pairs in
            [&[][..], &[("HOME", "h")], &[("XDG_STATE_HOME", "xs")], &[("HOME", "h"), ("XDG_STATE_HOME", "./s")]]
        {
            let error = Places::of(&env(pairs), None).unwrap_err();
            assert!(error.first().contains("no home folder"), "{pairs:?}: {}", error.first());
            let named = Places::of(&env(pairs), Some(Path::new("s"))).unwrap();
            assert_eq!((named.state.as_path(), named.cache, named.config), (Path::new("s"), None, None));
        }
        // What is not absolute is as if it were not there.
        let places = Places::of(&env(&[("HOME", "/h"), ("XDG_CACHE_HOME", "c")]), None).unwrap();
        assert_eq!(places.cache.as_deref(), Some(Path::new("/h/.cache/skillhost")));
    }

    #[test]
    fn a_state_is_called_what_its_folder_is_and_shared_with_no_other() {
        let name = |path: &str| state_name(Path::new(path));
        let (one, two) = (name("/a/sales"), name("/b/sales"));
        assert!(one.starts_with("sales-") && two.starts_with("sales-") && one != two, "{one} {two}");
        assert_eq!(one.len(), "sales-".len() + KEY_DIGITS);
        assert!(name("/").starts_with("root-"));
        assert!(name("/a/.hidden").starts_with("hidden-"));
        assert!(name("/a/...").starts_with("_-"));
        assert!(
            name("/a/two words\n\u{1b}[2J;é").starts_with("two_words___2J__-"),
            "{}",
            name("/a/two words\n\u{1b}[2J;é")
        );
        assert!(name(&format!("/{}", "n".repeat(255))).len() < 100);
        // By bytes: two names that are shown alike are two.
        let bytes = |bytes: &'static [u8]| {
            use std::os::unix::ffi::OsStrExt as _;
            state_name(Path::new(OsStr::from_bytes(bytes)))
        };
        assert_ne!(bytes(b"/a/\xff"), bytes(b"/a/\xfe"));
    }
}
