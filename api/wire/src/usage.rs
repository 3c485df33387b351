// SPDX-License-Identifier: EUPL-1.2
//! Who used a person's data, in the shape of Estonia's Data Tracker (Andmejälgija 2.1: `findUsage`, `usagePeriod`, `heartbeat`): a portal that
//! speaks it shows Visto's answers as they are. The ref travels in a body, never in a URL.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most usages in one answer.
pub const USAGES_MAX: u32 = 1_000;

/// A question for usages of a person's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsageSearch {
    /// Ref of the person, base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub subject: String,
    /// Used at or after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub period_start: Option<String>,
    /// Used before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub period_end: Option<String>,
    /// How many of the newest to pass over; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int32, minimum = 0, maximum = 50000)]
    pub offset: Option<u32>,
    /// Most usages in the answer, 1 to 1000; 1000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int32, minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Usages of a person's data, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usages {
    /// How many there are in the period, all pages together.
    #[schema(format = Int32, minimum = 0)]
    pub total_usages: u32,
    /// Those asked for. Both sides and all parts of one exchange are one usage.
    pub usages: Vec<Usage>,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}

/// One usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// When.
    #[schema(format = DateTime)]
    pub logtime: String,
    /// The reason, in words for people.
    pub action: String,
    /// Who received the data.
    #[schema(example = "ipa:c_m109")]
    pub receiver_code: String,
    /// Its name, as registered now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_name: Option<String>,
    /// The receiver's system: its client of the national platform, else the institution itself.
    pub receiver_system: String,
}

/// Since when usages are on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsagePeriod {
    /// From the ledger's first entry.
    #[schema(format = DateTime)]
    pub period_start: String,
    /// To the newest entry known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub period_end: Option<String>,
}

/// Whether usages can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// `OK` or `FAIL`.
    #[schema(example = "OK")]
    pub status: String,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
