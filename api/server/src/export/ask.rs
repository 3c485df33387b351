// SPDX-License-Identifier: EUPL-1.2
//! What is ordered: about whom, for whom, on which ground, and whose lists a citizen gets.

use ledger::{
    base64,
    bytes::CodeKind,
    export::{About, AboutKind, Audience, Binding},
    hash::Hash,
};

use crate::{
    access,
    auth::Reader,
    form::{Form, bad},
    problem::{Fault, RequestFault},
};

/// Longest ground, in bytes.
const GROUND_BYTES_MAX: usize = 64;
/// Vocabularies that a ground may come from.
const VOCABULARIES: [&str; 4] = ["dpv", "dpv-gdpr", "dpv-pd", "dpv-ps"];

/// An order for an export.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Whom it is about.
    pub about: About,
    /// For whom it is made.
    pub audience: Audience,
    /// On which ground, a CURIE: it stands in the ledger in clear.
    pub ground: String,
    /// Whose lists a citizen gets. Of a person alone, that person's.
    pub open: Vec<Open>,
    /// What binds the ref to a code.
    pub binding: Option<Binding>,
}

/// Whose list is opened to a citizen, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The person.
    pub of: Hash,
    /// What the one who asks is to that person; the desk checked it, and its word goes on record.
    pub standing: Standing,
}

/// What the one who asks is to the person whose list is opened. The relations in household entries are the registry's own words and grow
/// old, so a child is a child here by the desk's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The same person.
    Itself,
    /// Who speaks for this child.
    Minor,
    /// Whom this adult gave a mandate.
    Mandate,
}

impl Standing {
    const ALL: [Standing; 3] = [Standing::Itself, Standing::Minor, Standing::Mandate];

    fn as_str(self) -> &'static str {
        match self {
            Standing::Itself => "self",
            Standing::Minor => "minor",
            Standing::Mandate => "mandate",
        }
    }

    fn parse(word: &str) -> Option<Standing> {
        Standing::ALL
            .into_iter()
            .find(|standing| standing.as_str() == word)
    }
}

impl Ask {
    /// Reads an order from the body of a request.
    ///
    /// # Errors
    /// A member does not fit, or the reader may not order this.
    pub fn parse(body: &[u8], reader: &Reader) -> Result<Ask, Fault> {
        access::demand_reader_of_entries(reader)?;
        let mut form = Form::parse(body)?;
        let (subject, household) = (form.hash("subject")?, form.hash("household")?);
        let audience = form
            .text("audience")?
            .as_deref()
            .and_then(Audience::parse)
            .ok_or_else(|| bad("audience", "citizen or reader"))?;
        let ground = form
            .text("ground")?
            .filter(|ground| is_curie(ground))
            .ok_or_else(|| bad("ground", "a CURIE such as dpv-gdpr:A15"))?;
        let open = form.objects("open")?.map(open).transpose()?;
        let binding = form.object("binding")?.map(binding).transpose()?;
        form.end()?;
        let about = match (subject, household) {
            (Some(of), None) => About {
                kind: AboutKind::Subject,
                of,
            },
            (None, Some(of)) => About {
                kind: AboutKind::Household,
                of,
            },
            _ => {
                return Err(RequestFault::Member(
                    String::new(),
                    "exactly one of subject and household",
                )
                .into());
            }
        };
        let open = match audience {
            Audience::Reader if open.is_some() => {
                return Err(bad("open", "for a citizen alone"));
            }
            Audience::Reader => Vec::new(),
            Audience::Citizen => {
                access::demand_citizens_desk(reader)?;
                opened(&about, open)?
            }
        };
        Ok(Ask {
            about,
            audience,
            ground,
            open,
            binding,
        })
    }

    /// The ground as it goes on record: the CURIE and, for a citizen, as what the one who asks got whose lists.
    pub fn ground_on_record(&self) -> String {
        let mut told = Vec::new();
        for standing in Standing::ALL {
            let open = self.open.iter();
            match open.filter(|open| open.standing == standing).count() {
                0 => {}
                1 => told.push(standing.as_str().to_owned()),
                count => told.push(format!("{} {count}", standing.as_str())),
            }
        }
        if told.is_empty() {
            self.ground.clone()
        } else {
            format!("{} as {}", self.ground, told.join(", "))
        }
    }
}

/// Whose lists a citizen gets: of a person, that one; of a household, those named, the one who asks among them.
fn opened(about: &About, open: Option<Vec<Open>>) -> Result<Vec<Open>, Fault> {
    let Some(open) = open else {
        return match about.kind {
            AboutKind::Subject => Ok(vec![Open {
                of: about.of,
                standing: Standing::Itself,
            }]),
            AboutKind::Household => Err(bad("open", "whose lists are opened, and as what")),
        };
    };
    let mut persons: Vec<Hash> = open.iter().map(|open| open.of).collect();
    persons.sort_unstable();
    if persons
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
    {
        return Err(bad("open", "each person once"));
    }
    let selves = open
        .iter()
        .filter(|open| open.standing == Standing::Itself)
        .count();
    match about.kind {
        AboutKind::Subject if persons != [about.of] => Err(bad("open", "the person asked about")),
        AboutKind::Household if selves != 1 => Err(bad("open", "one person as self")),
        _ => Ok(open),
    }
}

