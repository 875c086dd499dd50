//! The folder of one run.
//!
//! ```text
//! trace.jsonl    the chained events          plan.json|plan.yaml   the document as it was given
//! timing.jsonl   what the wall clock says    policy.toml           the policy as it was given
//! blobs/         long payloads by digest     access.cedar          the policy's rules, where it has any
//! ceiling.toml   the operator's policy above     ceiling.cedar     its rules
//! components/    each component and its skill.toml, by digest
//! sequence       which run of its state folder it is
//! asked/         what somebody was asked about, by digest
//! place.json     where the run took place: for whoever goes on with it on this machine
//! lock           locked by whoever acts in the run
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{StoreError, create_file, create_folder, create_new_file, failed};
use crate::canonical;
use crate::context::{RequestContext, RequestKey};
use crate::folder_id::FolderId;
use crate::id::Digest;
use crate::limits;
use crate::plan::{PlanDocument, PlanFormat};
use crate::policy::PolicyOrigin;
use crate::regular;
use crate::trace::{BLOBS_FOLDER, TRACE_FILE};

const PLANS: [(&str, PlanFormat); 2] = [("plan.json", PlanFormat::Json), ("plan.yaml", PlanFormat::Yaml)];
const POLICY: &str = "policy.toml";
const RULES: &str = "access.cedar";
const CEILING: &str = "ceiling.toml";
const CEILING_RULES: &str = "ceiling.cedar";
const TIMING: &str = "timing.jsonl";
const PLACE: &str = "place.json";
/// The number of the run among those of its state folder, in the order in which they began.
const SEQUENCE: &str = "sequence";
/// What somebody was asked, each document by its digest.
const ASKED: &str = "asked";
/// The run that has taken this one back.
const TAKEN_BACK: &str = "taken-back";
const COMPONENTS: &str = "components";

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    id: String,
    /// Where components are kept once for all runs; `None` for a run that is only read.
    shared: Option<PathBuf>,
}

/// A wall-clock fact: how long something took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// `phase load and validate`, `step read` …
    pub what: String,
    /// Microseconds.
    pub duration_us: u64,
}

/// Where a run takes place: facts of this machine that are in no trace and that are needed to go on with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// What `{workspace}` means, as an absolute path.
    pub workspace: PathBuf,
    /// What paths in the plan are relative to, as an absolute path.
    pub base: PathBuf,
    /// The run that this one continues, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<(String, String)>,
    /// The file that the policy was read from, as an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// Where that policy is from, and how far its word went; what it may is judged again by whoever goes on. Older versions did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<PolicyOrigin>,
    /// What the request says that asked for the run: a step that is made again is told the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestContext>,
    /// The folder of the bundle that the skills are from, as an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
    /// The idempotency key of that request: where its answer was not kept, this says that it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RequestKey>,
    /// Whether nobody named the workspace, so that it may be no link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workspace_is_default: bool,
    /// Which folders were granted, by their paths: the run goes on in the same ones or not at all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<PathBuf, FolderId>,
}

impl RunDir {
    /// Keeps which folders the run was granted; what is known of it already has to be the same.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]. The path of a folder that is another one by now is the inner error.
    pub fn keep_folders(&self, folders: &BTreeMap<PathBuf, FolderId>) -> Result<Result<(), PathBuf>, StoreError> {
        let Some(mut place) = self.place()? else { return Ok(Ok(())) };
        let mut is_new = false;
        for (path, id) in folders {
            match place.folders.get(path) {
                Some(known) if known.is(id) => {}
                Some(_) => return Ok(Err(path.clone())),
                None => {
                    place.folders.insert(path.clone(), id.clone());
                    is_new = true;
                }
            }
        }
        if is_new {
            let (path, new) = (self.path.join(PLACE), self.path.join(format!("{PLACE}.new")));
            let bytes = serde_json::to_vec(&place).map_err(io::Error::other).map_err(failed("write", &path))?;
            self.renew(&new, &bytes)?;
            fs::rename(&new, &path).map_err(failed("write", &path))?;
        }
        Ok(Ok(()))
    }

