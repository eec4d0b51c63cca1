//! Records that several workers share, each until one of them takes it or until it expires.
//!
//! Keys of shared data are never removed, so records share a fixed number of values, the pages, and a
//! record's key determines its page. A worker that reads a page removes the expired records from it, and
//! has to handle them: each is returned once, to one worker.
//!
//! The bytes, integers little-endian: "tr", the version, 0; then the records, each with its key, when it
//! expires, its owner, its length, and that many bytes. A record that was taken stays without bytes.

use crate::local::{ATTEMPTS, StoreError, shared_key};
use crate::rate::{SPREAD, halves};
use crate::shared_data::{CREATE, SharedData, SharedDataError};
use crate::time::{Nanos, Timestamp};

/// The number of records that a page has room for.
const CAPACITY: usize = 16;

/// How long records of other stores are kept after they have expired.
const GRACE: Nanos = Nanos::HOUR;

/// The version of the format.
const VERSION: u8 = 2;

const HEADER: [u8; 4] = [b't', b'r', VERSION, 0];

/// A store of records in shared data.
///
/// # Memory
/// A page has room for 16 records of at most [`RecordStore::MAX_BYTES`], so the store never takes more than
/// 17 KB for each page.
pub struct RecordStore {
    pages: u64,
    is_own: IsOwn,
}

/// Returns whether a record belongs to a store: others may share the memory.
type IsOwn = Box<dyn Fn(&[u8]) -> bool>;

/// What became of a record that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It is stored on the page of this number.
    Stored(u64),
    /// There is, or was, another with its key.
    Known,
    /// There is no room for it.
    Full,
}

/// What is found under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The record. No other worker can take it any more.
    Record(Vec<u8>),
    /// The record was taken before.
    Before,
    /// There is none.
    Nothing,
}

/// The result of an operation, and the records that have expired.
pub type WithExpired<T> = (T, Vec<Vec<u8>>);

#[derive(Clone, Debug)]
struct Record {
    key: u128,
    expires: Timestamp,
    /// The owner, such as a caller: owners share a full page.
    owner: u64,
    /// Empty once it was taken.
    bytes: Vec<u8>,
}

// === impl RecordStore ===

impl RecordStore {
    /// The size of the largest record.
    pub const MAX_BYTES: usize = 1024;

    /// Returns a store with so many pages, at least one. Records for which `is_own` is false belong to other
    /// stores: they are neither found nor returned, and are dropped an hour after they have expired.
    #[must_use]
    pub fn new(pages: u32, is_own: impl Fn(&[u8]) -> bool + 'static) -> Self {
        Self {
            pages: pages.max(1).into(),
            is_own: Box::new(is_own),
        }
    }

    /// Stores a record of an owner, which must not be empty. On a full page, a record that was taken makes room for
    /// it, or else the newest of the owner that has most there, counting this one; it is returned as if it had expired.
    ///
    /// # Errors
    /// [`StoreError`]; the record is not stored then.
    pub fn insert(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        owner: u64,
        key: u128,
        expires: Timestamp,
        bytes: &[u8],
    ) -> Result<WithExpired<Insertion>, StoreError> {
        let page = self.page_of(key);
        let mut insertion = Insertion::Full;
        let mut displaced = None;
        let mut removed = self.update(shared, now, page, &mut |records| {
            let record = Record {
                key,
                expires,
                owner,
                bytes: bytes.to_vec(),
            };
            (insertion, displaced) = self.insert_into(records, record, page);
        })?;
        removed.extend(displaced);
        Ok((insertion, removed))
    }

    /// Takes a record.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is taken then.
    pub fn take(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        key: u128,
    ) -> Result<WithExpired<Taken>, StoreError> {
        let mut taken = Taken::Nothing;
        let expired = self.update(shared, now, self.page_of(key), &mut |records| {
            let mut records = records.iter_mut();
            let record = records.find(|record| record.key == key && self.owns(record));
            taken = match record.map(|record| std::mem::take(&mut record.bytes)) {
                None => Taken::Nothing,
                Some(bytes) if bytes.is_empty() => Taken::Before,
                Some(bytes) => Taken::Record(bytes),
            };
        })?;
        Ok((taken, expired))
    }

    /// Replaces the bytes of a record by those that `change` returns, if any. Returns records that have expired.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is replaced then.
    pub fn replace(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        key: u128,
        change: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.update(shared, now, self.page_of(key), &mut |records| {
            let mut records = records.iter_mut();
            let record = records.find(|record| record.key == key && self.owns(record));
            if let Some(Record { bytes, .. }) = record.filter(|record| !record.bytes.is_empty())
                && let Some(changed) = change(bytes)
                && (1..=Self::MAX_BYTES).contains(&changed.len())
            {
                *bytes = changed;
            }
        })
    }

