// SPDX-License-Identifier: EUPL-1.2
//! Opens the two RocksDB databases of a node. [`super::keys`] says what is in them and why they are two.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use ledger::hash::Hash;
use ledger::retention::Cuts;
use ledger::state_map::MapPath;
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DBPinnableSlice, DBRecoveryMode, Direction, FlushOptions,
    IngestExternalFileOptions, IteratorMode, LogLevel, Options, ReadOptions, SliceTransform,
    SstFileWriter, WriteBatch, WriteOptions,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::fresh::Fresh;
use super::keys::{self, raft_cf, state_cf};
use super::registry::Registry;
use super::tiles;
use super::upper_nodes::UpperNodes;
use crate::error::{Error, ErrorKind};

const MIB: usize = 1024 * 1024;
/// Values from so many bytes on stand in blob files.
pub(crate) const BLOB_BYTES_MIN: u64 = 128;
/// A blob file ends when it has grown to this.
pub(crate) const BLOB_FILE_BYTES: u64 = 64 * MIB as u64;
/// Open files of each database. With those of an old state that a view still holds, and sockets, they stay below the usual limit of 1024.
const RAFT_FILES_MAX: i32 = 96;
const STATE_FILES_MAX: i32 = 256;

/// Beside RocksDB's files in a state folder, while [`Db::write_apart`] works.
const APART: &str = "apart.tmp";

/// A database with its folder.
pub(crate) struct Db {
    // Before `dir`: fields drop in order, and the folder of a retired database goes after it is closed.
    db: DB,
    dir: Dir,
    cuts: Mutex<Option<CutsRead>>,
    /// Of the tree.
    pub(super) upper_nodes: UpperNodes,
    /// Of the state; whoever writes a key of the registry says so before ([`Registry::changes_at`]).
    pub(super) registry: Registry,
    /// Of the state; whoever writes entries says so.
    pub(super) fresh: Fresh,
    /// Whether a write goes to a WAL before it is readable.
    journaled: bool,
}

/// The list of the cuts that stand, as the state holds it, and what its orders say.
type CutsRead = (Option<Vec<u8>>, Arc<Cuts>);

struct Dir {
    path: PathBuf,
    retired: std::sync::atomic::AtomicBool,
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A crash before this leaves a folder that no pointer names; the next start removes it.
        if *self.retired.get_mut()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a replaced state folder");
        }
    }
}

/// What RocksDB may take of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resources {
    /// Memory for blocks that were read, filters among them.
    pub(crate) cache_bytes: usize,
    /// Memory for what is in no table file yet.
    pub(crate) write_buffer_bytes: usize,
    /// Bytes a second that flushes and compactions of the state write; `None` for as many as they can.
    pub(crate) background_bytes_per_s: Option<u64>,
}

impl Db {
    /// Opens or creates `raft/`.
    pub(crate) fn open_raft(path: &Path, resources: Resources) -> Result<Db, Error> {
        let mut options = common_options();
        // The default mode drops synced records silently after one flipped bit. This one accepts a torn last record (a power cut) and
        // refuses to open on anything else; a tail cut off at a record's edge is what the high-water mark is for.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_open_files(RAFT_FILES_MAX);
        // With each flush of the log the vote is flushed too: a family that is hardly written would keep every WAL since its last write.
        options.set_atomic_flush(true);
        options.set_max_total_wal_size(4 * resources.write_buffer_bytes as u64);
        let cache = Cache::new_hyper_clock_cache(resources.cache_bytes / 8, 0);
        let family = |name: &str| {
            let mut family =
                family_options(&cache, resources.write_buffer_bytes, Shape::default())?;
            if name == raft_cf::LOG {
                // Blob files are dropped whole after a purge: a raft_entry is written to its WAL and once to a blob, then never moved. It goes
                // with the log, so the space that packing would save is not worth the time on the way of every write.
                blobs(&mut family);
                // A blob file goes when a compaction has dropped the last key that refers to it. The tables hold keys alone, so each flush may
                // have its compaction; with the usual four tables per compaction, four flushes' worth of purged entries stayed behind.
                family.set_level_zero_file_num_compaction_trigger(1);
            }
            Ok(ColumnFamilyDescriptor::new(name, family))
        };
        let families: Result<_, rocksdb::Error> =
            raft_cf::ALL.iter().map(|&name| family(name)).collect();
        let families = families.map_err(|error| open_error(path, error))?;
        Db::open(path, &options, families, true)
    }

