// SPDX-License-Identifier: EUPL-1.2
//! Calls between institutions, and the two entries that each of them leaves: the consumer's word and the provider's.

use client::{
    build::{self, Draft, Plain, PlainAccess, PlainEvidence},
    modi::Call,
};
use ledger::{
    body::access::{AccessSubject, Action, CaseRef, EService, Side, SubjectRole, Visibility},
    time,
};
use rand::RngExt;
use serde_json::{Value, json};

use super::{HOUR_MS, Plan};
use crate::cli::{
    demo::{
        batches::Batches,
        calls::{Intent, uuid},
        founders::{INPS, institution},
        load::Outlet,
        services::{CONSENT_BASED, ISEE, SERVICES, Service},
        town::{FamilyNumber, PersonNumber},
    },
    exit::Failure,
};

impl Plan {
    /// Calls of today, each logged by both sides: 2 × `count` entries.
    pub(in crate::cli::demo) fn accesses(
        &mut self,
        count: usize,
        outlet: &Outlet,
    ) -> Result<(), Failure> {
        self.settle_homes();
        let mut batches = Batches::new(self.keys.clone(), outlet);
        for number in 0..count {
            let scene = self.scene(number)?;
            let call = self.call(&scene, number)?;
            let consumer = self.access(Side::Consumer, &scene, &call)?;
            batches.put(scene.service.consumer, consumer)?;
            let provider = self.access(Side::Provider, &scene, &call)?;
            batches.put(scene.service.provider, provider)?;
        }
        batches.flush()
    }

    /// Who asks for whom, when. The first three are the star family's.
    fn scene(&mut self, number: usize) -> Result<Scene, Failure> {
        let before_ms = self.star.separated_ms - 3 * HOUR_MS;
        let after_ms = self.star.separated_ms + 5 * HOUR_MS;
        let withdrawn = self.consents.first().map(|(record, ..)| record.clone());
        let (service, person, occurred_ms, record) = match number {
            // Before the separation the spouse is asked for within the family; after it, from the new household.
            0 => (ISEE, self.star.spouse, before_ms, None),
            1 => (ISEE, self.star.spouse, after_ms, None),
            // The head withdrew the consent an hour after the separation, and is asked for all the same.
            2 => (CONSENT_BASED, self.star.head, after_ms, withdrawn),
            _ => {
                let service = self.service();
                let occurred_ms =
                    self.started_ms - self.random.random_range(HOUR_MS / 4..17 * HOUR_MS);
                if service.by_consent {
                    let place = self.random.random_range(0..self.consents.len().max(1));
                    let (record, person, _) = self
                        .consents
                        .get(place)
                        .ok_or_else(|| Failure::failed("no consent was given"))?;
                    (service, *person, occurred_ms, Some(record.clone()))
                } else {
                    (
                        service,
                        PersonNumber(self.random.random_range(0..self.town.persons.len())),
                        occurred_ms,
                        None,
                    )
                }
            }
        };
        Ok(Scene {
            service,
            person,
            occurred_ms,
            record,
            exchange: build::random().map_err(Failure::failed)?,
            correlation_id: uuid()?,
        })
    }

