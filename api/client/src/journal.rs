// SPDX-License-Identifier: BSD-3-Clause
//! An append-only journal on disk: what [`crate::outbox`] and the gate's store of used entries are made of. A record is durable (fdatasync)
//! when its append is answered; appends that arrive together share one.
//!
//! A journal is a folder of segment files `0000000001.journal`, … and a `lock` that keeps a second process out. A segment is the line
//! `visto-journal-1` and records, integers big-endian:
//!
//! ```text
//! "VjR1" ‖ u32(len) ‖ u64(durable) ‖ checksum[8] ‖ payload[len]
//! checksum = first 8 bytes of SHA-256(u64(segment) ‖ u64(offset) ‖ u32(len) ‖ u64(durable) ‖ payload)
//! ```
//!
//! `durable` is how much of the segment was on disk when the record was written. So damage can be told from a torn tail: what follows the
//! first broken record is cut off, unless a whole record behind it says that the broken place was durable before. Then the journal does not
//! open, and names the file and the place: somebody's word would be lost.
//!
//! A crash leaves behind: between write and sync, a torn tail, of which nothing was acknowledged; while a segment is made, a file without
//! its first line, which is made again; while segments are removed, some that come back, which their owners bear (an entry sent again gets
//! the same receipt). After an error of write or sync nothing is known of the disk any more: every later append fails, and the way back is a
//! new start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

pub(crate) mod segment;
#[cfg(test)]
mod tests;

use segment::{FRAME_BYTES, HEAD};

/// Longest payload of a record.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most bytes that share one sync.
const GROUP_BYTES: usize = 4 << 20;

/// Why a journal is not opened, or takes no more. No variant repeats what was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk or the file system.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// Another process has it.
    #[error("{}: another process uses this folder", .0.display())]
    Locked(PathBuf),
    /// Bytes that were durable are not what was written.
    #[error("{}: damaged at byte {offset}; what follows was acknowledged: restore the file, or move the folder away knowing what is lost", path.display())]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A record is longer than [`PAYLOAD_BYTES_MAX`].
    #[error("a record is too long")]
    TooLong,
    /// A write or sync failed before: nothing is known of the disk any more.
    #[error("{}: an earlier write failed; start again", .0.display())]
    Broken(PathBuf),
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the segment, ascending.
    pub segment: u64,
    /// First byte of the record's frame.
    pub offset: u64,
    /// Length of the payload.
    pub len: u32,
}

impl Place {
    /// First byte after the record.
    pub(crate) fn end(&self) -> u64 {
        self.offset + FRAME_BYTES as u64 + u64::from(self.len)
    }
}

/// An open journal. Dropping it ends its thread after what was given to it is written.
#[derive(Debug)]
pub struct Journal {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<thread::JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Held for as long as the journal is open.
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    bytes: AtomicU64,
    segment: AtomicU64,
    broken: AtomicBool,
}

#[derive(Debug)]
enum Job {
    Append {
        payloads: Vec<Vec<u8>>,
        done: oneshot::Sender<Result<Vec<Place>, JournalError>>,
    },
    /// Removes all segments below, never the current one.
    Remove { below: u64 },
}

