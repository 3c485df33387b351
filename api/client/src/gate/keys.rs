// SPDX-License-Identifier: BSD-3-Clause
//! The registry's keys, kept on this side: a provider verifies signatures without asking anybody.
//!
//! The copy is a JSON file that is made anew from the ledger ([`Keys::refresh`]) and has an age beyond which nobody is let through on its
//! word. A key's id is a hash of the key, so a node cannot put another key under an id; that a key belongs to an institution is the node's
//! word here, and with a receipt also that of the majority that cosigned: it admitted the signature.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ledger::{
    base64,
    id::{InstitutionId, KeyId},
    key::{KeyUse, PublicKey},
    number::EntryIndex,
};
use serde::{Deserialize, Serialize};
use wire::registry::{InstitutionPage, Key};

use crate::{error::Error, http::Client};

/// What the file holds: the keys as `GET /v1/keys/{id}` shows them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyFile {
    /// Name of the ledger.
    pub ledger: String,
    /// When it was read from the ledger, milliseconds since the epoch.
    pub read_at_ms: u64,
    /// Smallest tree size that the answers reflected.
    pub tree_size: u64,
    /// The keys that sign entries.
    pub keys: Vec<Key>,
}

/// A key that signs entries.
#[derive(Clone, Debug)]
pub struct KnownKey {
    /// The key.
    pub public: PublicKey,
    /// Its one institution.
    pub institution: InstitutionId,
    from: u64,
    until: Option<u64>,
}

impl KnownKey {
    /// Whether it was in force at an index.
    pub fn in_force_at(&self, index: EntryIndex) -> bool {
        self.from <= index.0 && self.until.is_none_or(|until| index.0 < until)
    }

    /// Whether it was in force when the copy was made, and is not known to end.
    pub fn is_open(&self) -> bool {
        self.until.is_none()
    }
}

/// Why there is no copy of the registry.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is not one of these, of another ledger, or names a key under an id that is not its.
    #[error("{}: not a copy of the keys of {ledger}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// Which ledger was expected.
        ledger: String,
    },
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] Error),
}

/// A copy of the registry's keys that can be made anew while it is used.
#[derive(Debug)]
pub struct Keys {
    ledger: String,
    file: PathBuf,
    max_age: Duration,
    copy: RwLock<Arc<Copy>>,
}

#[derive(Debug, Default)]
struct Copy {
    keys: BTreeMap<KeyId, KnownKey>,
    rows: Vec<Key>,
    read_at_ms: u64,
    tree_size: u64,
}

impl Keys {
    /// Opens the file, if it is there; else the copy is empty and too old until it is refreshed.
    ///
    /// # Errors
    /// [`KeysError::Io`], [`KeysError::Form`]
    pub fn open(file: &Path, ledger: &str, max_age: Duration) -> Result<Keys, KeysError> {
        let form = || KeysError::Form {
            path: file.to_owned(),
            ledger: ledger.to_owned(),
        };
        let copy = match fs::read(file) {
            Ok(bytes) => {
                let read: KeyFile = serde_json::from_slice(&bytes).map_err(|_| form())?;
                if read.ledger != ledger {
                    return Err(form());
                }
                Copy::of(read).ok_or_else(form)?
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Copy::default(),
            Err(cause) => {
                return Err(KeysError::Io {
                    path: file.to_owned(),
                    cause,
                });
            }
        };
        Ok(Keys {
            ledger: ledger.to_owned(),
            file: file.to_owned(),
            max_age,
            copy: RwLock::new(Arc::new(copy)),
        })
    }

    /// The key of an id.
    pub fn find(&self, id: &KeyId) -> Option<KnownKey> {
        self.copy().keys.get(id).cloned()
    }

    /// Whether the copy is young enough to go by.
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        let max_age_ms = u64::try_from(self.max_age.as_millis()).unwrap_or(u64::MAX);
        now_ms.saturating_sub(self.copy().read_at_ms) <= max_age_ms
    }