    fn service(&mut self) -> &'static Service {
        let mut lot = self.random.random_range(0..100_u32);
        for service in &SERVICES {
            if lot < service.share {
                return service;
            }
            lot -= service.share;
        }
        ISEE
    }

    fn call(&mut self, scene: &Scene, number: usize) -> Result<Call, Failure> {
        let service = scene.service;
        self.field.call(&Intent {
            consumer: service.consumer,
            purpose_id: service.purpose_id,
            eservice_id: service.eservice_id,
            descriptor_id: service.descriptor_id,
            audience: service.audience,
            user_id: format!(
                "{}-{:04}",
                service.user_prefix,
                self.random.random_range(1..60_u32)
            ),
            // An office of the public register, so that citizens see it: every other location stays closed to them.
            user_location: format!("uo:UFV{:03}", self.random.random_range(1..40_u32)),
            at_s: scene.occurred_ms / 1000,
            variant: u32::try_from(number).unwrap_or(0),
            agreed: agreed(scene, number),
        })
    }

    fn access(&self, side: Side, scene: &Scene, call: &Call) -> Result<Draft, Failure> {
        let service = scene.service;
        let (consumer, provider) = (
            institution(service.consumer)?,
            institution(service.provider)?,
        );
        let mut subjects = vec![AccessSubject {
            person: self.person_ref(scene.person)?,
            role: SubjectRole::Target,
            relation: None,
        }];
        // The consumer asked for one person; who else is in the answer, the provider knows.
        if side == Side::Provider && service.whole_family {
            subjects.extend(self.relatives(scene.person, scene.occurred_ms)?);
        }
        let mut access = PlainAccess {
            side,
            exchange: scene.exchange,
            consumer,
            consumer_client_id: None,
            provider,
            eservice: EService {
                eservice_id: service.eservice_id.to_owned(),
                descriptor_id: Some(service.descriptor_id.to_owned()),
                name: Some(service.name.to_owned()),
                version: Some(service.version.to_owned()),
                operation: Some(service.operation.to_owned()),
            },
            user_id: String::new(),
            user_role: service.user_role.to_owned(),
            user_location: String::new(),
            loa: None,
            purpose_id: None,
            purpose: service.purpose.to_owned(),
            legal_basis: service.legal_basis.to_owned(),
            legal_reference: service.legal_reference.map(str::to_owned),
            reason: service.reason.to_owned(),
            case_ref: case_of(call),
            consent_refs: scene.record.iter().cloned().collect(),
            action: if side == Side::Provider {
                Action::Disclose
            } else {
                Action::Query
            },
            outcome: "success".to_owned(),
            status_code: Some(200),
            data_categories: service
                .data_categories
                .iter()
                .map(|category| (*category).to_owned())
                .collect(),
            personal_data_types: vec!["WITH_IDENTIFYING_DATA".to_owned()],
            subjects,
            part: None,
            result_count: Some(1),
            emergency: None,
            visibility: Visibility::Visible,
            evidence: Some(PlainEvidence {
                correlation_id: Some(scene.correlation_id.clone()),
                ..PlainEvidence::default()
            }),
        };
        access.take_call(call, "sconosciuta");
        let signer = if side == Side::Consumer {
            service.consumer
        } else {
            service.provider
        };
        self.draft(signer, scene.occurred_ms, Plain::Access(Box::new(access)))
    }

    /// Those who lived with a person at the time, as the registry has it.
    fn relatives(&self, person: PersonNumber, at_ms: u64) -> Result<Vec<AccessSubject>, Failure> {
        let star = at_ms < self.star.separated_ms
            && self
                .star_before
                .iter()
                .any(|member| member.person == person);
        let home = self
            .homes
            .get(person.0)
            .and_then(|home| self.town.families.get(home.0));
        let members = if star {
            &self.star_before
        } else {
            home.map(|home| &home.members).unwrap_or(&self.star_before)
        };
        members
            .iter()
            .filter(|member| member.person != person)
            .map(|member| {
                Ok(AccessSubject {
                    person: self.person_ref(member.person)?,
                    role: SubjectRole::Incidental,
                    relation: Some(member.relation.as_str().to_owned()),
                })
            })
            .collect()
    }

    fn settle_homes(&mut self) {
        self.homes = vec![FamilyNumber(0); self.town.persons.len()];
        for (number, family) in self.town.families.iter().enumerate() {
            for member in &family.members {
                if let Some(home) = self.homes.get_mut(member.person.0) {
                    *home = FamilyNumber(number);
                }
            }
        }
    }
}

/// One call: which service, for whom, when.
struct Scene {
    service: &'static Service,
    person: PersonNumber,
    occurred_ms: u64,
    record: Option<String>,
    exchange: [u8; 16],
    correlation_id: String,
}

/// What the parties agreed to send beside the guideline's claims: the fields of an INPS query on ISEE, or of ANPR's C021.
fn agreed(scene: &Scene, number: usize) -> Value {
    let service = scene.service;
    let protocol = format!("2026/{:06}", 4000 + number);
    if service.provider == INPS {
        const INDICATORS: [&str; 4] =
            ["Ordinario", "Universitario", "Minorenni", "Socio-Sanitario"];
        json!({
            "organizzazione": service.consumer,
            "ufficio": "Servizi sociali",
            "tipoIndicatore": INDICATORS.get(number % INDICATORS.len()),
            "dataValidita": time::format_date(scene.occurred_ms),
            "prestazioneDaErogare": service.benefit,
            "protocolloDomandaEnteErogatore": protocol,
            "statoDomandaPrestazione": "Da Erogare",
        })
    } else {
        json!({
            "idOperazioneClient": protocol,
            "casoUso": service.operation,
            "motivoRichiesta": service.reason,
            "prestazioneDaErogare": service.benefit,
        })
    }
}

/// The case that a call serves, as its evidence says.
fn case_of(call: &Call) -> Option<CaseRef> {
    let claim = |name: &str| {
        call.evidence
            .further
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Some(CaseRef {
        protocollo: claim("protocolloDomandaEnteErogatore")
            .or_else(|| claim("idOperazioneClient"))?,
        prestazione: claim("prestazioneDaErogare"),
        stato: claim("statoDomandaPrestazione"),
    })
}