impl Journal {
    /// Opens the journal in a folder, which is made if it is not there, and hands every record to `each`, oldest first. A segment that has
    /// grown past `segment_bytes` is followed by a new one.
    ///
    /// # Errors
    /// [`JournalError`]: a torn tail is cut off and is none.
    pub fn open(
        folder: &Path,
        segment_bytes: u64,
        mut each: impl FnMut(Place, &[u8]),
    ) -> Result<Journal, JournalError> {
        let io = |cause| failed(folder, &cause);
        fs::create_dir_all(folder).map_err(io)?;
        // A new folder's name is durable only once the folders above are; those that are not ours to sync were there before.
        for above in folder.ancestors().skip(1).take(3) {
            let _ = sync_folder(above);
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => JournalError::Locked(folder.to_owned()),
            fs::TryLockError::Error(cause) => failed(folder, &cause),
        })?;
        let numbers = segments(folder)?;
        let (mut bytes, mut current) = (0, None);
        for (at, number) in numbers.iter().enumerate() {
            let path = segment_path(folder, *number);
            let last = at + 1 == numbers.len();
            let whole = scan(&path, *number, last, &mut each)?;
            bytes += whole;
            current = Some((*number, path, whole));
        }
        let (number, file, length) = match current {
            Some((number, path, whole)) => {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .map_err(|cause| failed(&path, &cause))?;
                let cut = file.set_len(whole).and_then(|()| file.sync_all());
                cut.map_err(|cause| failed(&path, &cause))?;
                (number, file, whole)
            }
            None => (1, create(folder, 1)?, HEAD.len() as u64),
        };
        // A segment of which not even the first line was written.
        let length = if length < HEAD.len() as u64 {
            let path = segment_path(folder, number);
            let written = file.write_all_at(HEAD, 0).and_then(|()| file.sync_all());
            written.map_err(|cause| failed(&path, &cause))?;
            HEAD.len() as u64
        } else {
            length
        };
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            bytes: AtomicU64::new(bytes.max(length)),
            segment: AtomicU64::new(number),
            broken: AtomicBool::new(false),
        });
        let (jobs, queue) = mpsc::channel();
        let writer = Writer {
            shared: Arc::clone(&shared),
            number,
            file,
            length,
            segment_bytes,
        };
        let writer = thread::Builder::new()
            .name("visto-journal".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(io)?;
        Ok(Journal {
            jobs: Some(jobs),
            writer: Some(writer),
            shared,
            _lock: lock,
        })
    }

    /// Appends records, all or none of them acknowledged; when this is answered they are on disk.
    ///
    /// # Errors
    /// [`JournalError`]; after one of write or sync every later append fails.
    pub async fn append(&self, payloads: Vec<Vec<u8>>) -> Result<Vec<Place>, JournalError> {
        if payloads
            .iter()
            .any(|payload| payload.len() > PAYLOAD_BYTES_MAX)
        {
            return Err(JournalError::TooLong);
        }
        let (done, answer) = oneshot::channel();
        let broken = || JournalError::Broken(self.shared.folder.clone());
        let jobs = self.jobs.as_ref().ok_or_else(broken)?;
        jobs.send(Job::Append { payloads, done })
            .map_err(|_| broken())?;
        answer.await.map_err(|_| broken())?
    }

    /// Removes all segments below a number, some time soon; never the current one.
    pub fn remove_below(&self, segment: u64) {
        if let Some(jobs) = &self.jobs {
            // The thread is gone only if the journal is broken, and then keeps everything.
            let _ = jobs.send(Job::Remove { below: segment });
        }
    }

    /// Reads the payload of a record.
    ///
    /// # Errors
    /// [`JournalError::Io`], [`JournalError::Damaged`]
    pub fn read(&self, place: Place) -> Result<Vec<u8>, JournalError> {
        let path = segment_path(&self.shared.folder, place.segment);
        let io = |cause| failed(&path, &cause);
        let file = File::open(&path).map_err(io)?;
        let mut record = vec![0; FRAME_BYTES + place.len as usize];
        file.read_exact_at(&mut record, place.offset).map_err(io)?;
        match segment::record(&record, place.segment, place.offset) {
            Some((_, payload)) => Ok(payload.to_vec()),
            None => Err(JournalError::Damaged {
                path,
                offset: place.offset,
            }),
        }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Number of the segment that is written to.
    pub fn current_segment(&self) -> u64 {
        self.shared.segment.load(Ordering::Relaxed)
    }

    /// Whether a write or sync failed: nothing is taken any more.
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // It panics nowhere; if it did, there is nobody to tell.
            let _ = writer.join();
        }
    }
}

