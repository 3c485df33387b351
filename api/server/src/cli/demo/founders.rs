// SPDX-License-Identifier: EUPL-1.2
//! Who takes part in the demo: institutions with key files, three nodes, the genesis and the policy made of them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use client::{
    keyfile, pseudonym,
    token::{self, Reader},
};
use ledger::{
    id::{InstitutionId, NodeNumber},
    key::SigningKey,
    oprf::OprfPublicKey,
    policy::PolicySet,
};

use crate::cli::{
    exit::Failure,
    genesis::{self, Made},
    key::{
        self,
        sealed::{self, make_identity},
    },
    profile::ROLES,
    pseudonym::parse_key,
};

/// Name of the demo's ledger; its genesis is marked as a test's.
pub(super) const LEDGER: &str = "demo.visto.example";

/// An institution of the demo.
pub(super) struct Founder {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    roles: &'static [&'static str],
    governs: bool,
}

pub(super) const TOWN: &str = "ipa:c_m109";
pub(super) const INPS: &str = "ipa:inps";
pub(super) const REGION: &str = "ipa:r_lombar";
pub(super) const HEALTH: &str = "ipa:asst_pv";
pub(super) const INTERIOR: &str = "ipa:m_it";
pub(super) const AUTHORITY: &str = "ipa:gpdp";

/// Three of them govern (two must agree) and run a node each.
pub(super) const FOUNDERS: [Founder; 6] = [
    Founder {
        id: TOWN,
        name: "Comune di Voghera",
        roles: &["registry-anagrafica", "dpo", "operator"],
        governs: true,
    },
    Founder {
        id: INPS,
        name: "INPS",
        roles: &["registry-isee", "dpo", "operator"],
        governs: true,
    },
    Founder {
        id: REGION,
        name: "Regione Lombardia",
        roles: &["dpo", "operator"],
        governs: true,
    },
    Founder {
        id: HEALTH,
        name: "ASST di Pavia",
        roles: &["dpo"],
        governs: false,
    },
    Founder {
        id: INTERIOR,
        name: "Ministero dell'Interno (ANPR)",
        roles: &[],
        governs: false,
    },
    Founder {
        id: AUTHORITY,
        name: "Garante per la protezione dei dati personali",
        roles: &["authority"],
        governs: false,
    },
];

/// Files of a demo: keys, certificates, genesis, policy, configurations, data.
#[derive(Clone)]
pub(super) struct Place {
    folder: PathBuf,
}

