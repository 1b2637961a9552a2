//! The file `index`: whose samples these are, and where each of them is.
//!
//! All numbers are little-endian:
//!
//! ```text
//! "mobistor" | format version (4) | bytes of JSON (4) | the identity as JSON | crc32c of all this (4)
//! for each sample: bytes of its record (4) | their crc32c (4) | crc32c of its ordinal (8) and these (4)
//! ```
//!
//! An entry is written once the records of its group are synced, and acknowledged once it is synced
//! itself. So what a crash leaves behind the last whole entry has never been acknowledged.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crc32c::{crc32c, crc32c_append};

use crate::error::StoreError;
use crate::identity::Identity;
use crate::position;
use crate::record::ENTRY_BYTES;

const MAGIC: &[u8; 8] = b"mobistor";
const VERSION: u32 = 1;
/// Magic, version and length of the identity.
const PREAMBLE_BYTES: usize = 16;

/// Where a sample's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins: where the one before it ends.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
    /// Their crc32c.
    pub checksum: u32,
}

impl Entry {
    /// The first byte after it.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    fn write(&self, ordinal: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(self.length.to_le_bytes());
        out.extend(self.checksum.to_le_bytes());
        out.extend(entry_checksum(ordinal, &out[start..]).to_le_bytes());
    }

    /// What [`write`](Self::write) wrote for `ordinal`; `None` if it did not.
    fn read(bytes: &[u8; ENTRY_BYTES], ordinal: u64, offset: u64) -> Option<Self> {
        let [length, checksum, own] = words(bytes);
        let whole = own == entry_checksum(ordinal, &bytes[..8]);
        whole.then_some(Self { offset, length, checksum })
    }
}

fn entry_checksum(ordinal: u64, bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&ordinal.to_le_bytes()), bytes)
}

fn words(bytes: &[u8; ENTRY_BYTES]) -> [u32; 3] {
    let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    [0, 4, 8].map(|at| u32::from_le_bytes(word(at)))
}

/// Whether neither an index is at `path` nor records are beside it: records whose index is gone are
/// not taken for a new store.
pub fn is_new(path: &Path, record_bytes: u64) -> bool {
    record_bytes == 0 && !path.exists()
}

/// The first byte after the records of `entries`.
pub fn end(entries: &[Entry]) -> u64 {
    entries.last().map_or(0, Entry::end)
}

/// What the file says of records that have so many bytes.
#[derive(Debug)]
pub struct Contents {
    identity: Identity,
    header_bytes: u64,
    /// The samples that are held: whole entries, up to the first whose record is not there.
    pub entries: Vec<Entry>,
    /// Whole entries.
    listed: usize,
    /// Bytes of the index after these.
    torn: u64,
    /// Bytes of records after those of the samples that are held.
    tail: u64,
}

impl Contents {
    /// Reads the index at `path`.
    pub fn read(path: &Path, record_bytes: u64) -> Result<Self, StoreError> {
        let open = || {
            let file = File::open(path)?;
            Ok((file.metadata()?.len(), file))
        };
        let (bytes, file) = open().map_err(StoreError::file("open", path))?;
        let mut reader = BufReader::new(&file);
        let (identity, header_bytes) = read_header(&mut reader, bytes, path)?;
        let mut entries = read_entries(&mut reader).map_err(StoreError::file("read", path))?;
        let listed = entries.len();
        let torn = bytes - header_bytes - (listed * ENTRY_BYTES) as u64;
        entries.truncate(entries.partition_point(|entry| entry.end() <= record_bytes));
        let tail = record_bytes - end(&entries);
        Ok(Self { identity, header_bytes, entries, listed, torn, tail })
    }

    /// What is there beside the samples that are held, and is to be cut off, in words.
    pub fn recovery(&self) -> Option<String> {
        let (kept, listed) = (self.entries.len(), self.listed);
        let mut found = Vec::new();
        if self.torn > 0 {
            found.push(format!(
                "{} bytes of the index after the first {listed} samples were no whole entries and \
                 were dropped",
                self.torn
            ));
        }
        if kept < listed {
            found.push(format!(
                "{listed} samples were listed but only {kept} were whole; the others were dropped"
            ));
        }
        if self.tail > 0 {
            found.push(format!(
                "{} bytes of records after the first {kept} samples were dropped",
                self.tail
            ));
        }
        // An entry of full length may have been synced, whatever its bytes are now.
        let may_be_acknowledged = self.torn >= ENTRY_BYTES as u64 || kept < listed;
        let fate = match may_be_acknowledged {
            true => "samples among this may have been acknowledged: the device sends them again",
            false => "a crash leaves this of samples that were not yet acknowledged",
        };
        (!found.is_empty()).then(|| format!("{}; {fate}", found.join("; ")))
    }
}