    /// When it was read from the ledger, milliseconds since the epoch; 0 if never.
    pub fn read_at_ms(&self) -> u64 {
        self.copy().read_at_ms
    }

    /// Reads all institutions' keys from the ledger, and puts the copy on disk. Keys that ended are not asked for again: they stay ended.
    ///
    /// # Errors
    /// [`KeysError::Ledger`], [`KeysError::Io`]; the old copy stays.
    pub async fn refresh(&self, client: &Client, now_ms: u64) -> Result<(), KeysError> {
        let known = self.copy();
        let ended: BTreeMap<&str, &Key> = known
            .rows
            .iter()
            .filter(|row| row.until.is_some())
            .map(|row| (row.key_id.as_str(), row))
            .collect();
        let (mut rows, mut tree_size) = (Vec::new(), u64::MAX);
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/institutions?limit=100{cursor}");
            let page: InstitutionPage = parse(&client.text(&path, None).await?)?;
            tree_size = tree_size.min(page.tree_size);
            for id in page.items.into_iter().flat_map(|it| it.keys) {
                match ended.get(id.as_str()) {
                    Some(row) => rows.push((*row).clone()),
                    None => {
                        rows.extend(signs_entries(fetch(client, &id).await?));
                    }
                }
            }
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        self.keep(rows, now_ms, tree_size)
    }

    /// Asks the ledger for one key, such as one registered a moment ago. The age of the copy stays.
    ///
    /// # Errors
    /// [`KeysError::Ledger`] also where there is no such key.
    pub async fn fetch_one(&self, client: &Client, id: &KeyId) -> Result<(), KeysError> {
        let text = base64::url_encode(id.0.as_bytes());
        let row = signs_entries(fetch(client, &text).await?);
        let known = self.copy();
        let mut rows = known.rows.clone();
        rows.retain(|it| it.key_id != text);
        rows.extend(row);
        self.keep(rows, known.read_at_ms, known.tree_size)
    }

    fn keep(&self, keys: Vec<Key>, read_at_ms: u64, tree_size: u64) -> Result<(), KeysError> {
        let file = KeyFile {
            ledger: self.ledger.clone(),
            read_at_ms,
            tree_size,
            keys,
        };
        let text = serde_json::to_vec(&file).map_err(|_| Error::Answer("keys"))?;
        let copy = Copy::of(file).ok_or(Error::Answer("a key under an id that is not its"))?;
        replace(&self.file, &text).map_err(|cause| KeysError::Io {
            path: self.file.clone(),
            cause,
        })?;
        *self.copy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(copy);
        Ok(())
    }

    fn copy(&self) -> Arc<Copy> {
        Arc::clone(&self.copy.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Copy {
    fn of(file: KeyFile) -> Option<Copy> {
        let mut keys = BTreeMap::new();
        for row in &file.keys {
            let public = PublicKey::from_bytes(base64::url_decode_array(&row.public_key)?).ok()?;
            let id = KeyId::parse(&row.key_id)?;
            if public.key_id() != id {
                return None;
            }
            let known = KnownKey {
                public,
                institution: InstitutionId::parse(&row.institution)?,
                from: row.from,
                until: row.until,
            };
            keys.insert(id, known);
        }
        Some(Copy {
            keys,
            rows: file.keys,
            read_at_ms: file.read_at_ms,
            tree_size: file.tree_size,
        })
    }
}

async fn fetch(client: &Client, id: &str) -> Result<Key, Error> {
    parse(&client.text(&format!("/v1/keys/{id}"), None).await?)
}

fn signs_entries(key: Key) -> Option<Key> {
    (key.key_use == KeyUse::Entry.as_str()).then_some(key)
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|_| Error::Answer("not the JSON that the interface promises"))
}

/// Replaces a file whole: a crash leaves the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| folder != &Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