impl Place {
    pub(super) fn new(folder: PathBuf) -> Place {
        Place { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.path("keys")
    }

    /// The key of an institution for a use, read from its file.
    pub(super) fn key(&self, institution: &str, key_use: &str) -> Result<SigningKey, Failure> {
        key::read(&self.keys().join(key_file(institution, key_use)))
    }

    /// Makes all keys and certificates, the genesis and the policy. `peers`: peer addresses of the nodes, the first is node 1's.
    pub(super) fn found(&self, peers: &[SocketAddr]) -> Result<Made, Failure> {
        fs::create_dir_all(self.keys())
            .map_err(|error| Failure::failed(format!("{}: {error}", self.keys().display())))?;
        let generate = |name: &str| {
            keyfile::generate(&self.keys().join(name))
                .map(|_| ())
                .map_err(Failure::failed)
        };
        let mut description =
            format!("ledger = \"{LEDGER}\"\nthreshold = 2\nrules = 1\ntest = true\n");
        for founder in &FOUNDERS {
            let mut keys = String::new();
            for key_use in founder.uses() {
                let file = key_file(founder.id, key_use);
                generate(&file)?;
                keys.push_str(&format!(
                    "  {{ use = \"{key_use}\", file = \"keys/{file}\" }},\n"
                ));
            }
            description.push_str(&format!(
                "\n[[institutions]]\nid = \"{}\"\nname = \"{}\"\nroles = {:?}\nkeys = [\n{keys}]\n",
                founder.id, founder.name, founder.roles
            ));
        }
        let governing = FOUNDERS.iter().filter(|founder| founder.governs);
        for ((number, peer), founder) in (1..).zip(peers).zip(governing) {
            generate(&format!("node-{number}-node.pem"))?;
            generate(&format!("node-{number}-cosign.pem"))?;
            description.push_str(&format!(
                "\n[[nodes]]\nnode = {number}\ninstitution = \"{}\"\npeer = \"{peer}\"\nnode_key = \"keys/node-{number}-node.pem\"\ncosign_key = \"keys/node-{number}-cosign.pem\"\n",
                founder.id
            ));
        }
        generate("log.pem")?;
        description.push_str(&format!(
            "\n[log]\ninstitution = \"{TOWN}\"\nkey = \"keys/log.pem\"\n"
        ));
        let from = self.path("genesis.toml");
        write(&from, &description)?;
        let numbers: Vec<NodeNumber> = (1..)
            .zip(peers)
            .map(|(number, _)| NodeNumber(number))
            .collect();
        cluster::certs::write(&self.path("certs"), LEDGER, &numbers).map_err(Failure::failed)?;
        genesis::make(genesis::New {
            from,
            out: self.path("genesis.json"),
            policy: self.path("policy.txt"),
            oprf_key: Some(self.seal_oprf_key(&numbers)?),
        })
    }

    /// Draws the key of the pseudonyms, sealed to an identity of each node's own.
    fn seal_oprf_key(&self, nodes: &[NodeNumber]) -> Result<OprfPublicKey, Failure> {
        let identity = |node: &NodeNumber| {
            make_identity(&self.keys().join(format!("node-{}.identity", node.0)))
        };
        let public = sealed::make(&sealed::Oprf {
            seal_to: nodes.iter().map(identity).collect::<Result<_, _>>()?,
            out: self.path("oprf.age"),
        })?;
        parse_key(&public).map_err(Failure::failed)
    }

    /// The key of the pseudonyms, as the genesis names it that the policy trusts.
    pub(super) fn oprf_key(&self) -> Result<OprfPublicKey, Failure> {
        let read = |name: &str| fs::read(self.path(name)).map_err(Failure::failed);
        let policy = PolicySet::parse(&read("policy.txt")?).map_err(Failure::failed)?;
        pseudonym::genesis_key(&read("genesis.json")?, &policy).map_err(Failure::failed)
    }

    /// A fresh token of a reader.
    pub(super) fn token(&self, reader: &ReaderOf) -> Result<String, Failure> {
        let key = self.key(reader.institution, "token")?;
        let role = ROLES.into_iter().find(|role| role.as_str() == reader.role);
        let reader = Reader {
            institution: institution(reader.institution)?,
            person: reader.person.to_owned(),
            role: role
                .ok_or_else(|| Failure::failed(format!("there is no role {}", reader.role)))?,
            purpose: reader.purpose.to_owned(),
            case: Some(reader.case.to_owned()),
        };
        token::make(&reader, LEDGER, &key, token::now_s()).map_err(Failure::failed)
    }

    /// Writes a profile for `visto … --profile FILE`, and names it.
    pub(super) fn write_profile(
        &self,
        name: &str,
        urls: &[String],
        reader: &ReaderOf,
    ) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        let text = format!(
            "urls = {urls:?}\nledger = \"{LEDGER}\"\npolicy = \"policy.txt\"\ninstitution = \"{}\"\nperson = \"{}\"\nrole = \"{}\"\npurpose = \"{}\"\ncase = \"{}\"\ntoken_key = \"keys/{}\"\n",
            reader.institution,
            reader.person,
            reader.role,
            reader.purpose,
            reader.case,
            key_file(reader.institution, "token"),
        );
        write(&path, &text)?;
        Ok(path)
    }
}

/// A reader of the demo.
pub(super) struct ReaderOf {
    pub(super) institution: &'static str,
    pub(super) person: &'static str,
    pub(super) role: &'static str,
    pub(super) purpose: &'static str,
    pub(super) case: &'static str,
}

/// The town's privacy officer, who answers a family's request.
pub(super) const DPO: ReaderOf = ReaderOf {
    institution: TOWN,
    person: "rpd-01",
    role: "dpo",
    purpose: "dpv:DataSubjectRightsManagement",
    case: "2026/000871",
};
/// The supervisory authority's inspector.
pub(super) const INSPECTOR: ReaderOf = ReaderOf {
    institution: AUTHORITY,
    person: "isp-07",
    role: "authority",
    purpose: "dpv:LegalCompliance",
    case: "GPDP-2026-113",
};
/// The town's registry system, which makes refs of the codes that it holds.
pub(super) const REGISTRY: ReaderOf = ReaderOf {
    institution: TOWN,
    person: "anagrafe",
    role: "institution",
    purpose: "dpv:LegalCompliance",
    case: "anagrafe",
};
/// Whoever runs the town's node.
pub(super) const OPERATOR: ReaderOf = ReaderOf {
    institution: TOWN,
    person: "ced-02",
    role: "operator",
    purpose: "dpv:LegalCompliance",
    case: "esercizio",
};

impl Founder {
    fn uses(&self) -> &'static [&'static str] {
        if self.governs {
            &["governance", "entry", "token"]
        } else {
            &["entry", "token"]
        }
    }
}

pub(super) fn institution(id: &str) -> Result<InstitutionId, Failure> {
    InstitutionId::parse(id).ok_or_else(|| Failure::failed(format!("{id}: not an institution")))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

/// `inps-entry.pem` for `ipa:inps` and `entry`.
fn key_file(institution: &str, key_use: &str) -> String {
    let code = institution
        .split_once(':')
        .map_or(institution, |(_, code)| code);
    format!("{code}-{key_use}.pem")
}