/// The open file.
#[derive(Debug)]
pub struct Index {
    pub file: File,
    path: PathBuf,
    header_bytes: u64,
}

impl Index {
    /// Opens the index of so many bytes of records, and makes it where there is none. One that holds
    /// no sample is nobody's yet, and is begun anew for `identity`.
    pub fn open(
        path: PathBuf,
        identity: &Identity,
        record_bytes: u64,
    ) -> Result<(Self, Contents), StoreError> {
        if is_new(&path, record_bytes) {
            create(&path, identity).map_err(StoreError::file("write", &path))?;
        }
        let contents = Contents::read(&path, record_bytes)?;
        let mut header_bytes = contents.header_bytes;
        let differences = contents.identity.differences(identity);
        if !differences.is_empty() {
            if !contents.entries.is_empty() {
                return Err(StoreError::Identity { path, differences });
            }
            header_bytes = create(&path, identity).map_err(StoreError::file("write", &path))?;
        }
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(StoreError::file("open", &path))?;
        Ok((Self { file, path, header_bytes }, contents))
    }

    /// Writes `entries`, the first of which is that of sample `first`.
    pub fn write(&self, first: usize, entries: &[Entry]) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        for (ordinal, entry) in (first as u64..).zip(entries) {
            entry.write(ordinal, &mut bytes);
        }
        position::write_all(&self.file, &bytes, self.offset(first))
            .map_err(StoreError::file("write", &self.path))
    }

    /// Keeps the entries of `samples` samples.
    pub fn truncate(&self, samples: usize) -> Result<(), StoreError> {
        self.file.set_len(self.offset(samples)).map_err(StoreError::file("cut", &self.path))
    }

    /// Makes what was written survive a crash of the machine.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::file("sync", &self.path))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn offset(&self, samples: usize) -> u64 {
        self.header_bytes + (samples * ENTRY_BYTES) as u64
    }
}

/// Writes an index of no samples, whole or not at all, and says how many bytes it has.
fn create(path: &Path, identity: &Identity) -> io::Result<u64> {
    let json = serde_json::to_vec(identity)?;
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((json.len() as u32).to_le_bytes());
    header.extend(json);
    header.extend(crc32c(&header).to_le_bytes());
    let new = path.with_extension("new");
    let file = File::create(&new)?;
    position::write_all(&file, &header, 0)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(header.len() as u64)
}

/// The identity, and the bytes of the whole header.
fn read_header(
    reader: &mut impl Read,
    bytes: u64,
    path: &Path,
) -> Result<(Identity, u64), StoreError> {
    let wrong = |problem: String| StoreError::Format { path: path.to_owned(), problem };
    let mut read = |count: u64| {
        let mut part = Vec::new();
        reader
            .take(count)
            .read_to_end(&mut part)
            .map_err(StoreError::file("read", path))
            .map(|_| part)
    };
    let preamble = read(PREAMBLE_BYTES as u64)?;
    let Ok(&[ref magic @ .., v0, v1, v2, v3, l0, l1, l2, l3]) =
        <&[u8; PREAMBLE_BYTES]>::try_from(&preamble[..])
    else {
        return Err(wrong(format!("it has {bytes} bytes, too few for the index of a store")));
    };
    if magic != MAGIC {
        return Err(wrong("it is not the index of a store".into()));
    }
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    if version != VERSION {
        return Err(wrong(format!("format version {version}; this release reads {VERSION}")));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let json = read(length.into())?;
    let checksum = read(4)?;
    if checksum != crc32c_append(crc32c(&preamble), &json).to_le_bytes() {
        return Err(wrong("its header is damaged".into()));
    }
    let identity = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
    Ok((identity, PREAMBLE_BYTES as u64 + u64::from(length) + 4))
}

/// All entries up to the first that is not whole.
fn read_entries(reader: &mut impl Read) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut bytes = [0; ENTRY_BYTES];
    loop {
        match reader.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(entries),
            read => read?,
        }
        match Entry::read(&bytes, entries.len() as u64, end(&entries)) {
            Some(entry) => entries.push(entry),
            None => return Ok(entries),
        }
    }
}
