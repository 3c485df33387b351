// SPDX-License-Identifier: EUPL-1.2
//! Rule sets: which purposes and legal bases are allowed, and from when on an entry is late. Each has a number that stands in `meta`.
//!
//! The number in force is state, changed only by a `rules` entry. A set, once used, is for ever: every node and auditor carries all of
//! them, so that any finding can be judged again. To change a rule, write a new set.

use crate::body::access::Access;

/// The rule set of a number, if this build carries it.
pub fn rule_set(number: u16) -> Option<&'static RuleSet> {
    RULE_SETS.iter().find(|set| set.number == number)
}

/// Every rule set that this build carries.
pub const RULE_SETS: &[RuleSet] = &[RuleSet {
    number: 1,
    late_after_ms: 24 * HOUR_MS,
    clock_ahead_ms: 10_000,
    clock_id_behind_ms: 5 * 60_000,
    purposes: PURPOSES_1,
    bases: BASES_1,
    special_data_type: "GDPR_ART_9",
    special_basis_prefix: "dpv-gdpr:A9-2-",
}];

/// One rule set.
#[derive(Debug)]
pub struct RuleSet {
    /// Its number.
    pub number: u16,
    /// An entry accepted more than this after `occurredAt` is `late`.
    pub late_after_ms: u64,
    /// An entry whose `occurredAt` or id lies more than this ahead of its acceptance has an odd `clock` (beyond five minutes it is refused).
    pub clock_ahead_ms: u64,
    /// An entry whose id is older than its `occurredAt` by more than this has an odd `clock`: it was named before it happened.
    pub clock_id_behind_ms: u64,
    /// Purposes that are allowed.
    pub purposes: &'static [PurposeRule],
    /// Legal bases that are allowed.
    pub bases: &'static [BasisRule],
    /// The PDND data type that asks for a basis of its own.
    pub special_data_type: &'static str,
    /// What the legal basis must begin with where that data type is there.
    pub special_basis_prefix: &'static str,
}

/// A purpose that is allowed.
#[derive(Debug)]
pub struct PurposeRule {
    /// CURIE.
    pub purpose: &'static str,
    /// Whether an access for it must name a case.
    pub case: bool,
    /// Roles of which the consumer must have one; none = any institution.
    pub roles: &'static [&'static str],
}

/// A legal basis that is allowed.
#[derive(Debug)]
pub struct BasisRule {
    /// CURIE.
    pub basis: &'static str,
    /// What it asks for.
    pub needs: Needs,
}

/// What a legal basis asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A consent of each target subject.
    Consent,
    /// The rule of law, in `legalReference`.
    Reference,
    /// An `emergency`: vital interests.
    Emergency,
    /// Nothing more.
    Nothing,
}

impl RuleSet {
    /// The rule of a purpose.
    pub fn purpose(&self, purpose: &str) -> Option<&'static PurposeRule> {
        self.purposes.iter().find(|rule| rule.purpose == purpose)
    }

    /// What the access's legal basis asks for, or `None` where the set does not allow it here.
    pub fn basis(&self, access: &Access) -> Option<Needs> {
        let rule = self
            .bases
            .iter()
            .find(|rule| rule.basis == access.legal_basis)?;
        let special = access
            .personal_data_types
            .iter()
            .any(|data_type| data_type == self.special_data_type);
        if special && !rule.basis.starts_with(self.special_basis_prefix) {
            return None;
        }
        let there = match rule.needs {
            Needs::Reference => access
                .legal_reference
                .as_deref()
                .is_some_and(|reference| !reference.trim().is_empty()),
            Needs::Emergency => access.emergency.is_some(),
            Needs::Consent | Needs::Nothing => true,
        };
        there.then_some(rule.needs)
    }
}

const HOUR_MS: u64 = 3_600_000;

/// DPV 2.3 purposes of the public-services sector and of the core vocabulary.
const PURPOSES_1: &[PurposeRule] = &[
    PurposeRule {
        purpose: "dpv-ps:SocialBenefits",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialWelfareEligibilityAssessment",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialWelfareEnrolmentManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialWelfareProvision",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialWelfareDistributionManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialWelfareRiskAssessment",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialWelfareManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialAssistanceManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialInsuranceManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:SocialSecurityManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:HousingWelfareManagement",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:PublicServiceEligibilityAssessment",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:PublicServiceProvision",
        case: true,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv-ps:PublicServiceManagement",
        case: true,
        roles: &[],
    },
    // Controls are drawn by sample, before there is a case.
    PurposeRule {
        purpose: "dpv-ps:PublicServiceFraudPreventionDetection",
        case: false,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv:FraudPreventionAndDetection",
        case: false,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv:IdentityVerification",
        case: false,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv:LegalCompliance",
        case: false,
        roles: &[],
    },
    PurposeRule {
        purpose: "dpv:PublicBenefit",
        case: true,
        roles: &[],
    },
    // Answering a person's request (Art. 15 GDPR) is the privacy officer's and the authority's work.
    PurposeRule {
        purpose: "dpv:DataSubjectRightsManagement",
        case: false,
        roles: &["dpo", "authority"],
    },
];

/// Art. 6 and 9 GDPR as DPV names them. Legitimate interest (Art. 6(1)(f)) is not there: public authorities cannot rest their tasks on it.
const BASES_1: &[BasisRule] = &[
    BasisRule {
        basis: "dpv-gdpr:A6-1-a",
        needs: Needs::Consent,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-a-explicit-consent",
        needs: Needs::Consent,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-a-non-explicit-consent",
        needs: Needs::Consent,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-b",
        needs: Needs::Nothing,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-c",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-d",
        needs: Needs::Emergency,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-e",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-e-public-interest",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A6-1-e-official-authority",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-a",
        needs: Needs::Consent,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-b",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-c",
        needs: Needs::Emergency,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-f",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-g",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-h",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-i",
        needs: Needs::Reference,
    },
    BasisRule {
        basis: "dpv-gdpr:A9-2-j",
        needs: Needs::Reference,
    },
];
