// SPDX-License-Identifier: BSD-3-Clause
//! Refs of codes: blinded here, evaluated by the cluster, unblinded here. No code leaves this process, and no node learns which ref it helped
//! to make.
//!
//! Every answer carries a proof that it was made with the ledger's key, which is known from genesis ([`genesis_key`]): a node with another key,
//! which would give this institution refs that nobody else has, is caught by its first answer. The same code gives the same ref for ever, so what
//! was learnt is kept, sealed ([`Cache`]).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ledger::{
    base64,
    body::{Body, Content},
    bytes::CodeKind,
    entry::SubmittedEntry,
    export::Binding,
    hash::Hash,
    oprf::{
        self, BATCH_MAX, Blinding, Element, Evaluated, Evaluation, LinkProof, OprfError,
        OprfPublicKey, Proof,
    },
    policy::PolicySet,
};
use wire::pseudonym::{EvaluationRequest, Evaluations};
use zeroize::Zeroizing;

use crate::{
    http::Client,
    tax_code::{TaxCode, TaxCodeError},
};

mod cache;
#[cfg(test)]
mod tests;

pub use cache::{Cache, CacheError};

/// Why there are no refs. Repeats no code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger did not answer, or said no.
    #[error(transparent)]
    Http(#[from] crate::error::Error),
    /// An answer is not believed: nothing of it was used.
    #[error("node {node} is not believed: {cause}")]
    Evaluation {
        /// Which node answered.
        node: u64,
        /// What is wrong.
        cause: OprfError,
    },
    /// The answer is not of the form that one node alone gives.
    #[error("the answer comes in {0} shares: this client knows whole keys alone")]
    Shares(usize),
    /// A code cannot be blinded.
    #[error(transparent)]
    Code(OprfError),
    /// The cache of refs.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// This machine failed.
    #[error("{0}")]
    Machine(String),
}

/// Why a text is no code. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// A tax code whose form or check letter is wrong.
    #[error(transparent)]
    TaxCode(#[from] TaxCodeError),
    /// Empty, too long, or not printable ASCII without white space.
    #[error("a code is 1 to 64 characters of printable ASCII without white space")]
    Form,
}

/// A code of a person or household, checked as far as its kind allows. It is taken as it stands but for its case: an omocode names one person
/// as well as any other code, so it is not undone.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    kind: CodeKind,
    text: Zeroizing<String>,
}

impl Code {
    /// Parses a code of a kind; of a tax code the check letter must hold.
    ///
    /// # Errors
    /// [`CodeError`]
    pub fn parse(kind: CodeKind, text: &str) -> Result<Code, CodeError> {
        let text = text.trim_ascii();
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > oprf::CODE_BYTES_MAX || !printable {
            return Err(CodeError::Form);
        }
        if kind == CodeKind::Cf {
            return Ok(Code::from(&TaxCode::parse(text)?));
        }
        Ok(Code {
            kind,
            text: Zeroizing::new(text.to_ascii_uppercase()),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> CodeKind {
        self.kind
    }

    /// The code. Handle like any personal datum: not in logs, not in URLs, not in arguments of a process.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl std::hash::Hash for Code {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.kind as u8, self.text.as_str()).hash(state);
    }
}

impl From<&TaxCode> for Code {
    fn from(code: &TaxCode) -> Code {
        Code {
            kind: CodeKind::Cf,
            text: Zeroizing::new(code.expose().to_owned()),
        }
    }
}

/// Prints no personal datum.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}, ..)", self.kind.as_str())
    }
}

/// Gives a fresh token of a reader in the role `institution`.
pub type Tokens = Box<dyn Fn() -> Result<String, crate::error::Error> + Send + Sync>;

/// Makes refs of codes, with the help of a ledger's nodes.
pub struct Pseudonyms {
    http: Client,
    key: OprfPublicKey,
    tokens: Tokens,
    cache: Option<Arc<Mutex<Cache>>>,
}

/// A ref, and what an export carries so that whoever knows the code finds it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The ref.
    pub reference: Hash,
    /// With a blind of its own. Whoever has it can try codes: it goes to the citizen, with the export, and nowhere else.
    pub binding: Binding,
}

/// Two refs of one person, and what a `link` entry shows for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The old ref.
    pub old: Hash,
    /// The new ref.
    pub new: Hash,
    /// The entry's `proof`.
    pub proof: String,
}

