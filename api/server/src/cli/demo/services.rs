// SPDX-License-Identifier: EUPL-1.2
//! The e-services that the demo calls, with the ids and fields that PDND's catalogue and their documentation give.

use super::founders::{HEALTH, INPS, INTERIOR, REGION, TOWN};

/// An e-service, and how the demo's institutions use it.
pub(super) struct Service {
    pub(super) consumer: &'static str,
    pub(super) provider: &'static str,
    pub(super) eservice_id: &'static str,
    pub(super) descriptor_id: &'static str,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) operation: &'static str,
    pub(super) audience: &'static str,
    /// Purpose id at PDND.
    pub(super) purpose_id: &'static str,
    /// Purpose, a CURIE.
    pub(super) purpose: &'static str,
    pub(super) legal_basis: &'static str,
    pub(super) legal_reference: Option<&'static str>,
    pub(super) reason: &'static str,
    /// Benefit of the case (INPS: *Prestazione da erogare*).
    pub(super) benefit: &'static str,
    pub(super) user_role: &'static str,
    pub(super) user_prefix: &'static str,
    pub(super) data_categories: &'static [&'static str],
    /// The answer shows the whole family.
    pub(super) whole_family: bool,
    /// It rests on the person's consent.
    pub(super) by_consent: bool,
    /// Percent of all calls.
    pub(super) share: u32,
}

/// The ISEE attestation, asked for by the town.
pub(super) const ISEE: &Service = &SERVICES[0];
/// The service that rests on consent, asked for by the health authority.
pub(super) const CONSENT_BASED: &Service = &SERVICES[3];
/// Purpose, and data, of the consents that the demo's persons give.
pub(super) const CONSENT_PURPOSE: &str = "dpv-ps:SocialWelfareProvision";
pub(super) const CONSENT_DATA: [&str; 2] = ["dpv-pd:Income", "dpv-pd:FamilyStructure"];

pub(super) const SERVICES: [Service; 4] = [
    Service {
        consumer: TOWN,
        provider: INPS,
        eservice_id: "2303d392-6b30-462b-a9e6-6fe99498cc53",
        descriptor_id: "2935fbd0-bde4-4eb5-b0a4-40b647af3752",
        name: "Consultazione Attestazione Residenti ISEE",
        version: "2",
        operation: "attestazione",
        audience: "https://servizi.inps.example/isee/v2",
        purpose_id: "d2b9a653-c497-45c6-b8f1-5bdf124c9d3a",
        purpose: "dpv-ps:SocialWelfareEligibilityAssessment",
        legal_basis: "dpv-gdpr:A6-1-e-official-authority",
        legal_reference: Some("DPCM 159/2013, art. 11"),
        reason: "Verifica dell'ISEE per la retta dell'asilo nido",
        benefit: "asilo-nido",
        user_role: "assistente_sociale",
        user_prefix: "as",
        data_categories: &[
            "dpv-pd:Income",
            "dpv-pd:FamilyStructure",
            "dpv-pd:OfficialID",
        ],
        whole_family: true,
        by_consent: false,
        share: 55,
    },
    Service {
        consumer: TOWN,
        provider: INTERIOR,
        eservice_id: "7c5a9f5e-0c0a-4d6e-9d43-0f6c2f6d2a11",
        descriptor_id: "b8a2f7f0-3a61-4c1f-8f0b-5d1c7a0e4c21",
        name: "C021-servizioAccertamentoStatoFamiglia",
        version: "1",
        operation: "C021",
        audience: "https://modipa.anpr.example/C021/v1",
        purpose_id: "5e0d3c6a-6a51-4c08-9d4b-7d1a2b9f3e10",
        purpose: "dpv-ps:PublicServiceEligibilityAssessment",
        legal_basis: "dpv-gdpr:A6-1-c",
        legal_reference: Some("DPR 445/2000, art. 43"),
        reason: "Controllo d'ufficio dello stato di famiglia dichiarato",
        benefit: "mensa-scolastica",
        user_role: "ufficiale_anagrafe",
        user_prefix: "ua",
        data_categories: &["dpv-pd:FamilyStructure", "dpv-pd:PhysicalAddress"],
        whole_family: true,
        by_consent: false,
        share: 15,
    },
    Service {
        consumer: REGION,
        provider: INPS,
        eservice_id: "2303d392-6b30-462b-a9e6-6fe99498cc53",
        descriptor_id: "2935fbd0-bde4-4eb5-b0a4-40b647af3752",
        name: "Consultazione Attestazione Residenti ISEE",
        version: "2",
        operation: "indicatore",
        audience: "https://servizi.inps.example/isee/v2",
        purpose_id: "a1c7d0de-1f1b-4a5e-8a39-3f0de8d8b9c4",
        purpose: "dpv-ps:HousingWelfareManagement",
        legal_basis: "dpv-gdpr:A6-1-e-public-interest",
        legal_reference: Some("L.R. Lombardia 16/2016, art. 22"),
        reason: "Graduatoria per l'assegnazione degli alloggi pubblici",
        benefit: "contributo-affitto",
        user_role: "istruttore",
        user_prefix: "rl",
        data_categories: &["dpv-pd:IncomeBracket", "dpv-pd:FamilyStructure"],
        whole_family: true,
        by_consent: false,
        share: 12,
    },
    Service {
        consumer: HEALTH,
        provider: INPS,
        eservice_id: "2303d392-6b30-462b-a9e6-6fe99498cc53",
        descriptor_id: "2935fbd0-bde4-4eb5-b0a4-40b647af3752",
        name: "Consultazione Attestazione Residenti ISEE",
        version: "2",
        operation: "attestazione",
        audience: "https://servizi.inps.example/isee/v2",
        purpose_id: "0f8fad5b-d9cb-469f-a165-70867728950e",
        purpose: CONSENT_PURPOSE,
        legal_basis: "dpv-gdpr:A6-1-a-explicit-consent",
        legal_reference: None,
        reason: "Proposta di un progetto di assistenza domiciliare",
        benefit: "sad",
        user_role: "infermiere_di_comunita",
        user_prefix: "ic",
        data_categories: &["dpv-pd:Income", "dpv-pd:FamilyStructure"],
        whole_family: false,
        by_consent: true,
        share: 18,
    },
];