    /// Returns the records of a page that have expired, and removes them.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is removed then.
    pub fn expired(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        page: u64,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.update(shared, now, page, &mut |_| ())
    }

    /// Changes the records of a page that have not expired, and writes them if anything has changed; starts over
    /// if another worker has written the page meanwhile. Returns the records that have expired.
    fn update(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        page: u64,
        change: &mut dyn FnMut(&mut Vec<Record>),
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let key = shared_key(*b"tollrecs", VERSION, page);
        for _ in 0..ATTEMPTS {
            let (before, version) = shared.shared_data(&key)?.unwrap_or((Vec::new(), CREATE));
            let mut records = read(&before);
            let expired = records
                .extract_if(.., |record| {
                    let is_abandoned = record.expires.saturating_add(GRACE) <= now;
                    is_abandoned || (record.expires <= now && self.owns(record))
                })
                .map(|record| record.bytes)
                .filter(|bytes| !bytes.is_empty() && (self.is_own)(bytes))
                .collect();
            change(&mut records);
            let after = write(&records);
            if after == before || (before.is_empty() && records.is_empty()) {
                return Ok(expired);
            }
            match shared.set_shared_data(&key, &after, version) {
                Ok(()) => return Ok(expired),
                Err(SharedDataError::CasMismatch) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended)
    }

    /// Returns whether a record belongs to this store; one that was taken belongs to any.
    fn owns(&self, record: &Record) -> bool {
        record.bytes.is_empty() || (self.is_own)(&record.bytes)
    }

    /// Adds a record to those of a page. Returns the bytes of one that it has displaced.
    fn insert_into(
        &self,
        records: &mut Vec<Record>,
        record: Record,
        page: u64,
    ) -> (Insertion, Option<Vec<u8>>) {
        if records.iter().any(|other| other.key == record.key) {
            return (Insertion::Known, None);
        }
        if record.bytes.len() > Self::MAX_BYTES || record.bytes.is_empty() {
            return (Insertion::Full, None);
        }
        let mut displaced = None;
        if records.len() >= CAPACITY {
            let taken = records.iter().position(|record| record.bytes.is_empty());
            let Some(index) = taken.or_else(|| self.newest_of_most(records, record.owner)) else {
                return (Insertion::Full, None);
            };
            displaced = Some(records.remove(index).bytes).filter(|bytes| !bytes.is_empty());
        }
        records.push(record);
        (Insertion::Stored(page), displaced)
    }

    /// Returns the newest record of the owner that has most; `None` if none has more than this owner, counting the
    /// record that arrives. Records of other stores stay: only theirs can handle them.
    fn newest_of_most(&self, records: &[Record], owner: u64) -> Option<usize> {
        let count = |owner: u64| records.iter().filter(|it| it.owner == owner).count();
        let own = count(owner).saturating_add(1);
        let own_records = records.iter().enumerate().filter(|(_, it)| self.owns(it));
        let most = own_records.map(|(index, it)| (count(it.owner), index));
        let (most, newest) = most.max()?;
        (most > own).then_some(newest)
    }

    fn page_of(&self, key: u128) -> u64 {
        let [low, high] = halves(key);
        let spread = (low ^ high).wrapping_mul(SPREAD) >> 32;
        spread.checked_rem(self.pages).unwrap_or_default()
    }
}

/// Reads the records of a page, up to the first bytes that are not a record.
fn read(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = bytes.strip_prefix(&HEADER).unwrap_or_default();
    while let Some((record, after)) = Record::read(rest) {
        records.push(record);
        rest = after;
    }
    records
}

fn write(records: &[Record]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for record in records {
        let length = u32::try_from(record.bytes.len()).unwrap_or_default();
        bytes.extend(record.key.to_le_bytes());
        bytes.extend(record.expires.as_u64().to_le_bytes());
        bytes.extend(record.owner.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(&record.bytes);
    }
    bytes
}

// === impl Record ===

impl Record {
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (key, bytes) = bytes.split_first_chunk()?;
        let (expires, bytes) = bytes.split_first_chunk()?;
        let (owner, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (record, rest) = bytes.split_at_checked(length)?;
        let record = Self {
            key: u128::from_le_bytes(*key),
            expires: Timestamp::new(u64::from_le_bytes(*expires)),
            owner: u64::from_le_bytes(*owner),
            bytes: record.to_vec(),
        };
        Some((record, rest))
    }
}

#[cfg(test)]
mod tests;