fn open(items: Vec<Form<'_>>) -> Result<Vec<Open>, Fault> {
    items
        .into_iter()
        .map(|mut item| {
            let of = item
                .hash("ref")?
                .ok_or_else(|| bad("open", "the ref of a person in each"))?;
            let standing = item
                .text("as")?
                .as_deref()
                .and_then(Standing::parse)
                .ok_or_else(|| bad("open", "self, minor or mandate in each"))?;
            item.end()?;
            Ok(Open { of, standing })
        })
        .collect()
}

fn binding(mut form: Form<'_>) -> Result<Binding, Fault> {
    const EXPECTED: &str = "kind, blind and evaluated of 32 bytes, proof of 64";
    let wrong = || bad("binding", EXPECTED);
    let kind = form.text("kind")?;
    let mut bytes = |name| -> Result<Vec<u8>, Fault> {
        let text = form.text(name)?.ok_or_else(wrong)?;
        base64::url_decode(&text).ok_or_else(wrong)
    };
    let (blind, evaluated, proof) = (bytes("blind")?, bytes("evaluated")?, bytes("proof")?);
    form.end()?;
    Ok(Binding {
        kind: kind
            .as_deref()
            .and_then(CodeKind::parse)
            .ok_or_else(wrong)?,
        blind: blind.try_into().map_err(|_| wrong())?,
        evaluated: evaluated.try_into().map_err(|_| wrong())?,
        proof: proof.try_into().map_err(|_| wrong())?,
    })
}

/// A CURIE of the known vocabularies: no place for anything personal.
fn is_curie(text: &str) -> bool {
    text.len() <= GROUND_BYTES_MAX
        && text.split_once(':').is_some_and(|(prefix, name)| {
            VOCABULARIES.contains(&prefix)
                && !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use serde_json::{Value, json};
    use wire::token::Role;

    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn parse(order: &Value, role: Role) -> Result<Ask, Fault> {
        let reader = Reader::for_tests("ipa:c_m109", role);
        Ask::parse(order.to_string().as_bytes(), &reader)
    }

    #[test]
    fn orders_are_closed() {
        let citizen = |more: Value| {
            let mut order = json!({"audience": "citizen", "ground": "dpv-gdpr:A15"});
            for (name, value) in more.as_object().unwrap() {
                order[name] = value.clone();
            }
            order
        };
        let own = json!([{"ref": A, "as": "self"}]);
        let table = [
            (citizen(json!({"subject": A})), Some("dpv-gdpr:A15 as self")),
            (
                citizen(json!({"subject": A, "open": [{"ref": A, "as": "minor"}]})),
                Some("dpv-gdpr:A15 as minor"),
            ),
            (
                citizen(json!({"household": B, "open": own})),
                Some("dpv-gdpr:A15 as self"),
            ),
            (
                citizen(json!({"household": B, "open":
                    [{"ref": A, "as": "self"}, {"ref": B, "as": "mandate"}]})),
                Some("dpv-gdpr:A15 as self, mandate"),
            ),
            (
                json!({"audience": "reader", "ground": "dpv:LegalCompliance", "household": B}),
                Some("dpv:LegalCompliance"),
            ),
            (citizen(json!({})), None),
            (citizen(json!({"subject": A, "household": B})), None),
            (citizen(json!({"household": B})), None),
            (citizen(json!({"household": B, "open": []})), None),
            (
                citizen(json!({"household": B, "open": [{"ref": A, "as": "minor"}]})),
                None,
            ),
            (
                citizen(json!({"subject": A, "open": [{"ref": B, "as": "self"}]})),
                None,
            ),
            (
                citizen(json!({"household": B, "open":
                    [{"ref": A, "as": "self"}, {"ref": A, "as": "minor"}]})),
                None,
            ),
            (
                citizen(json!({"subject": A, "open": [{"ref": A, "as": "friend"}]})),
                None,
            ),
            (citizen(json!({"subject": A, "ground": "Rossi M."})), None),
            (citizen(json!({"subject": A, "ground": "dpv:a b"})), None),
            (citizen(json!({"subject": A, "audience": "all"})), None),
            (citizen(json!({"subject": A, "more": 1})), None),
            (
                json!({"audience": "reader", "ground": "dpv:x", "subject": A, "open": own}),
                None,
            ),
            (
                citizen(json!({"subject": A, "binding":
                    {"kind": "cf", "blind": A, "evaluated": A, "proof": A}})),
                None,
            ),
        ];
        for (order, ground) in table {
            let parsed = parse(&order, Role::Dpo);
            let told = parsed.ok().map(|ask| ask.ground_on_record());
            assert_eq!(told.as_deref(), ground, "{order}");
        }
    }

    #[test]
    fn a_citizens_export_is_made_at_a_privacy_officers_desk() {
        let citizen = json!({"audience": "citizen", "ground": "dpv-gdpr:A15", "subject": A});
        let reader = json!({"audience": "reader", "ground": "dpv-gdpr:A15", "subject": A});
        for (role, own, any) in [
            (Role::Institution, false, true),
            (Role::Dpo, true, true),
            (Role::Authority, true, true),
            (Role::Operator, false, false),
        ] {
            assert_eq!(parse(&citizen, role).is_ok(), own, "{role:?}");
            assert_eq!(parse(&reader, role).is_ok(), any, "{role:?}");
        }
    }
}