impl Pseudonyms {
    /// Asks these nodes, and believes answers under this key alone.
    pub fn new(http: Client, key: OprfPublicKey, tokens: Tokens) -> Pseudonyms {
        Pseudonyms {
            http,
            key,
            tokens,
            cache: None,
        }
    }

    /// The same, with what was learnt before, which it keeps up to date.
    ///
    /// # Errors
    /// [`CacheError::Epoch`] if the cache holds refs under another key.
    pub fn with_cache(self, cache: Cache) -> Result<Pseudonyms, CacheError> {
        if cache.epoch() != &self.key {
            return Err(CacheError::Epoch(cache.path().to_owned()));
        }
        Ok(Pseudonyms {
            cache: Some(Arc::new(Mutex::new(cache))),
            ..self
        })
    }

    /// The refs of these codes, in their order: from the cache, else evaluated, a thousand a request. What was learnt is on disk before this
    /// answers.
    ///
    /// # Errors
    /// [`Error`]; what was learnt before it stays known.
    pub async fn refs(&self, codes: &[Code]) -> Result<Vec<Hash>, Error> {
        let mut known: HashMap<&Code, Hash> = HashMap::new();
        let mut missing: Vec<&Code> = Vec::new();
        for code in codes {
            if let Some(reference) = self.cache().and_then(|cache| cache.get(code)) {
                known.insert(code, reference);
            } else if known.insert(code, Hash::ZERO).is_none() {
                missing.push(code);
            }
        }
        for batch in missing.chunks(BATCH_MAX) {
            let owned: Vec<Code> = batch.iter().map(|code| (*code).clone()).collect();
            let refs = self.evaluated(owned).await?;
            for (code, reference) in batch.iter().zip(refs) {
                known.insert(code, reference);
                if let Some(mut cache) = self.cache() {
                    cache.put(code, reference);
                }
            }
            // What a crash leaves behind: this batch's refs on disk or not, and those of the batches before.
            if let Some(cache) = self.cache.clone() {
                off_thread(move || Ok(lock(&cache).save()?)).await?;
            }
        }
        let found = codes.iter().map(|code| known.get(code).copied());
        found
            .collect::<Option<_>>()
            .ok_or(Error::Code(OprfError::Batch))
    }

    /// The ref of a code, and the binding for `POST /v1/exports`. Asked for anew each time, alone in its batch: its blind stands in no other
    /// proof.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn bind(&self, code: &Code) -> Result<Bound, Error> {
        let blinding = blind(code)?;
        let (answer, node) = self.ask(&[blinding.blinded()], &self.key).await?;
        let key = self.key;
        off_thread(move || {
            let believed = |cause| Error::Evaluation { node, cause };
            let binding = blinding.binding(&answer, &key).map_err(believed)?;
            let refs = oprf::finalize(&[blinding], &answer, &key).map_err(believed)?;
            let reference = refs.first().copied().ok_or(believed(OprfError::Batch))?;
            Ok(Bound { reference, binding })
        })
        .await
    }

    /// Proves that two refs are one person's: of one code under the key of an epoch before and the key in force, or of two codes of this person
    /// (then both under the key in force, if `old_key` is that). The blinds are drawn for this and thrown away: with them, codes could be tried.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn join(
        &self,
        (old, old_key): (&Code, &OprfPublicKey),
        new: &Code,
    ) -> Result<Joined, Error> {
        let new_blinding = blind(new)?;
        // One code is blinded once, so that everybody sees that it is one.
        let old_blinding = match old == new {
            true => None,
            false => Some(blind(old)?),
        };
        let asked_old = old_blinding.as_ref().unwrap_or(&new_blinding);
        let (old_ref, old_evaluated) = self.evaluated_alone(asked_old, old_key).await?;
        let (new_ref, new_evaluated) = self.evaluated_alone(&new_blinding, &self.key).await?;
        let proof = LinkProof {
            old: old_evaluated,
            new: new_evaluated,
        };
        Ok(Joined {
            old: old_ref,
            new: new_ref,
            proof: proof.to_text(),
        })
    }

    async fn evaluated(&self, codes: Vec<Code>) -> Result<Vec<Hash>, Error> {
        let blindings: Vec<Blinding> =
            off_thread(move || codes.iter().map(blind).collect()).await?;
        let blinded: Vec<Element> = blindings.iter().map(Blinding::blinded).collect();
        let (answer, node) = self.ask(&blinded, &self.key).await?;
        let key = self.key;
        off_thread(move || {
            oprf::finalize(&blindings, &answer, &key)
                .map_err(|cause| Error::Evaluation { node, cause })
        })
        .await
    }

    async fn evaluated_alone(
        &self,
        blinding: &Blinding,
        key: &OprfPublicKey,
    ) -> Result<(Hash, Evaluated), Error> {
        let blinded = blinding.blinded();
        let (answer, node) = self.ask(&[blinded], key).await?;
        let believed = |cause| Error::Evaluation { node, cause };
        let refs =
            oprf::finalize(std::slice::from_ref(blinding), &answer, key).map_err(believed)?;
        let first = refs.first().zip(answer.evaluated.first());
        let (reference, evaluated) = first.ok_or(believed(OprfError::Batch))?;
        Ok((
            *reference,
            Evaluated {
                blinded,
                evaluated: *evaluated,
                proof: answer.proof,
            },
        ))
    }

    /// Asks for one batch; says which node answered. Nothing is believed yet.
    async fn ask(
        &self,
        blinded: &[Element],
        key: &OprfPublicKey,
    ) -> Result<(Evaluation, u64), Error> {
        let text = |element: &Element| base64::url_encode(element.as_bytes());
        let request = EvaluationRequest {
            blinded: blinded.iter().map(text).collect(),
            key: (*key != self.key).then(|| base64::url_encode(key.as_bytes())),
        };
        let token = (self.tokens)()?;
        let answer = self.http.evaluate(&token, &request).await?;
        read(&answer)
    }

    fn cache(&self) -> Option<MutexGuard<'_, Cache>> {
        self.cache.as_ref().map(|cache| lock(cache))
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms")
            .field("key", &base64::url_encode(self.key.as_bytes()))
            .finish_non_exhaustive()
    }
}

