// SPDX-License-Identifier: EUPL-1.2
//! Which folder holds the state: `state-N`, named by the file `state-current`.
//!
//! A raft_snapshot is installed by filling a fresh folder and then writing its name into that file. Before that write a crash leaves the old
//! state in force and a folder that nobody names; after it the new state. Views of the old state go on until they are dropped; its folder
//! goes with the last of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::applied::Applied;
use super::check;
use super::db::{Db, Resources};
use super::format;
use super::keys::{state_cf, state_meta};
use super::snapshot::{Manifest, clone_files, write_durably};
use crate::error::Error;

const POINTER: &str = "state-current";
const PREFIX: &str = "state-";

/// The folder that holds the state folders.
pub(crate) struct StateDir {
    dir: PathBuf,
    resources: Resources,
    number: u64,
    /// A state of at most so many bytes is checked whole before it is installed.
    scrub_bytes: u64,
}

impl StateDir {
    /// Opens the state in force, or a fresh one, and removes folders that crashes left. One that another build kept is named and not opened.
    pub(crate) fn open(
        dir: &Path,
        resources: Resources,
        scrub_bytes: u64,
    ) -> Result<(StateDir, Arc<Db>), Error> {
        let pointer = dir.join(POINTER);
        let number = match fs::read_to_string(&pointer) {
            Ok(text) => {
                let number = text
                    .trim_end()
                    .strip_prefix(PREFIX)
                    .and_then(|number| number.parse().ok());
                number.ok_or_else(|| {
                    Error::corrupt(format!("{} names no state folder", pointer.display()))
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A new node. A crash after this write leaves the name of a folder that the next start creates.
                write_durably(&pointer, format!("{PREFIX}0\n").as_bytes())?;
                0
            }
            Err(error) => return Err(Error::io(format!("read {}", pointer.display()), error)),
        };
        let state = StateDir {
            dir: dir.into(),
            resources,
            number,
            scrub_bytes,
        };
        state.remove_others()?;
        let path = state.path_of(number);
        if number > 0 && !path.is_dir() {
            return Err(Error::corrupt(format!(
                "{} is missing, but {} names it",
                path.display(),
                pointer.display()
            )));
        }
        let db = Db::open_state(&path, resources)?;
        format::claim(&db)?;
        Ok((state, Arc::new(db)))
    }

    /// Whether a folder is small enough to be read before it is used.
    pub(crate) fn is_small(&self, path: &Path) -> Result<bool, Error> {
        Ok(check::bytes_in(path)? <= self.scrub_bytes)
    }

    /// Makes the content of a verified snapshot the state. What is folded in it is checked before, if that is quick.
    ///
    /// # Errors
    /// `Corrupt` if the folder does not hold what its manifest says; the old state is then still in force.
    pub(crate) fn install(
        &mut self,
        snapshot: &Path,
        manifest: &Manifest,
    ) -> Result<(Arc<Db>, Applied), Error> {
        let number = self.number + 1;
        let path = self.path_of(number);
        if path.exists() {
            fs::remove_dir_all(&path)
                .map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
        }
        clone_files(snapshot, &path)?;
        let db = Arc::new(Db::open_state(&path, self.resources)?);
        // Removed again unless all of it holds.
        db.retire();
        format::claim(&db)?;
        let applied = read_applied(&db)?;
        let holds = applied.raft_log_id == manifest.meta.last_log_id
            && applied.membership == manifest.meta.last_membership
            && applied.tree_size == manifest.tree_size
            && applied.root == manifest.root;
        if !holds {
            return Err(Error::corrupt(format!(
                "{} does not hold the state that its manifest names",
                snapshot.display()
            )));
        }
        check::state(&db, &applied)?;
        if self.is_small(snapshot)? {
            check::scrub_folds(|| Some(db.clone()), || ())?;
        }
        write_durably(
            &self.dir.join(POINTER),
            format!("{PREFIX}{number}\n").as_bytes(),
        )?;
        db.keep();
        self.number = number;
        Ok((db, applied))
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number}"))
    }

    fn remove_others(&self) -> Result<(), Error> {
        let failed = |error| Error::io(format!("clean {}", self.dir.display()), error);
        for item in fs::read_dir(&self.dir).map_err(failed)? {
            let path = item.map_err(failed)?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.parse::<u64>().ok());
            if path.is_dir() && number.is_some_and(|number| number != self.number) {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The applied record of a state; that of an empty state if there is none.
pub(crate) fn read_applied(db: &Db) -> Result<Applied, Error> {
    Ok(db
        .get_decoded(state_cf::META, state_meta::APPLIED)?
        .unwrap_or_else(Applied::nothing))
}
