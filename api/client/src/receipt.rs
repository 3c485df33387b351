// SPDX-License-Identifier: BSD-3-Clause
//! Receipts, checked on this side: what a server says about an entry counts only as far as its receipt proves it.

pub use ledger::receipt::VerifiedReceipt;
use ledger::{
    body::Body,
    entry::SubmittedEntry,
    policy::PolicySet,
    receipt::{self, Receipt},
};

use crate::{error::Error, http::Client};

/// Why a receipt is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It could not be had.
    #[error(transparent)]
    Fetch(#[from] Error),
    /// The entry's body cannot be read.
    #[error("the entry is malformed: {0}")]
    Entry(#[from] ledger::refusal::Refused),
    /// It proves nothing about this entry under this policy.
    #[error("the receipt does not hold: {0}")]
    Verify(#[from] receipt::ReceiptError),
}

/// Verifies the text of a receipt for an entry, offline.
///
/// # Errors
/// [`ReceiptError::Verify`].
pub fn verify(
    entry: &SubmittedEntry,
    receipt: &str,
    policies: &PolicySet,
) -> Result<VerifiedReceipt, ReceiptError> {
    let receipt = Receipt::parse(receipt.as_bytes())?;
    let verified = receipt::verify(entry, &receipt, policies)?;
    // A log could sign what belongs to another ledger, or under another type.
    verified.agree_with(&Body::parse_partial(entry.payload(), entry.disclosures())?)?;
    Ok(verified)
}

/// Fetches the receipt of the entry at an index and verifies that it is this entry's.
///
/// # Errors
/// [`ReceiptError`]: also where the server gives the receipt of another entry.
pub async fn fetch(
    client: &Client,
    entry: &SubmittedEntry,
    index: u64,
    token: Option<&str>,
    policies: &PolicySet,
) -> Result<VerifiedReceipt, ReceiptError> {
    let text = client.receipt(index, token).await?;
    verify(entry, &text, policies)
}
