// SPDX-License-Identifier: BSD-3-Clause
//! How an entry and its receipt travel with the request: two headers, their names and bounds.
//!
//! - `Visto-Entry`: base64 (padded) of the wire submission `{"envelope": …, "disclosures": […]}`;
//! - `Visto-Receipt`: base64 of the tlog-proof. Absent in an emergency only.
//!
//! A value longer than [`LINE_CHARS`] is cut into several header lines of the same name, in order; whoever combines them with commas changes
//! nothing. An entry of one subject takes 4 KiB, one of 200 some 64 KiB: a proxy in between must let that much through (nginx:
//! `large_client_header_buffers 16 8k`).
//!
//! They stand beside what ModI and PDND ask for and replace none of it: `Authorization` (the voucher) says which client calls,
//! `Agid-JWT-TrackingEvidence` says who sits in front of it, `Visto-Entry` says whose data is wanted and why, and `Visto-Receipt` that this is
//! on record. What binds them: `evidence.voucherJti` is the voucher's `jti`, `evidence.trackingEvidenceDigest` the SHA-256 of the evidence as
//! serialised, `consumer.clientId` the voucher's `client_id`. `Agid-JWT-Signature` covers neither header and need not: both are signed.

use http::{HeaderMap, HeaderName, HeaderValue};
use ledger::{base64, entry::SubmittedEntry, receipt::Receipt};

use super::Reason;

/// Carries the entry.
pub const ENTRY: HeaderName = HeaderName::from_static("visto-entry");
/// Carries its receipt.
pub const RECEIPT: HeaderName = HeaderName::from_static("visto-receipt");
/// In the answer: the id of the provider's own entry on this access.
pub const ENTRY_ID: HeaderName = HeaderName::from_static("visto-entry-id");
/// ModI's tracking evidence (AUDIT_REST_02).
pub const TRACKING_EVIDENCE: HeaderName = HeaderName::from_static("agid-jwt-trackingevidence");

/// Longest wire submission in bytes: an access of 200 subjects with all its disclosures fits. Larger queries come in parts.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Longest tlog-proof in bytes: 40 hashes of a path and the lines of twenty cosigners fit.
pub const RECEIPT_BYTES_MAX: usize = 8 * 1024;
/// Longest value of one header line: common servers take lines of 8 KiB.
pub const LINE_CHARS: usize = 7_680;
/// Longest head of a request that a server before a gate must take, in bytes.
pub const HEAD_BYTES: usize = 128 * 1024;

/// An entry as it was shown, believed in nothing.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The entry.
    pub entry: SubmittedEntry,
    /// Its wire line, byte by byte as sent.
    pub wire: String,
    /// Its receipt.
    pub receipt: Option<Receipt>,
}

impl Presented {
    /// Reads what a request shows.
    ///
    /// # Errors
    /// [`Reason::EntryMissing`], [`Reason::EntryMalformed`], [`Reason::ReceiptMalformed`]
    pub fn read(headers: &HeaderMap) -> Result<Presented, Reason> {
        let malformed = Reason::EntryMalformed;
        let wire = value(headers, &ENTRY, ENTRY_BYTES_MAX)
            .map_err(|()| malformed)?
            .ok_or(Reason::EntryMissing)?;
        let entry = SubmittedEntry::from_wire(&wire).map_err(|_| malformed)?;
        let wire = String::from_utf8(wire).map_err(|_| malformed)?;
        let malformed = Reason::ReceiptMalformed;
        let receipt = value(headers, &RECEIPT, RECEIPT_BYTES_MAX)
            .map_err(|()| malformed)?
            .map(|receipt| Receipt::parse(&receipt).map_err(|_| malformed))
            .transpose()?;
        Ok(Presented {
            entry,
            wire,
            receipt,
        })
    }
}

/// Puts an entry and its receipt into the head of a request, in the place of what is there.
///
/// # Errors
/// [`Reason::EntryMalformed`], [`Reason::ReceiptMalformed`]: too long to travel so.
pub fn write(headers: &mut HeaderMap, wire: &str, receipt: Option<&str>) -> Result<(), Reason> {
    if wire.len() > ENTRY_BYTES_MAX {
        return Err(Reason::EntryMalformed);
    }
    if receipt.is_some_and(|receipt| receipt.len() > RECEIPT_BYTES_MAX) {
        return Err(Reason::ReceiptMalformed);
    }
    remove(headers);
    for (name, bytes) in [(ENTRY, Some(wire)), (RECEIPT, receipt)] {
        let text = bytes.map(|bytes| base64::encode(bytes.as_bytes()));
        for line in text.unwrap_or_default().as_bytes().chunks(LINE_CHARS) {
            // Base64 is what a header may hold.
            if let Ok(line) = HeaderValue::from_bytes(line) {
                headers.append(name.clone(), line);
            }
        }
    }
    Ok(())
}

/// Takes both headers out: a service behind a gate has no use for them.
pub fn remove(headers: &mut HeaderMap) {
    headers.remove(&ENTRY);
    headers.remove(&RECEIPT);
}

/// The bytes of a header, all its lines together; none if it is not there.
fn value(headers: &HeaderMap, name: &HeaderName, bytes_max: usize) -> Result<Option<Vec<u8>>, ()> {
    let mut text = String::new();
    for line in headers.get_all(name) {
        for part in line.to_str().map_err(|_| ())?.split(',') {
            text.push_str(part.trim());
            if text.len() > bytes_max.div_ceil(3) * 4 {
                return Err(());
            }
        }
    }
    if text.is_empty() {
        return Ok(None);
    }
    base64::decode(&text).map(Some).ok_or(())
}
