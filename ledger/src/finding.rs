// SPDX-License-Identifier: EUPL-1.2
//! Findings: what is wrong with an entry that is recorded all the same (byte specification, *Findings*).
//!
//! A finding is the judgement at acceptance, from ledger state and rule set alone, and part of the leaf. What is logged later changes
//! views, never the leaf.

use core::fmt;

/// One thing that is wrong. The number is the bit in [`Findings`]; reserved bits have no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Finding {
    /// The basis is consent, and for some target subject none of the records named was ever given, or not yet in time.
    ConsentMissing = 0,
    /// The basis is consent, and the consent was withdrawn.
    ConsentWithdrawn = 1,
    /// The basis is consent, and its time was over.
    ConsentExpired = 2,
    /// The basis is consent, given for another purpose, recipient or data category.
    ConsentOutOfScope = 3,
    /// The rule set does not allow this legal basis here, or its legal reference is missing.
    LegalBasisInvalid = 4,
    /// The rule set does not know the purpose, or not for this institution.
    PurposeNotAllowed = 5,
    /// Logged long after it happened.
    Late = 6,
    /// The signer's clock is odd.
    Clock = 7,
    /// A number of the stream was left out.
    StreamGap = 8,
    /// A number of the stream came twice, or does not follow the entry before.
    StreamFork = 9,
    /// The same side logged the same exchange again.
    ExchangeAgain = 10,
    /// Break-glass: always looked at.
    Emergency = 11,
    /// The signer may not submit for the institution.
    DelegationMissing = 12,
    /// No case is named where the rule set wants one.
    NoCase = 13,
}

impl Finding {
    /// All findings, by bit.
    pub const ALL: [Finding; 14] = [
        Finding::ConsentMissing,
        Finding::ConsentWithdrawn,
        Finding::ConsentExpired,
        Finding::ConsentOutOfScope,
        Finding::LegalBasisInvalid,
        Finding::PurposeNotAllowed,
        Finding::Late,
        Finding::Clock,
        Finding::StreamGap,
        Finding::StreamFork,
        Finding::ExchangeAgain,
        Finding::Emergency,
        Finding::DelegationMissing,
        Finding::NoCase,
    ];

    /// The name of the byte specification, such as `consent-withdrawn`.
    pub fn name(self) -> &'static str {
        match self {
            Finding::ConsentMissing => "consent-missing",
            Finding::ConsentWithdrawn => "consent-withdrawn",
            Finding::ConsentExpired => "consent-expired",
            Finding::ConsentOutOfScope => "consent-out-of-scope",
            Finding::LegalBasisInvalid => "legal-basis-invalid",
            Finding::PurposeNotAllowed => "purpose-not-allowed",
            Finding::Late => "late",
            Finding::Clock => "clock",
            Finding::StreamGap => "stream-gap",
            Finding::StreamFork => "stream-fork",
            Finding::ExchangeAgain => "exchange-again",
            Finding::Emergency => "emergency",
            Finding::DelegationMissing => "delegation-missing",
            Finding::NoCase => "no-case",
        }
    }

    /// The finding of a name.
    pub fn parse(name: &str) -> Option<Finding> {
        Finding::ALL
            .into_iter()
            .find(|finding| finding.name() == name)
    }

    /// What it means, in one sentence for a reader of reports.
    pub fn meaning(self) -> &'static str {
        match self {
            Finding::ConsentMissing => "no consent of this person was in force",
            Finding::ConsentWithdrawn => "the person had withdrawn the consent",
            Finding::ConsentExpired => "the time of the consent was over",
            Finding::ConsentOutOfScope => {
                "the consent was given for another purpose, recipient or kind of data"
            }
            Finding::LegalBasisInvalid => "the legal basis named does not carry this access",
            Finding::PurposeNotAllowed => "the purpose named is not one that the rules allow here",
            Finding::Late => "it was logged long after it happened",
            Finding::Clock => "the signer's clock was odd",
            Finding::StreamGap => "the signer left out a number of its stream",
            Finding::StreamFork => {
                "the signer used a number of its stream twice, or broke its chain"
            }
            Finding::ExchangeAgain => "the same side logged the same exchange before",
            Finding::Emergency => "it was done as an emergency and awaits review",
            Finding::DelegationMissing => {
                "the signer was not delegated by the institution it speaks for"
            }
            Finding::NoCase => "no case is named that the access served",
        }
    }

    fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

/// A set of findings; 0 = covered. Bit *i* is worth 2^*i*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Findings(pub u32);

impl Findings {
    /// Nothing is wrong.
    pub const COVERED: Findings = Findings(0);

    /// Nothing is wrong.
    pub fn is_covered(self) -> bool {
        self.0 == 0
    }

    /// Adds a finding.
    pub fn insert(&mut self, finding: Finding) {
        self.0 |= finding.bit();
    }

    /// Both sets.
    pub fn union(self, other: Findings) -> Findings {
        Findings(self.0 | other.0)
    }

    /// Whether the finding is there.
    pub fn contains(self, finding: Finding) -> bool {
        self.0 & finding.bit() != 0
    }

    /// The findings, by bit. Reserved bits are passed over.
    pub fn iter(self) -> impl Iterator<Item = Finding> {
        Finding::ALL
            .into_iter()
            .filter(move |finding| self.contains(*finding))
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        let mut set = Findings::COVERED;
        findings.into_iter().for_each(|finding| set.insert(finding));
        set
    }
}

/// `covered`, or the names joined by spaces.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_covered() {
            return f.write_str("covered");
        }
        for (place, finding) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            f.write_str(finding.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Findings({:#x}: {self})", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn bits_and_names_are_those_of_the_specification() {
        let names = [
            "consent-missing",
            "consent-withdrawn",
            "consent-expired",
            "consent-out-of-scope",
            "legal-basis-invalid",
            "purpose-not-allowed",
            "late",
            "clock",
            "stream-gap",
            "stream-fork",
            "exchange-again",
            "emergency",
            "delegation-missing",
            "no-case",
        ];
        for (bit, name) in names.iter().enumerate() {
            let finding = Finding::parse(name).unwrap();
            assert_eq!(Findings::from_iter([finding]).0, 1 << bit, "{name}");
        }
        // The value of a vector: no-case, late and consent-withdrawn.
        assert_eq!(Findings(8258).to_string(), "consent-withdrawn late no-case");
        assert_eq!(Findings(0).to_string(), "covered");
        assert_eq!(Finding::parse("covered"), None);
    }
}
