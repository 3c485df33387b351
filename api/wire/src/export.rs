// SPDX-License-Identifier: EUPL-1.2
//! Exports: `POST /v1/exports`. What comes back is the ledger's own format (`ledger::export`), not JSON of this crate.

use ledger::{base64, export::Binding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of a bundle for citizens.
pub const ZIP: &str = "application/zip";

/// An order for an export. Exactly one of `subject` and `household`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportOrder {
    /// Ref of a person, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub subject: Option<String>,
    /// Ref of a household, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub household: Option<String>,
    /// `citizen`: the own part of each entry, for the person asked about or who speaks for them; `reader`: what the reader may see.
    #[schema(example = "citizen")]
    pub audience: String,
    /// Ground on which it is handed out, a CURIE.
    #[schema(example = "dpv-gdpr:A15")]
    pub ground: String,
    /// For a citizen: whose lists are opened, and why; of a person alone, the person as `self` when absent. Members of a household who are not
    /// named here are told by ref alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 200)]
    pub open: Option<Vec<ExportOpen>>,
    /// What lets the citizen recompute the ref from the typed code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<ExportBinding>,
}

/// Whose list is opened to a citizen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportOpen {
    /// Ref of the person, base64url.
    #[serde(rename = "ref")]
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub of: String,
    /// `self`: who asks; `minor`: a child for whom the one who asks speaks; `mandate`: an adult who gave a mandate. The desk checked it.
    #[serde(rename = "as")]
    #[schema(example = "self")]
    pub standing: String,
}

/// The evaluation of a code with its proof (RFC 9497).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportBinding {
    /// Kind of the code, such as `cf`.
    #[schema(example = "cf")]
    pub kind: String,
    /// The blind, 32 bytes in base64url.
    pub blind: String,
    /// The evaluated element, 32 bytes in base64url.
    pub evaluated: String,
    /// The proof, 64 bytes in base64url.
    pub proof: String,
}

impl From<&Binding> for ExportBinding {
    fn from(binding: &Binding) -> ExportBinding {
        ExportBinding {
            kind: binding.kind.as_str().to_owned(),
            blind: base64::url_encode(&binding.blind),
            evaluated: base64::url_encode(&binding.evaluated),
            proof: base64::url_encode(&binding.proof),
        }
    }
}