    /// Keeps where the run takes place.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_place(&self, place: &Place) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(place).map_err(io::Error::other);
        let path = self.path.join(PLACE);
        self.keep(&path, &bytes.map_err(failed("write", &path))?)
    }

    /// Where the run takes place; `None` where that was not kept, as by older versions.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where what was kept cannot be read.
    pub fn place(&self) -> Result<Option<Place>, StoreError> {
        let path = self.path.join(PLACE);
        if !is_there(&path) {
            return Ok(None);
        }
        let place = serde_json::from_slice(&self.read(&path)?).map_err(io::Error::other);
        place.map(Some).map_err(failed("read", &path))
    }

    /// Says that another run takes this one back, before it does: nobody goes on with it from here on, and nobody takes it back twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_taken_back(&self, by: &str) -> Result<(), StoreError> {
        let mut takers = self.takers()?;
        // A rollback that goes on says it again.
        if takers.iter().any(|taker| taker == by) {
            return Ok(());
        }
        takers.push(by.to_owned());
        let (path, new) = (self.path.join(TAKEN_BACK), self.path.join(format!("{TAKEN_BACK}.new")));
        let written = regular::create(&new).and_then(|mut file| {
            file.write_all(takers.join("\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(failed("write", &path))?;
        sync_folder(&self.path)
    }

    /// The run that has taken this one back, the last one where one was not enough.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where what was kept cannot be read.
    pub fn taken_back(&self) -> Result<Option<String>, StoreError> {
        Ok(self.takers()?.pop())
    }

    /// The runs that have taken this one back, in their order: each has done what those before it have left.
    ///
    /// # Errors
    ///
    /// As for [`Self::taken_back`].
    pub fn takers(&self) -> Result<Vec<String>, StoreError> {
        let path = self.path.join(TAKEN_BACK);
        if !is_there(&path) {
            return Ok(Vec::new());
        }
        Ok(String::from_utf8_lossy(&self.read(&path)?).lines().map(str::to_owned).collect())
    }

    pub(super) fn create(path: PathBuf, id: String, shared: PathBuf) -> Result<Self, StoreError> {
        Ok(Self { path, id, shared: Some(shared) })
    }

    /// A run's folder, wherever it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotARun`] where it has no trace.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !is_there(&path.join(TRACE_FILE)) {
            return Err(StoreError::NotARun { path: path.to_owned(), missing: TRACE_FILE });
        }
        // What its files are is found when they are opened. A link in place of a folder would lead out of the run.
        for folder in [BLOBS_FOLDER, COMPONENTS, super::JOURNALS].map(|name| path.join(name)) {
            regular::check_folder(&folder).map_err(failed("read", &folder))?;
        }
        let id = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { path: path.to_owned(), id, shared: None })
    }

    /// The run's id: the folder's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its record is still where it was made: somebody may have removed it while the run went on.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.trace().is_file()
    }

    /// The trace.
    #[must_use]
    pub fn trace(&self) -> PathBuf {
        self.path.join(TRACE_FILE)
    }

    /// The folder of blobs.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.path.join(BLOBS_FOLDER)
    }

    /// A component that the run used.
    #[must_use]
    pub fn component(&self, digest: &Digest) -> PathBuf {
        self.path.join(COMPONENTS).join(format!("{digest}.wasm"))
    }

    /// Refuses components that are no files of this folder: what a link leads to is not what was recorded.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] for the first.
    pub(crate) fn check_components<'d>(&self, digests: impl Iterator<Item = &'d Digest>) -> Result<(), StoreError> {
        for digest in digests {
            let component = self.component(digest);
            for file in [component.with_extension("toml"), component] {
                regular::check(&file).map_err(failed("read", &file))?;
            }
        }
        Ok(())
    }

    /// Keeps the plan's text.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_plan(&self, extension: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.keep(&self.path.join(format!("plan.{extension}")), bytes)
    }

    /// Keeps the policy's text, empty where there was none, and that of its rules. Rules are kept under one name, whatever the policy
    /// calls them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_policy(&self, text: &str, rules: Option<&str>) -> Result<(), StoreError> {
        self.keep(&self.path.join(POLICY), text.as_bytes())?;
        rules.map_or(Ok(()), |rules| self.keep(&self.path.join(RULES), rules.as_bytes()))
    }

    /// Keeps the operator's policy above that one, where there is one, as [`Self::keep_policy`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_ceiling(&self, text: &str, rules: Option<&str>) -> Result<(), StoreError> {
        self.keep(&self.path.join(CEILING), text.as_bytes())?;
        rules.map_or(Ok(()), |rules| self.keep(&self.path.join(CEILING_RULES), rules.as_bytes()))
    }

    /// The operator's policy above the one that applied, and its rules; `None` where there was none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where it cannot be read.
    pub fn ceiling_text(&self) -> Result<Option<(String, Option<String>)>, StoreError> {
        let text = |name: &str| {
            let path = self.path.join(name);
            if path.is_file() { self.text(&path).map(Some) } else { Ok(None) }
        };
        Ok(match text(CEILING)? {
            Some(policy) => Some((policy, text(CEILING_RULES)?)),
            None => None,
        })
    }

    /// Keeps a component and its manifest: once for all runs, and as a hard link in the run's folder. Where linking is not possible the
    /// run gets a copy.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_component(&self, digest: &Digest, bytes: &[u8], manifest: Option<&str>) -> Result<(), StoreError> {
        let own = self.component(digest);
        if own.exists() {
            return Ok(()); // One component may be two skills of a plan.
        }
        let folder = self.path.join(COMPONENTS);
        create_folder(&folder).map_err(failed("create", &folder))?;
        match self.shared_copy(digest, bytes) {
            Some(shared) if fs::hard_link(&shared, &own).is_ok() => {}
            _ => self.keep(&own, bytes)?,
        }
        match manifest {
            Some(manifest) => self.keep(&own.with_extension("toml"), manifest.as_bytes()),
            None => Ok(()),
        }
    }

    /// The shared copy of a component, made if need be. One that is there is compared, or a damaged copy would end up in every later run.
    fn shared_copy(&self, digest: &Digest, bytes: &[u8]) -> Option<PathBuf> {
        let folder = self.shared.as_ref()?;
        create_folder(folder).ok()?;
        let path = folder.join(format!("{digest}.wasm"));
        let same_size = fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64);
        if same_size && regular::read(&path).is_ok_and(|found| found == bytes) {
            return Some(path);
        }
        let own = folder.join(format!("{digest}.{}.new", self.id));
        // Synced once for all runs that have it.
        let written = create_file(&own).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()));
        written.and_then(|()| fs::rename(&own, &path)).ok()?;
        Some(path)
    }

    /// Makes everything durable that was kept so far, names included: what it takes to go on with the run.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn sync(&self) -> Result<(), StoreError> {
        let components = self.path.join(COMPONENTS);
        for folder in [&components, &self.path] {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("read", folder)(error)),
            };
            for entry in entries {
                let path = entry.map_err(failed("read", folder))?.path();
                if path.is_file() {
                    regular::open(&path).and_then(|file| file.sync_data()).map_err(failed("write", &path))?;
                }
            }
            sync_folder(folder)?;
        }
        // The run's own name, and that of the folder of runs.
        self.path.ancestors().skip(1).take(2).try_for_each(sync_folder)
    }

    /// Keeps the run's number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_sequence(&self, number: u64) -> Result<(), StoreError> {
        self.renew(&self.path.join(SEQUENCE), number.to_string().as_bytes())
    }

    /// The run's number: runs that began later have a higher one, whatever the clock said. `None` of a run of an older version.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        sequence_of(&self.path)
    }

    /// Keeps what somebody is asked about, whole, under its digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_asked(&self, subject: &Digest, document: &[u8]) -> Result<(), StoreError> {
        let folder = self.path.join(ASKED);
        create_folder(&folder).map_err(failed("create", &folder))?;
        let path = folder.join(format!("{subject}.json"));
        if path.is_file() { Ok(()) } else { self.keep(&path, document) }
    }

    /// What somebody was asked about; `None` where it was not kept, or is not what it was.
    #[must_use]
    pub fn asked(&self, subject: &Digest) -> Option<Value> {
        let bytes = self.read(&self.path.join(ASKED).join(format!("{subject}.json"))).ok()?;
        (Digest::of(&bytes) == *subject).then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// Keeps what the wall clock says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn keep_timing(&self, phases: &[Phase]) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for Phase { what, duration_us } in phases {
            canonical::write_value(&mut lines, &json!({ "duration_us": duration_us, "what": what }));
            lines.push(b'\n');
        }
        self.renew(&self.path.join(TIMING), &lines)
    }

    /// What the wall clock said; nothing where the run did not end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where it cannot be read.
    pub fn timing(&self) -> Result<Vec<Phase>, StoreError> {
        let path = self.path.join(TIMING);
        if !is_there(&path) {
            return Ok(Vec::new());
        }
        let phase = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            let what = line.get("what")?.as_str()?.to_owned();
            Some(Phase { what, duration_us: line.get("duration_us")?.as_u64()? })
        };
        Ok(self.text(&path)?.lines().filter_map(phase).collect())
    }

    /// The plan that was run.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotARun`] where there is none.
    pub fn plan_document(&self) -> Result<PlanDocument, StoreError> {
        for (name, format) in PLANS {
            let path = self.path.join(name);
            if is_there(&path) {
                return Ok(PlanDocument::new(self.read(&path)?, format, &self.path));
            }
        }
        Err(StoreError::NotARun { path: self.path.clone(), missing: "plan.json" })
    }

    /// The text of the policy that applied.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where it cannot be read.
    pub fn policy_text(&self) -> Result<String, StoreError> {
        self.text(&self.path.join(POLICY))
    }

    /// The text of the policy's rules; `None` where it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where it cannot be read.
    pub fn rules_text(&self) -> Result<Option<String>, StoreError> {
        let path = self.path.join(RULES);
        if is_there(&path) { self.text(&path).map(Some) } else { Ok(None) }
    }

    /// Copies the whole run to a folder that must not be there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn copy_to(&self, target: &Path) -> Result<Self, StoreError> {
        copy_folder(&self.path, target)?;
        Self::open(target)
    }

    fn text(&self, path: &Path) -> Result<String, StoreError> {
        String::from_utf8(self.read(path)?).map_err(|_| failed("read", path)(io::Error::other("it is not UTF-8")))
    }

    /// Writes a file anew, of which a run that goes on may have written one before.
    fn renew(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let written = create_file(path).and_then(|mut file| file.write_all(bytes));
        written.map_err(failed("write", path))
    }

    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let written = create_new_file(path).and_then(|mut file| file.write_all(bytes));
        written.map_err(failed("write", path))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        regular::read_bounded(path, limits::DOCUMENT_BYTES_MAX).map_err(failed("read", path))
    }
}

/// Whether something is there, whatever it is: what is no file is an error when it is read, and never the same as nothing.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    regular::open_folder(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    create_folder(to).map_err(failed("create", to))?;
    for entry in fs::read_dir(from).map_err(failed("read", from))? {
        let entry = entry.map_err(failed("read", from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            let copied = regular::check(&entry.path()).and_then(|()| fs::copy(entry.path(), &target));
            copied.map_err(failed("write", &target))?;
        }
    }
    Ok(())
}
/// The number that is kept in a run's folder.
pub(super) fn sequence_of(folder: &Path) -> Option<u64> {
    const DIGITS_MAX: u64 = 20;
    let path = folder.join(SEQUENCE);
    let bytes = regular::read_bounded(&path, DIGITS_MAX).ok()?;
    std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok()
}