/// Reads the journal of a folder without opening it for writing, also while another process does: what is on disk now, as far as it is whole.
///
/// # Errors
/// [`JournalError::Io`], [`JournalError::Damaged`]
pub fn peek(folder: &Path, mut each: impl FnMut(Place, &[u8])) -> Result<(), JournalError> {
    let numbers = segments(folder)?;
    for (at, number) in numbers.iter().enumerate() {
        let path = segment_path(folder, *number);
        match scan(&path, *number, at + 1 == numbers.len(), &mut each) {
            // Removed since the folder was listed.
            Err(JournalError::Io { .. }) if !path.exists() => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    number: u64,
    file: File,
    /// All of it durable.
    length: u64,
    segment_bytes: u64,
}

impl Writer {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let (mut group, mut buffer) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            let mut failed = self.rotate_if_long().err();
            while let Some(job) = next {
                match job {
                    Job::Append { payloads, done } => {
                        let places = payloads
                            .iter()
                            .map(|payload| self.frame(payload, &mut buffer))
                            .collect::<Vec<_>>();
                        group.push((places, done));
                    }
                    Job::Remove { below } => self.remove(below),
                }
                next = (buffer.len() < GROUP_BYTES)
                    .then(|| queue.try_recv().ok())
                    .flatten();
            }
            if failed.is_none() && !buffer.is_empty() {
                failed = self.write(&buffer).err();
            }
            if let Some(error) = failed {
                self.shared.broken.store(true, Ordering::Relaxed);
                for (_, done) in group {
                    let _ = done.send(Err(error.clone()));
                }
                // Whoever appends from now on finds nobody.
                return;
            }
            for (places, done) in group {
                // Who asked may have gone away: the record stays.
                let _ = done.send(Ok(places));
            }
        }
    }

    /// Puts a record behind what the buffer holds.
    fn frame(&self, payload: &[u8], buffer: &mut Vec<u8>) -> Place {
        segment::frame(self.number, self.length, self.length, payload, buffer)
    }

    fn write(&mut self, buffer: &[u8]) -> Result<(), JournalError> {
        let written = self
            .file
            .write_all_at(buffer, self.length)
            .and_then(|()| self.file.sync_data());
        written.map_err(|cause| failed(&segment_path(&self.shared.folder, self.number), &cause))?;
        self.length += buffer.len() as u64;
        self.shared
            .bytes
            .fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn rotate_if_long(&mut self) -> Result<(), JournalError> {
        if self.length < self.segment_bytes {
            return Ok(());
        }
        // All of the old segment is durable: only the last one can have a torn tail.
        self.file = create(&self.shared.folder, self.number + 1)?;
        self.number += 1;
        self.length = HEAD.len() as u64;
        self.shared.segment.store(self.number, Ordering::Relaxed);
        self.shared.bytes.fetch_add(self.length, Ordering::Relaxed);
        Ok(())
    }

    /// Oldest first: an entry's segment never outlives the one that says what became of it.
    fn remove(&self, below: u64) {
        let Ok(numbers) = segments(&self.shared.folder) else {
            return;
        };
        let below = below.min(self.number);
        for number in numbers.into_iter().filter(|number| *number < below) {
            let path = segment_path(&self.shared.folder, number);
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if fs::remove_file(&path).is_err() {
                // It is tried again when the next one is to go.
                return;
            }
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            let _ = sync_folder(&self.shared.folder);
        }
    }
}

/// Numbers of the segments, ascending.
fn segments(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for item in fs::read_dir(folder).map_err(|cause| failed(folder, &cause))? {
        let name = item.map_err(|cause| failed(folder, &cause))?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".journal"))
            .and_then(|digits| digits.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.journal"))
}

/// A new segment with its first line, durable, and its name too.
fn create(folder: &Path, number: u64) -> Result<File, JournalError> {
    let path = segment_path(folder, number);
    let make = || {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(HEAD)?;
        file.sync_all()?;
        sync_folder(folder)?;
        Ok(file)
    };
    make().map_err(|cause: io::Error| failed(&path, &cause))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, cause: &io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

/// [`segment::scan`] of a file.
fn scan(
    path: &Path,
    number: u64,
    last: bool,
    each: &mut impl FnMut(Place, &[u8]),
) -> Result<u64, JournalError> {
    let bytes = fs::read(path).map_err(|cause| failed(path, &cause))?;
    segment::scan(&bytes, number, last, each).map_err(|offset| JournalError::Damaged {
        path: path.to_owned(),
        offset,
    })
}