    /// Opens or creates a state folder.
    pub(crate) fn open_state(path: &Path, resources: Resources) -> Result<Db, Error> {
        remove_leftovers(path)?;
        // A MANIFEST names the first and the last key of each table file that there was since it was begun; erasing has a new one begun.
        let mut options = common_options()
            .get_options_from_string("max_manifest_file_size=1;max_manifest_space_amp_pct=50")
            .map_err(|error| open_error(path, error))?;
        // What is less grave tells the keys of each compaction of the eraser's.
        options.set_log_level(LogLevel::Warn);
        // Nothing is written to this WAL. One that an earlier build left was not fsynced and may have a hole: the state before the hole is a
        // whole earlier state, since one apply is one record, and the Raft log still has what follows.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_max_open_files(STATE_FILES_MAX);
        // All families are flushed in one step of the MANIFEST, as of one moment between two writes. So a crash, at whatever point of a flush or
        // between two of them, leaves the state of the last flush that was done, whole; never one family ahead of another.
        options.set_atomic_flush(true);
        options.set_db_write_buffer_size(2 * resources.write_buffer_bytes);
        // A compaction of flushed files merges them with all that there is of a family, up to some 256 MiB, and beyond with one level of it. At full
        // speed it keeps a core and the disk busy for seconds, in which an fsync of the Raft log takes a hundred times as long. It has time: the
        // next one is due when as many files have been flushed again.
        if let Some(rate) = resources.background_bytes_per_s {
            let rate = i64::try_from(rate).unwrap_or(i64::MAX);
            options.set_ratelimiter(rate, RATE_PERIOD_US, RATE_FAIRNESS);
        }
        let families = state_families(resources).map_err(|error| open_error(path, error))?;
        Db::open(path, &options, families, false)
    }

    /// Opens a state folder to read what is in it, and changes nothing there.
    pub(crate) fn open_state_read_only(path: &Path) -> Result<Db, Error> {
        let resources = Resources {
            cache_bytes: MIB,
            write_buffer_bytes: MIB,
            background_bytes_per_s: None,
        };
        let db = state_families(resources).and_then(|families| {
            DB::open_cf_descriptors_read_only(&common_options(), path, families, false)
        });
        let db = db.map_err(|error| open_error(path, error))?;
        Ok(Db {
            db,
            journaled: false,
            dir: Dir {
                path: path.into(),
                retired: false.into(),
            },
            cuts: Mutex::default(),
            upper_nodes: UpperNodes::default(),
            registry: Registry::default(),
            fresh: Fresh::default(),
        })
    }

    fn open(
        path: &Path,
        options: &Options,
        families: Vec<ColumnFamilyDescriptor>,
        journaled: bool,
    ) -> Result<Db, Error> {
        let db = DB::open_cf_descriptors(options, path, families)
            .map_err(|error| open_error(path, error))?;
        Ok(Db {
            db,
            journaled,
            dir: Dir {
                path: path.into(),
                retired: false.into(),
            },
            cuts: Mutex::default(),
            upper_nodes: UpperNodes::default(),
            registry: Registry::default(),
            fresh: Fresh::default(),
        })
    }

    /// The cuts that stand where the state lists them so. Orders never change, so they are read where the list is another than the last time.
    pub(crate) fn cuts(
        &self,
        listed: Option<Vec<u8>>,
        read: impl FnOnce() -> Result<Cuts, Error>,
    ) -> Result<Arc<Cuts>, Error> {
        let known = self.cuts.lock().clone();
        if let Some((_, cuts)) = known.filter(|(list, _)| *list == listed) {
            return Ok(cuts);
        }
        let cuts = Arc::new(read()?);
        *self.cuts.lock() = Some((listed, cuts.clone()));
        Ok(cuts)
    }

    /// The database itself, for iterators and snapshots.
    pub(crate) fn raw(&self) -> &DB {
        &self.db
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir.path
    }

    /// Its folder goes when the last handle does.
    pub(crate) fn retire(&self) {
        self.dir
            .retired
            .store(true, std::sync::atomic::Ordering::Release);
    }

    /// Takes [`Db::retire`] back.
    pub(crate) fn keep(&self) {
        self.dir
            .retired
            .store(false, std::sync::atomic::Ordering::Release);
    }

