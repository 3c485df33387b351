// SPDX-License-Identifier: EUPL-1.2
//! Pseudonyms by real nodes: one code, one ref; a wrong key is caught; nothing on any disk confirms a guess; two epochs are joined.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use client::{
    http::Client,
    pseudonym::{Bound, Cache, Code, Error, Pseudonyms},
};
use ledger::{
    base64,
    bytes::CodeKind,
    export::{Asked, Export, Lie, verify},
    hash::Hash,
    oprf::{self as voprf, Blinding, Element, LinkProof, OprfError, OprfSecretKey},
    policy::PolicySet,
};
use serde_json::{Value, json};
use tests::{
    cluster::{Cluster, Setup},
    node::{OPRF_IDENTITY, OPRF_SEALED, binary},
    oprf,
    sign::{Draft, Signed, random},
    world::{self, ASL, GARANTE, INPS, VOGHERA},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wire::{
    export::ExportBinding,
    pseudonym::{EvaluationRequest, Evaluations, Share},
    token::Role,
};

use crate::governance::Governance;

const ANNA: &str = "RSSMRA85T50A562W";
const MARIO: &str = "RSSMRA85T10A562S";
/// Another code of the same data: it stays another person's.
const MARIOS_OMOCODE: &str = "RSSMRA85T10A56NH";

fn code(text: &str) -> Code {
    Code::parse(CodeKind::Cf, text).unwrap()
}

/// An institution's system that asks these nodes, the first one first, and believes the key of an epoch.
fn asking(institution: &'static str, urls: &[String], epoch: u32) -> Pseudonyms {
    let http = Client::new(urls, Duration::from_secs(20)).unwrap();
    let tokens = move || Ok(world::token(institution, Role::Institution));
    Pseudonyms::new(http, oprf::public_key(epoch), Box::new(tokens))
}

/// What the key's holder computes of a code, by the specification and without the cluster.
fn computed(key: &OprfSecretKey, text: &str) -> Hash {
    let blinding = Blinding::new(CodeKind::Cf, text, &random()).unwrap();
    let answer = key.evaluate(&[blinding.blinded()], &random()).unwrap();
    voprf::finalize(&[blinding], &answer, &key.public()).unwrap()[0]
}

fn text(bytes: &[u8]) -> String {
    base64::url_encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_has_one_ref_whoever_asks_and_whichever_node() {
    let cluster = Cluster::start().await;
    let codes = [ANNA, MARIO, MARIOS_OMOCODE].map(code);
    let expected = [ANNA, MARIO, MARIOS_OMOCODE].map(|text| computed(&oprf::key(1), text));
    assert_eq!(
        expected
            .iter()
            .collect::<std::collections::HashSet<_>>()
            .len(),
        3
    );
    for (node, institution) in [(1, VOGHERA), (2, INPS), (3, ASL)] {
        let refs = asking(institution, &[cluster.url(node, "")], 1)
            .refs(&codes)
            .await;
        assert_eq!(refs.unwrap(), expected, "node {node}");
    }
    // More than one request, with repetitions, into a cache that then answers without any node.
    let mut many: Vec<Code> = (0..1_100)
        .map(|number| Code::parse(CodeKind::IdAnpr, &format!("AN{number:07}")).unwrap())
        .collect();
    many.extend(codes.iter().chain(&codes).cloned());
    let (file, key) = (cluster.folder().join("refs"), random());
    let cache = || Cache::open(&file, &key, &oprf::public_key(1)).unwrap();
    let learning = asking(VOGHERA, &cluster.urls(), 1)
        .with_cache(cache())
        .unwrap();
    let learnt = learning.refs(&many).await.unwrap();
    assert_eq!(learnt[1_100..1_103], expected);
    assert_eq!(learnt[1_103..], expected);
    let nowhere = ["http://127.0.0.1:1".to_owned()];
    let knowing = asking(VOGHERA, &nowhere, 1).with_cache(cache()).unwrap();
    assert_eq!(knowing.refs(&many).await.unwrap(), learnt);

    // An export's binding: the code gives the ref, no other code does, and no two bindings share a blind.
    let asker = asking(VOGHERA, &cluster.urls(), 1);
    let (bound, again) = (
        asker.bind(&codes[0]).await.unwrap(),
        asker.bind(&codes[0]).await.unwrap(),
    );
    assert_eq!(bound.reference, expected[0]);
    assert_ne!(bound.binding.blind, again.binding.blind);
    let opened = bound.binding.reference(ANNA, &oprf::public_key(1));
    assert_eq!(opened, Ok(expected[0]));
    assert!(
        bound
            .binding
            .reference(MARIO, &oprf::public_key(1))
            .is_err()
    );
    assert!(bound.binding.reference(ANNA, &oprf::public_key(2)).is_err());

    // The command line takes codes from stdin, and its answers from the key in genesis.
    let told = command(&cluster, &format!("{ANNA}\n{}\n", MARIO.to_lowercase()));
    let expected: Vec<String> = expected[..2].iter().map(|it| text(it.as_bytes())).collect();
    assert_eq!(told.0, 0, "{}", told.1);
    assert_eq!(told.1.lines().collect::<Vec<_>>(), expected);
    let (exit, told) = command(&cluster, "RSSMRA85T10A562T\n");
    assert_eq!(exit, 1);
    assert!(
        told.contains("line 1") && !told.contains("RSSMRA"),
        "{told}"
    );
    cluster.finish().await;
}

/// `visto pseudonym refs`, with these codes on stdin: exit code, and what it said.
fn command(cluster: &Cluster, codes: &str) -> (i32, String) {
    let words = format!("pseudonym refs --genesis {}", genesis(cluster));
    as_voghera(cluster, &words, codes)
}

fn genesis(cluster: &Cluster) -> String {
    cluster.genesis_file().display().to_string()
}

/// A command of Voghera's, with this on stdin: exit code, and what it said.
fn as_voghera(cluster: &Cluster, words: &str, stdin: &str) -> (i32, String) {
    let key_file = cluster.folder().join("token.pem");
    if !key_file.exists() {
        client::keyfile::write_new(&key_file, &world::seed(VOGHERA, "token")).unwrap();
    }
    let mut command = Command::new(binary("visto"));
    command
        .args(words.split_whitespace())
        .args(["--person", "anagrafe", "--purpose", "dpv:LegalCompliance"])
        .args(["--ledger", world::LEDGER, "--institution", VOGHERA])
        .args(["--url", &cluster.url(1, ""), "--token-key"])
        .arg(&key_file)
        .arg("--policy")
        .arg(cluster.policy_file());
    with_stdin(&mut command, stdin)
}

/// A command with this on stdin: exit code, and what it said.
fn with_stdin(command: &mut Command, stdin: &str) -> (i32, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that is done with its words alone reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_makes_an_export_that_the_typed_code_opens() {
    let cluster = Cluster::start().await;
    let anna = text(computed(&oprf::key(1), ANNA).as_bytes());
    cluster.accept(1, &world::access(&anna).line()).await;
    let typed = cluster.folder().join("codice.txt");
    fs::write(&typed, format!("{}\n", ANNA.to_lowercase())).unwrap();
    let out = |name: &str| cluster.folder().join(name);
    let export = |from: &str, flags: &str, name: &str, stdin: &str| {
        let words = format!(
            "export --role dpo --bind {from} --out {} {flags}",
            out(name).display()
        );
        as_voghera(&cluster, &words, stdin)
    };
    let believed = format!("--genesis {}", genesis(&cluster));
    let (exit, told) = export(&typed.display().to_string(), &believed, "one.json", "");
    assert_eq!(exit, 0, "{told}");
    let of = format!("--oprf-key {} --subject {anna}", oprf::public(1));
    let (exit, told) = export("-", &of, "two.zip", ANNA);
    assert_eq!(exit, 0, "{told}");
    let policy = fs::read(cluster.policy_file()).unwrap();
    let policy = PolicySet::parse(&policy).unwrap();
    let one = Export::parse(&fs::read(out("one.json")).unwrap()).unwrap();
    let opened = |code| {
        let asked = Asked {
            code: Some(code),
            ..Asked::default()
        };
        verify(&one, &policy, asked).map(|it| text(it.head().about.of.as_bytes()))
    };
    assert_eq!(opened(ANNA).unwrap(), anna);
    assert_eq!(opened(MARIO).unwrap_err().lie, Lie::Binding);
    for program in ["visto", "visto-verify"] {
        for (from, stdin, exit, part) in [
            (typed.as_path(), "", 0, "Complete as of size "),
            (Path::new("-"), ANNA, 0, "Complete as of size "),
            (Path::new("-"), MARIO, 1, "binding: "),
            (&out("nowhere.txt"), "", 3, "nowhere.txt"),
        ] {
            let mut command = Command::new(binary(program));
            command.args((program == "visto").then_some("verify"));
            command.arg("--policy").arg(cluster.policy_file());
            command.arg("--code-file").arg(from).arg(out("one.json"));
            let (ended, told) = with_stdin(&mut command, stdin);
            assert_eq!(ended, exit, "{program}: {told}");
            assert!(told.contains(part), "{program}: {told}");
            assert!(!told.contains(MARIO), "{program}: {told}");
        }
    }
    for (from, flags, stdin, exit, told) in [
        // Another's ref; a person's code for a household; two codes; a wrong letter; a key that is not the ledger's; a key and no code.
        (
            "-",
            format!("{believed} --subject {}", world::person("bruno")),
            ANNA,
            1,
            "not the code's",
        ),
        (
            "-",
            format!("{believed} --household {anna}"),
            ANNA,
            2,
            "--kind",
        ),
        (
            "-",
            believed.clone(),
            &*format!("{ANNA}\n{MARIO}\n"),
            2,
            "exactly one",
        ),
        ("-", believed.clone(), "RSSMRA85T10A562T", 1, "line 1"),
        (
            "-",
            format!("--oprf-key {}", oprf::public(7)),
            ANNA,
            1,
            "not believed",
        ),
        ("-", String::new(), ANNA, 2, "--genesis"),
        ("/nowhere", believed.clone(), "", 3, "/nowhere"),
    ] {
        let (ended, said) = export(from, &flags, "none.json", stdin);
        assert_eq!(ended, exit, "{flags}: {said}");
        assert!(said.contains(told) && !said.contains("RSSMRA"), "{said}");
        assert!(!out("none.json").exists(), "{flags}");
    }
    let words = format!(
        "export --subject {anna} {believed} --out {}",
        out("none.json").display()
    );
    let (exit, told) = as_voghera(&cluster, &words, "");
    assert_eq!(exit, 2, "{told}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_says_so_itself_and_one_that_does_not_is_caught() {
    let mut cluster = Cluster::prepare(Setup::default()).await;
    cluster.node(3).hold(7, None);
    for node in 1..=3 {
        cluster.node(node).start();
    }
    cluster.ready().await;
    let question = json!({"blinded": [text(blinded(ANNA).as_bytes())]});
    let token = world::token(VOGHERA, Role::Institution);
    let url = cluster.url(3, "/v1/pseudonyms/evaluations");
    let answer = cluster
        .http
        .post(&url, Some(&token), &question)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "pseudonyms-unserved")
    );
    assert!(answer.text.contains("holds another key"), "{}", answer.text);
    let checks = cluster
        .http
        .get(&cluster.url(3, "/readyz?verbose=1"), None)
        .await
        .unwrap();
    assert_eq!(checks.status, 200, "it serves all else");
    let checks = checks.json();
    let check = checks["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "pseudonyms");
    assert_eq!(check.unwrap()["ok"], json!(false), "{checks}");
    let operator = world::token(world::operator_of(3), Role::Operator);
    let url = cluster.url(3, "/admin/v1/pseudonyms");
    let used = cluster
        .http
        .get(&url, Some(&operator))
        .await
        .unwrap()
        .json();
    assert_eq!(used["serving"], json!(false), "{used}");
    assert!(
        cluster
            .node(3)
            .log()
            .contains("holds another key of pseudonyms")
    );
    // Whoever asks it first is served by another.
    let urls = [cluster.url(3, ""), cluster.url(1, "")];
    let refs = asking(VOGHERA, &urls, 1).refs(&[code(ANNA)]).await;
    assert_eq!(refs.unwrap(), [computed(&oprf::key(1), ANNA)]);

    // One that evaluates with its own key and says that it was the ledger's: caught by its first answer, and nothing is kept.
    let liar = liar().await;
    let (file, key) = (cluster.folder().join("refs"), random());
    let cache = || Cache::open(&file, &key, &oprf::public_key(1)).unwrap();
    let asker = asking(VOGHERA, &[liar], 1).with_cache(cache()).unwrap();
    let caught = asker.refs(&[code(ANNA)]).await;
    let expected = OprfError::Proof;
    assert!(
        matches!(caught, Err(Error::Evaluation { node: 9, cause }) if cause == expected),
        "{caught:?}"
    );
    assert!(asker.bind(&code(ANNA)).await.is_err());
    assert!(cache().is_empty());
    cluster.finish().await;
}

fn blinded(text: &str) -> Element {
    Blinding::new(CodeKind::Cf, text, &random())
        .unwrap()
        .blinded()
}

/// A server that evaluates with a key of its own and calls it the ledger's.
async fn liar() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let question: EvaluationRequest = loop {
                let mut chunk = [0; 4096];
                let read = stream.read(&mut chunk).await.unwrap();
                request.extend_from_slice(&chunk[..read]);
                let body = request
                    .windows(4)
                    .position(|it| it == b"\r\n\r\n")
                    .map(|at| at + 4);
                if let Some(question) =
                    body.and_then(|at| serde_json::from_slice(&request[at..]).ok())
                {
                    break question;
                }
            };
            let element = |text: &String| {
                Element::from_bytes(&base64::url_decode_array(text).unwrap()).unwrap()
            };
            let elements: Vec<Element> = question.blinded.iter().map(element).collect();
            let answer = oprf::key(7).evaluate(&elements, &random()).unwrap();
            let evaluated = answer
                .evaluated
                .iter()
                .map(|it| text(it.as_bytes()))
                .collect();
            let body = serde_json::to_string(&Evaluations {
                public_key: oprf::public(1),
                shares: vec![Share {
                    node: 9,
                    public_key: oprf::public(1),
                    evaluated,
                    proof: text(&answer.proof.0),
                }],
            });
            let body = body.unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_any_node_confirms_a_guessed_code_without_the_identity() {
    let mut cluster = Cluster::start().await;
    let asker = asking(VOGHERA, &cluster.urls(), 1);
    let bound = asker.bind(&code(ANNA)).await.unwrap();
    let reference = asker.refs(&[code(ANNA)]).await.unwrap()[0];
    let shown = text(reference.as_bytes());
    for node in 1..=3 {
        cluster.accept(node, &world::access(&shown).line()).await;
    }
    let record = world::consent("consent-anna", &shown, "given");
    let (index, _) = cluster.accept(1, &record.line()).await;
    for node in 1..=3 {
        cluster.published(node, index + 1).await;
        cluster.node(node).stop().await;
    }
    let files: Vec<(PathBuf, Vec<u8>)> = cluster
        .nodes
        .values()
        .flat_map(|node| files_below(&node.folder))
        .filter(|file| file.file_name().unwrap() != OPRF_IDENTITY)
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect();
    let key = oprf::key(1);
    let secrets = [
        ("the ref", reference.as_bytes().to_vec()),
        ("the key", key.to_bytes().to_vec()),
        ("the code", ANNA.as_bytes().to_vec()),
        ("the code", ANNA.to_lowercase().into_bytes()),
        ("the blind", bound.binding.blind.to_vec()),
        (
            "a hash of the code",
            Hash::of(&[ANNA.as_bytes()]).as_bytes().to_vec(),
        ),
    ];
    let spelt: Vec<(&str, Vec<u8>)> = secrets
        .iter()
        .flat_map(|(what, secret)| spellings(secret).map(|spelling| (*what, spelling)))
        .collect();
    let found: Vec<(&str, &PathBuf)> = files
        .iter()
        .flat_map(|(file, bytes)| {
            found_in(bytes, &spelt)
                .into_iter()
                .map(move |what| (what, file))
        })
        .collect();
    // The search finds what is there: the ref stands on each node's disk. What would confirm a guess does not.
    for node in cluster.nodes.values() {
        let on_disk =
            |(what, file): &(&str, &PathBuf)| *what == "the ref" && file.starts_with(&node.folder);
        assert!(found.iter().any(on_disk), "node {}: {found:?}", node.number);
    }
    let confirming: Vec<_> = found
        .iter()
        .filter(|(what, _)| *what != "the ref")
        .collect();
    assert!(confirming.is_empty(), "{confirming:?}");
    // Nor does anything in the sealed file, or a public key, serve as the key.
    for node in cluster.nodes.values() {
        let mut candidates = fs::read(node.folder.join(OPRF_SEALED)).unwrap();
        candidates.extend(oprf::public_key(1).as_bytes());
        for window in candidates.windows(32) {
            let window = window.try_into().unwrap();
            let guessed = OprfSecretKey::from_bytes(window).map(|key| computed(&key, ANNA));
            assert_ne!(guessed, Ok(reference));
        }
        // With the identity it opens, and then a guess is confirmed: that is what the identity must be kept from.
        let opened = oprf::unseal(
            &node.folder.join(OPRF_IDENTITY),
            &node.folder.join(OPRF_SEALED),
        );
        assert_eq!(computed(&opened, ANNA), reference);
        assert_ne!(computed(&opened, MARIO), reference);
    }
    cluster.finish().await;
}

fn spellings(bytes: &[u8]) -> [Vec<u8>; 5] {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let padded = base64::encode(bytes);
    let plain = padded.trim_end_matches('=').to_owned();
    [
        bytes.to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
        plain.into_bytes(),
        text(bytes).into_bytes(),
    ]
}

/// What of these stands in the bytes, in one pass over them.
fn found_in<'a>(bytes: &[u8], spelt: &[(&'a str, Vec<u8>)]) -> Vec<&'a str> {
    let mut by_first: Vec<Vec<&(&'a str, Vec<u8>)>> = vec![Vec::new(); 256];
    for spelling in spelt {
        by_first[usize::from(spelling.1[0])].push(spelling);
    }
    let mut found = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        for (what, spelling) in &by_first[usize::from(*byte)] {
            if bytes[at..].starts_with(spelling) {
                found.push(*what);
            }
        }
    }
    found
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_by_governance_opens_an_epoch_and_a_link_joins_both_refs() {
    let mut cluster = Cluster::start().await;
    let mut governance = Governance::after_genesis(&cluster).await;
    let anna = code(ANNA);
    let old = asking(VOGHERA, &cluster.urls(), 1)
        .refs(std::slice::from_ref(&anna))
        .await
        .unwrap()[0];
    let seen_before = cluster
        .accept(1, &world::access(&text(old.as_bytes())).line())
        .await
        .0;

    // No element, and a key that was there before: refused. Then the new key.
    for wrong in [text(&[0; 32]), oprf::public(1)] {
        let content = json!({"rules": 1, "oprfKey": wrong});
        let refused = world::governance("rules", content, governance.head());
        let answer = cluster.submit(1, &refused.line()).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (422, "oprf-key"),
            "{}",
            answer.text
        );
    }
    let content = json!({"rules": 1, "oprfKey": oprf::public(2)});
    let index = governance.decide(&cluster, 2, "rules", content).await;
    for node in 1..=3 {
        cluster.published(node, index + 1).await;
        // From here on the old key alone serves nothing.
        let question = json!({"blinded": [text(blinded(ANNA).as_bytes())]});
        let token = world::token(VOGHERA, Role::Institution);
        let url = cluster.url(node, "/v1/pseudonyms/evaluations");
        let answer = cluster
            .http
            .post(&url, Some(&token), &question)
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "pseudonyms-unserved")
        );
    }
    for node in 1..=3 {
        cluster.node(node).stop().await;
        cluster.node(node).hold(2, Some(1));
        cluster.node(node).start();
        cluster.ready_node(node).await;
    }

    let asker = asking(VOGHERA, &cluster.urls(), 2);
    let joined = asker
        .join((&anna, &oprf::public_key(1)), &anna)
        .await
        .unwrap();
    assert_eq!(joined.old, old);
    assert_eq!(joined.new, computed(&oprf::key(2), ANNA));
    assert_ne!(joined.new, old);
    let keys = [oprf::public_key(1), oprf::public_key(2)];
    assert_eq!(
        LinkProof::parse(&joined.proof, &keys),
        Ok(voprf::Linked::OneCode)
    );
    let seen_after = world::access(&text(joined.new.as_bytes())).line();
    let seen_after = cluster.accept(2, &seen_after).await.0;

    for wrong in [foreign_proof(), reversed(&joined.proof), "proof".to_owned()] {
        let answer = cluster
            .submit(1, &link(&joined.old, &joined.new, &wrong).line())
            .await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (422, "link-proof"),
            "{}",
            answer.text
        );
    }
    let linked = cluster
        .accept(3, &link(&joined.old, &joined.new, &joined.proof).line())
        .await
        .0;
    cluster.published(1, linked + 1).await;

    let token = world::token(GARANTE, Role::Authority);
    let url = cluster.url(1, "/v1/accesses/search?consistency=linearizable");
    for subject in [old, joined.new] {
        let search = json!({"subject": text(subject.as_bytes())});
        let page = cluster
            .http
            .post(&url, Some(&token), &search)
            .await
            .unwrap()
            .json();
        let items = page["items"].as_array().unwrap().iter();
        let mut found: Vec<u64> = items.map(|item| item["index"].as_u64().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, [seen_before, seen_after], "{page}");
    }
    let bound = asker.bind(&anna).await.unwrap();
    let export = exported(&cluster, &bound).await;
    let policy = fs::read(cluster.policy_file()).unwrap();
    let policy = PolicySet::parse(&policy).unwrap();
    let typed = |code| {
        let asked = Asked {
            code: Some(code),
            ..Asked::default()
        };
        verify(&export, &policy, asked)
            .map(drop)
            .map_err(|fault| fault.lie)
    };
    assert_eq!(typed(ANNA), Ok(()));
    assert_eq!(typed(MARIO), Err(Lie::Binding));
    cluster.finish().await;
}

