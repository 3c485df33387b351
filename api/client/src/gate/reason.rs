// SPDX-License-Identifier: BSD-3-Clause
//! Why a gate lets a call not through: one closed list, and the one place where a gate chooses a status code.
//!
//! The list is in order of precedence: of all that is wrong with a call, the first is told. Signatures are looked at one after the other, an
//! unknown key and a false signature as they come. `tests/order.rs` holds the list against the checks.

use std::fmt;

use wire::problem::{Problem, TYPE_PREFIX};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $status:literal $code:literal $title:literal $remedy:literal)*) => {
        /// Why a call is not let through. The codes are stable: they end the `type` of the problem document.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$name),*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code),* }
            }

            /// HTTP status of the refusal.
            pub fn status(self) -> u16 {
                match self { $(Reason::$name => $status),* }
            }

            fn title(self) -> &'static str {
                match self { $(Reason::$name => $title),* }
            }

            fn remedy(self) -> &'static str {
                match self { $(Reason::$name => $remedy),* }
            }
        }
    };
}

reasons! {
    // What the request shows.
    /// No route of the gate's table takes this request.
    NoRoute 404 "gate-no-route" "The gate has no route for this request" "Call a path that the service describes."
    /// Body longer than the gate digests.
    BodyTooLong 413 "gate-body-too-long" "The request is longer than the gate reads" "Send less in one request."
    /// Body that could not be read to its end.
    BodyBroken 400 "gate-body-broken" "The request ended early" "Send it again, with a new entry."
    /// The caller cannot be told.
    CallerUnknown 401 "gate-caller-unknown" "The caller is not authenticated" "Call with the voucher or certificate that this service asks for."
    /// No `Visto-Entry`.
    EntryMissing 428 "gate-entry-missing" "The access is not on record" "Submit a signed access entry, and send it in Visto-Entry with its receipt in Visto-Receipt."
    /// `Visto-Entry` is not base64 of a wire submission within its bound, or not an access of the consumer's side.
    EntryMalformed 400 "gate-entry-malformed" "Visto-Entry holds no access entry of a consumer" "Send base64 of the wire submission of an access entry with side consumer, 64 KiB at most."
    /// `Visto-Receipt` is not base64 of a receipt within its bound.
    ReceiptMalformed 400 "gate-receipt-malformed" "Visto-Receipt holds no receipt" "Send base64 of the tlog-proof as the ledger gave it."
    /// No `Visto-Receipt`, and no emergency that is let through here.
    ReceiptMissing 428 "gate-receipt-missing" "The access is not on record yet" "Wait for the entry's receipt, and send it in Visto-Receipt."
    // Whether the entry is to be believed, whatever the call.
    /// The copy of the registry's keys is too old.
    KeysStale 503 "gate-keys-stale" "The gate's copy of the registry is too old" "Try later."
    /// A signer's key is not known, or not in force.
    KeyUnknown 403 "gate-key-unknown" "The key that signed the entry is not known here" "Sign with a registered key in force; a new one is known here shortly."
    /// A signature does not hold.
    SignatureFalse 403 "gate-signature" "A signature of the entry does not hold" "Send the entry as it was signed."
    /// The receipt is not this entry's, or proves nothing under the policy.
    ReceiptFalse 403 "gate-receipt" "The receipt does not hold for this entry" "Send the receipt that the ledger gave for exactly this entry."
    /// Not every disclosure is there, or not the signer's own: the gate could not put the entry on record.
    EmergencyIncomplete 403 "gate-emergency-incomplete" "The emergency's entry cannot be put on record" "Send the entry with all its disclosures, signed by the consumer itself."
    // Whether it is about this call. Nothing of this is told of an entry that is not to be believed.
    /// What the request asks for cannot be told.
    FactsUnreadable 400 "gate-request-unreadable" "Whose data is wanted cannot be read from the request" "Send the request as the service describes it."
    /// A person is asked for by code, and the ref cannot be had.
    PseudonymAway 503 "gate-pseudonym" "The pseudonym of a person asked for cannot be had now" "Try later."
    /// Another ledger's.
    OtherLedger 403 "gate-other-ledger" "The entry is of another ledger" "Submit the entry to the ledger that this provider goes by."
    /// The consumer named is not who calls.
    OtherConsumer 403 "gate-other-consumer" "The entry is another consumer's" "Send an entry of the institution and client that call."
    /// The provider named is not this one.
    OtherProvider 403 "gate-other-provider" "The entry names another provider" "Name this provider in the entry."
    /// The e-service, exchange, purpose or evidence named is another call's.
    OtherCall 403 "gate-other-call" "The entry is about another e-service, exchange, purpose or evidence" "Name in the entry what this call is about."
    /// `evidence.requestDigest` is absent or another request's.
    OtherRequest 403 "gate-other-request" "The entry was made for another request" "Put the digest of exactly this request into evidence.requestDigest."
    /// A person is asked for whom the entry does not disclose as target.
    OtherSubject 403 "gate-other-subject" "The entry does not name whom this call asks for" "Name each person asked for as a target, and disclose it."
    // Whether it covers the call now.
    /// `until` lies in the past, or too far ahead.
    EmergencyUntil 403 "gate-emergency-until" "The emergency is over, or claimed for too long" "Name an `until` within the next 24 hours."
    /// Accepted or cosigned outside the window.
    Stale 403 "gate-stale" "The entry is not of now" "Submit a new entry for each call, and call at once; compare the clocks."
    /// The ledger found something that this gate does not let pass.
    Uncovered 403 "gate-uncovered" "The ledger found that the access is not covered" "Mend what the finding names, and submit a new entry."
    // Whether it can be used, and our side kept.
    /// The outbox is full: the provider's side could not be kept.
    OutboxFull 503 "gate-outbox-full" "The ledger is out of reach for too long, and the outbox is full" "Try later."
    /// The exchange was used before.
    Used 409 "gate-used" "The entry was used before" "Submit a new entry, with a new exchange, for each call."
    /// A disk of the gate failed.
    Broken 503 "gate-broken" "The gate cannot keep what it must" "Try later."
    // What becomes of a call that was let through.
    /// The service behind cannot be reached.
    UpstreamUnreachable 502 "gate-upstream-unreachable" "The service behind the gate does not answer" "Try later, with a new entry."
    /// The service behind did not answer in time.
    UpstreamTimeout 504 "gate-upstream-timeout" "The service behind the gate did not answer in time" "Try later, with a new entry."
    /// The answer names more persons than one entry can, or names them in a way that cannot be read.
    AnswerPersons 502 "gate-answer-persons" "The persons in the service's answer cannot be put on record" "Ask for fewer persons in one request, with a new entry."
}

impl Reason {
    /// The problem document. It repeats nothing of the request.
    pub fn problem(self) -> Problem {
        Problem {
            kind: format!("{TYPE_PREFIX}{}", self.code()),
            title: self.title().to_owned(),
            status: self.status(),
            detail: None,
            instance: None,
            remedy: Some(self.remedy().to_owned()),
            errors: Vec::new(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title(), self.code())
    }
}

impl std::error::Error for Reason {}