    /// Has RocksDB give up what it compacts, and compact and flush nothing more: for a node that ends, since the process waits for both. What was
    /// applied and is in no table file yet is flushed once more.
    pub(crate) fn give_up(&self) {
        self.db.cancel_all_background_work(false);
    }

    pub(crate) fn cf(&self, name: &str) -> Result<&ColumnFamily, Error> {
        self.db.cf_handle(name).ok_or_else(|| {
            Error::corrupt(format!(
                "{}: no column family {name}",
                self.dir.path.display()
            ))
        })
    }

    pub(crate) fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.db
            .get_cf(self.cf(family)?, key)
            .map_err(|error| self.read_error(family, key, error))
    }

    /// The values under many keys of a family, in their order, none where there is none: one read of the database, which looks once into each
    /// block that holds several of them.
    pub(crate) fn get_all<'a, K: AsRef<[u8]>>(
        &'a self,
        family: &'a str,
        keys: &'a [K],
        options: &ReadOptions,
    ) -> Result<impl Iterator<Item = Result<Option<DBPinnableSlice<'a>>, Error>> + use<'a, K>, Error>
    {
        let sorted = keys.is_sorted_by(|a, b| a.as_ref() <= b.as_ref());
        let found = self
            .db
            .batched_multi_get_cf_opt(self.cf(family)?, keys, sorted, options);
        let read = keys.iter().zip(found);
        Ok(read.map(move |(key, found)| {
            found.map_err(|error| self.read_error(family, key.as_ref(), error))
        }))
    }

    /// Reads a postcard value. What is there and cannot be decoded is an error, never "none".
    pub(crate) fn get_decoded<T: DeserializeOwned>(
        &self,
        family: &str,
        key: &[u8],
    ) -> Result<Option<T>, Error> {
        match self.get(family, key)? {
            None => Ok(None),
            Some(bytes) => decode(&bytes)
                .map(Some)
                .map_err(|error| self.decode_error(family, key, error)),
        }
    }

    /// Reads `count` values from a key on, past the cache and with their checksums, shows them, and tells where to go on; none at the end.
    pub(crate) fn read_through(
        &self,
        family: &str,
        from: &[u8],
        count: u64,
        mut look: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        options.set_total_order_seek(true);
        let mode = IteratorMode::From(from, Direction::Forward);
        let mut last = from.to_vec();
        for (read, item) in (0u64..).zip(self.db.iterator_cf_opt(self.cf(family)?, options, mode)) {
            let (key, value) = item.map_err(|error| self.read_error(family, &last, error))?;
            if read == count {
                return Ok(Some(key.into()));
            }
            look(&key, &value)?;
            last = key.into();
        }
        Ok(None)
    }

    /// Writes; with `sync` the bytes are on disk when this returns. The state has no WAL: what is written there is on disk after the next
    /// [`Db::flush`], or with the next that RocksDB makes by itself.
    pub(crate) fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), Error> {
        if sync && !self.journaled {
            let path = self.dir.path.display();
            return Err(Error::corrupt(format!("{path} has no WAL to fsync")));
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        options.disable_wal(!self.journaled);
        self.db
            .write_opt(batch, &options)
            .map_err(|error| Error::io(format!("write to {}", self.dir.path.display()), error))
    }

    /// Writes records, their keys ascending, into a table file of their own; they are on disk when this returns. What was written of these keys
    /// before is flushed already, or RocksDB flushes it with all else. A crash leaves [`APART`], which the next opening removes, and the records
    /// either all or not at all.
    pub(crate) fn write_apart<K: AsRef<[u8]>>(
        &self,
        family: &str,
        records: impl Iterator<Item = Result<(K, Vec<u8>), Error>>,
    ) -> Result<(), Error> {
        let mut records = records.peekable();
        if records.peek().is_none() {
            return Ok(());
        }
        let path = self.dir.path.join(APART);
        let failed = |error| Error::io(format!("write {}", path.display()), error);
        let options = Options::default();
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path).map_err(failed)?;
        for record in records {
            let (key, value) = record?;
            writer.put(key, value).map_err(failed)?;
        }
        writer.finish().map_err(failed)?;
        // RocksDB takes a copy: a link that a crash left would be written over the next time, and the table file with it.
        let ingested = self.db.ingest_external_file_cf_opts(
            self.cf(family)?,
            &IngestExternalFileOptions::default(),
            vec![&path],
        );
        ingested.map_err(failed)?;
        fs::remove_file(&path)
            .map_err(|error| Error::io(format!("remove {}", path.display()), error))
    }

    /// Brings what is in memory into fsynced table files: all families in one step, or a crash could leave some ahead of others.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut names = [raft_cf::ALL.as_slice(), state_cf::ALL.as_slice()].concat();
        names.sort_unstable();
        names.dedup();
        let mut families = Vec::with_capacity(names.len());
        for name in names {
            families.extend(self.db.cf_handle(name));
        }
        self.db
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(|error| Error::io(format!("flush {}", self.dir.path.display()), error))
    }

    /// Records that are in no table file yet, about.
    #[cfg(test)]
    pub(crate) fn records_in_memory(&self) -> Result<u64, Error> {
        let records = |name: &&str| self.property(name, "rocksdb.num-entries-active-mem-table");
        state_cf::ALL.iter().map(records).sum()
    }

    /// A number that RocksDB keeps of a column family.
    pub(crate) fn property(&self, family: &str, name: &str) -> Result<u64, Error> {
        let value = self.db.property_int_value_cf(self.cf(family)?, name);
        let failed = |error| Error::io(format!("ask for {name} of {family}"), error);
        Ok(value.map_err(failed)?.unwrap_or_default())
    }

    pub(crate) fn read_error(&self, family: &str, key: &[u8], error: rocksdb::Error) -> Error {
        let kind = if error.kind() == rocksdb::ErrorKind::Corruption {
            ErrorKind::Corrupt
        } else {
            ErrorKind::Io
        };
        Error::with_source(kind, format!("read {}", self.name_of(family, key)), error)
    }

    pub(crate) fn decode_error(
        &self,
        family: &str,
        key: &[u8],
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::with_source(
            ErrorKind::Corrupt,
            format!("decode {}", self.name_of(family, key)),
            error,
        )
    }

    /// A key as an operator may see it. Keys of `state` and `rows` hold refs and names: only their kind is told.
    pub(crate) fn name_of(&self, family: &str, key: &[u8]) -> String {
        let path = self.dir.path.display();
        match (family, keys::decode_number(key), key) {
            (state_cf::STATE | state_cf::ROWS, _, [kind, ..]) => {
                format!("{path} {family}, a key of kind {kind}")
            }
            (state_cf::NODES, _, _) => match keys::decode_tile(key) {
                Some((group, index)) => {
                    let level = u32::from(group) * u32::from(tiles::LEVELS);
                    format!("{path} {family}, tile {index} of level {level}")
                }
                None => format!("{path} {family}, a key that is no tile"),
            },
            (state_cf::MAP, _, _) => match MapPath::decode(key) {
                Some(at) => format!("{path} {family} {at}"),
                None => format!("{path} {family}, a key that is no path"),
            },
            // The hash of a typed name: it tells nothing.
            (state_cf::FOLDED, _, _) => match Hash::from_slice(key) {
                Some(hash) => format!("{path} {family} {hash}"),
                None => format!("{path} {family}, a key that is no hash"),
            },
            (_, Some(number), _) => format!("{path} {family} {number}"),
            _ => format!("{path} {family} {}", String::from_utf8_lossy(key)),
        }
    }
}