/// The citizen's export about a ref of the second epoch, with its binding: the key that it is under stands in a `rules` entry.
async fn exported(cluster: &Cluster, bound: &Bound) -> Export {
    let order = json!({
        "subject": text(bound.reference.as_bytes()),
        "audience": "citizen",
        "ground": "dpv-gdpr:A15",
        "binding": ExportBinding::from(&bound.binding),
    });
    let token = world::token(VOGHERA, Role::Dpo);
    let url = cluster.url(2, "/v1/exports");
    let answer = cluster.http.post(&url, Some(&token), &order).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    Export::parse(&answer.bytes).unwrap()
}

/// A `link` entry of Voghera's registry.
fn link(old: &Hash, new: &Hash, proof: &str) -> Signed {
    let mut draft = Draft::new(VOGHERA, "link");
    let old = draft.disclosed(json!({"ref": text(old.as_bytes())}));
    let new = draft.disclosed(json!({"ref": text(new.as_bytes())}));
    draft.content = json!({"old": [old], "new": [new], "proof": proof});
    draft.sign(&[&world::key(VOGHERA, "entry")])
}

/// Evaluated honestly, with a key that this ledger never named.
fn foreign_proof() -> String {
    let blinded = blinded(ANNA);
    let evaluated = |epoch: u32| {
        let answer = oprf::key(epoch).evaluate(&[blinded], &random()).unwrap();
        voprf::Evaluated {
            blinded,
            evaluated: answer.evaluated[0],
            proof: answer.proof,
        }
    };
    let (old, new) = (evaluated(1), evaluated(7));
    LinkProof { old, new }.to_text()
}