/// The key of pseudonyms that a genesis entry names, if it is the genesis that the policy trusts. After a change of keys believe the `rules`
/// entry that names the new one.
///
/// # Errors
/// What is wrong with the entry, in words.
pub fn genesis_key(genesis: &[u8], policy: &PolicySet) -> Result<OprfPublicKey, String> {
    let entry = SubmittedEntry::from_wire(genesis.trim_ascii())
        .map_err(|refused| format!("this is no entry: {refused}"))?;
    if policy.genesis() != Some(Hash::of(&[entry.pae()])) {
        return Err("this is not the genesis that the policy names".to_owned());
    }
    let body = Body::parse(entry.payload(), entry.disclosures())
        .map_err(|refused| format!("this is no genesis: {refused}"))?;
    let key = match &body.content {
        Content::Genesis(genesis) => genesis.oprf_key,
        _ => return Err("this is no genesis".to_owned()),
    };
    let key = key.ok_or("this ledger names no key of pseudonyms")?;
    OprfPublicKey::from_bytes(key.as_bytes()).map_err(|error| error.to_string())
}

fn blind(code: &Code) -> Result<Blinding, Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut_slice()).map_err(|error| Error::Machine(error.to_string()))?;
    Blinding::new(code.kind, &code.text, &random).map_err(Error::Code)
}

fn read(answer: &Evaluations) -> Result<(Evaluation, u64), Error> {
    let [share] = answer.shares.as_slice() else {
        return Err(Error::Shares(answer.shares.len()));
    };
    let node = share.node;
    let believed = |cause| Error::Evaluation { node, cause };
    let element = |text: &String| {
        let bytes = base64::url_decode_array(text).ok_or(believed(OprfError::Element))?;
        Element::from_bytes(&bytes).map_err(believed)
    };
    let proof = base64::url_decode_array(&share.proof).ok_or(believed(OprfError::Proof))?;
    let evaluation = Evaluation {
        evaluated: share
            .evaluated
            .iter()
            .map(element)
            .collect::<Result<_, _>>()?,
        proof: Proof(proof),
    };
    Ok((evaluation, node))
}

/// Runs what computes, or waits for the disk, off the async threads.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Machine(error.to_string()))?
}

/// A cache is whole after every step, so a thread that panicked beside it left nothing half done.
fn lock(cache: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}