/// Removes from a state folder what no erasure looks into: what a crash left of [`Db::write_apart`], and what RocksDB reported when it was open
/// before (`LOG`, `LOG.old.*`). An earlier build had it name keys there, which hold refs and names, and of a write that failed it does so
/// still. What stopped the node is in its own log.
fn remove_leftovers(state: &Path) -> Result<(), Error> {
    let failed = |error| Error::io(format!("clean {}", state.display()), error);
    let items = match fs::read_dir(state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        items => items.map_err(failed)?,
    };
    for item in items {
        let item = item.map_err(failed)?;
        let name = item.file_name();
        if name == "LOG" || name == APART || name.to_string_lossy().starts_with("LOG.old.") {
            fs::remove_file(item.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn open_error(path: &Path, error: rocksdb::Error) -> Error {
    let kind = if error.kind() == rocksdb::ErrorKind::Corruption {
        ErrorKind::Corrupt
    } else {
        ErrorKind::Io
    };
    Error::with_source(kind, format!("open {}", path.display()), error)
}

fn common_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A flush and a compaction: two at once take what is left of the cores.
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * MIB);
    options.set_stats_dump_period_sec(0);
    options.set_bytes_per_sync(MIB as u64);
    options.set_manifest_preallocation_size(64 * 1024);
    options.set_max_manifest_file_size(16 * MIB);
    options
}

fn state_families(resources: Resources) -> Result<Vec<ColumnFamilyDescriptor>, rocksdb::Error> {
    let cache = Cache::new_hyper_clock_cache(resources.cache_bytes, 0);
    let family = |name: &str| {
        let shape = Shape {
            filtered: matches!(name, state_cf::STATE | state_cf::FOLDED | state_cf::MAP),
            packed: matches!(name, state_cf::STATE | state_cf::ROWS | state_cf::CHANGES),
        };
        let mut family = family_options(&cache, resources.write_buffer_bytes, shape)?;
        // What there is is flushed before a raft_snapshot, be it little; merged later, the same keys are written less often.
        family.set_level_zero_file_num_compaction_trigger(FLUSHED_FILES);
        // An eraser's compaction of a large store goes on for long, and others wait for it: flushed files may pile up, which costs gets alone.
        family.set_level_zero_slowdown_writes_trigger(6 * FLUSHED_FILES);
        family.set_level_zero_stop_writes_trigger(12 * FLUSHED_FILES);
        match name {
            // The store packs them.
            state_cf::BODIES => {
                blobs(&mut family);
                family.set_compression_type(DBCompressionType::None);
            }
            // Hashes alone: there is nothing to pack.
            state_cf::NODES => family.set_compression_type(DBCompressionType::None),
            // Most of what admission asks for is not there: ids and exchanges that nobody used before.
            state_cf::STATE => {
                family.set_memtable_prefix_bloom_ratio(0.1);
                family.set_memtable_whole_key_filtering(true);
            }
            state_cf::ROWS => family
                .set_prefix_extractor(SliceTransform::create_fixed_prefix(keys::ROW_PREFIX_BYTES)),
            _ => {}
        }
        Ok(ColumnFamilyDescriptor::new(name, family))
    };
    state_cf::ALL.iter().map(|&name| family(name)).collect()
}

/// How a column family is kept.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// Asked for what is often not there: a get in any other family finds what it asks for, and rows are walked.
    filtered: bool,
    /// Grows with each entry and is read little, or many neighbours at a time: packed as small as can be, once it is in the last level.
    packed: bool,
}

/// So many flushes are merged at once. A get looks into the filter of each of their files, so more would cost where they save.
const FLUSHED_FILES: i32 = 16;
const PARTITION_BYTES: usize = 64 * 1024;
/// RocksDB's own values.
const RATE_PERIOD_US: i64 = 100_000;
const RATE_FAIRNESS: i32 = 10;
/// Four times RocksDB's own.
const PACKED_BLOCK_BYTES: usize = 16 * 1024;
/// What has no setter.
const ZSTD_LEVELS: &str = "bottommost_compression_opts={level=1;enabled=true}";

fn family_options(
    cache: &Cache,
    write_buffer_bytes: usize,
    shape: Shape,
) -> Result<Options, rocksdb::Error> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Index and filter blocks count against the cache: memory stays bounded however large the ledger grows. In partitions, since a whole filter of a
    // large table takes some MiB: past the room in the cache, each get would read so much. Partitions are large enough for a flushed file to
    // have one or two: to find a key's partition takes longer than to look into it.
    if shape.filtered {
        table.set_bloom_filter(10.0, false);
        table.set_partition_filters(true);
    }
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_metadata_block_size(PARTITION_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default().get_options_from_string(ZSTD_LEVELS)?;
    options.set_compression_type(DBCompressionType::Lz4);
    if shape.packed {
        table.set_block_size(PACKED_BLOCK_BYTES);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
    }
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_max_write_buffer_number(3);
    Ok(options)
}

fn blobs(family: &mut Options) {
    family.set_enable_blob_files(true);
    family.set_min_blob_size(BLOB_BYTES_MIN);
    family.set_blob_file_size(BLOB_FILE_BYTES);
    family.set_blob_compression_type(DBCompressionType::None);
    // A compaction leaves blobs where they are: it would move the oldest quarter of them, garbage or not. The eraser alone makes garbage here, and
    // turns this on for its own compactions.
    family.set_enable_blob_gc(false);
}

/// Encodes a value of this crate's own (postcard).
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    postcard::to_stdvec(value)
        .map_err(|error| Error::with_source(ErrorKind::Corrupt, "encode", error))
}

/// Decodes such a value; bytes left over are an error.
pub(crate) fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}