/// The new evaluation as the old one.
fn reversed(proof: &str) -> String {
    let proof = LinkProof::decode(&base64::url_decode(proof).unwrap()).unwrap();
    let (old, new) = (proof.new, proof.old);
    LinkProof { old, new }.to_text()
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_many_is_slowed_counted_and_told() {
    let mut setup = Setup::default();
    setup
        .settings
        .retain(|(name, _)| !name.starts_with("limits.pseudonyms"));
    let limits = [
        ("limits.pseudonyms-per-second", "1"),
        ("limits.pseudonyms-burst", "1000"),
        ("limits.pseudonyms-alarm-per-hour", "600"),
    ];
    setup
        .settings
        .extend(limits.map(|(name, value)| (name, value.to_owned())));
    setup.nodes = 1;
    let mut cluster = Cluster::start_with(setup).await;
    let url = cluster.url(1, "/v1/pseudonyms/evaluations");
    let element = text(blinded(ANNA).as_bytes());
    let ask = async |institution: &str, count: usize| {
        let token = world::token(institution, Role::Institution);
        let question = json!({"blinded": vec![element.as_str(); count]});
        cluster
            .http
            .post(&url, Some(&token), &question)
            .await
            .unwrap()
    };
    assert_eq!(ask(VOGHERA, 601).await.status, 200);
    let slowed = ask(VOGHERA, 1_000).await;
    assert_eq!(
        (slowed.status, slowed.problem().as_str()),
        (429, "too-fast")
    );
    assert!(slowed.header("retry-after").parse::<u32>().unwrap() > 60);
    assert_eq!(ask(INPS, 600).await.status, 200);
    let token = world::token(INPS, Role::Operator);
    let used = cluster
        .http
        .get(&cluster.url(1, "/admin/v1/pseudonyms"), Some(&token))
        .await;
    let used = used.unwrap().json();
    let of = |institution: &str| {
        let mut lines = used["institutions"].as_array().unwrap().iter();
        lines
            .find(|it| it["institution"] == institution)
            .cloned()
            .unwrap_or(Value::Null)
    };
    assert_eq!(
        (&of(VOGHERA)["evaluated"], &of(VOGHERA)["alarms"]),
        (&json!(601), &json!(1))
    );
    assert_eq!(
        (&of(INPS)["evaluated"], &of(INPS)["alarms"]),
        (&json!(600), &json!(0))
    );
    assert_eq!(of(ASL), Value::Null);
    let metrics = cluster
        .http
        .get(&cluster.url(1, "/metrics"), None)
        .await
        .unwrap()
        .text;
    let counted = |institution: &str, count: u32| {
        metrics.contains(&format!(
            "visto_pseudonyms_evaluated_total{{institution=\"{institution}\"}} {count}"
        ))
    };
    assert!(counted(VOGHERA, 601) && counted(INPS, 600), "{metrics}");
    let log = cluster.node(1).log();
    let told: Vec<&str> = log
        .lines()
        .filter(|it| it.contains("are codes being tried"))
        .collect();
    assert!(
        matches!(told.as_slice(), [line] if line.contains(VOGHERA)),
        "{told:?}"
    );
    cluster.finish().await;
}
