// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use super::*;
use crate::limits::Quota;

fn every_fault() -> Vec<Fault> {
    let quota = Quota {
        limit: 9,
        remaining: 0,
        reset_seconds: 3,
    };
    let mut faults: Vec<Fault> = Refusal::ALL
        .iter()
        .map(|refusal| Fault::Refused(Refused::new(*refusal, "/envelope/payload/x")))
        .collect();
    faults.extend(TokenFault::ALL.iter().map(|fault| Fault::Token(*fault)));
    faults.extend(
        [
            RequestFault::MediaType,
            RequestFault::TooLarge,
            RequestFault::Body,
            RequestFault::BatchTooLong,
            RequestFault::BatchEmpty,
            RequestFault::Json(Refusal::Json.into()),
            RequestFault::Member("/limit".to_owned(), "a number from 1 to 100"),
            RequestFault::Cursor,
            RequestFault::Beyond,
        ]
        .map(Fault::Request),
    );
    faults.extend([
        Fault::Forbidden,
        Fault::NotFound,
        Fault::Method,
        Fault::TooFast(TooFast {
            quota,
            retry_after_seconds: 2,
        }),
        Fault::NoQuorum,
        Fault::Overloaded,
        Fault::ShuttingDown,
        Fault::OutcomeUnknown,
        Fault::Overtaken,
        Fault::NotReady(vec!["leader".to_owned()]),
        Fault::Internal,
    ]);
    faults
}

#[test]
fn every_fault_has_a_type_and_title_of_its_own() {
    let faults = every_fault();
    let types: BTreeSet<_> = faults.iter().map(|fault| fault.problem().kind).collect();
    assert_eq!(types.len(), faults.len());
    let titles: BTreeSet<_> = faults.iter().map(|fault| fault.problem().title).collect();
    assert_eq!(titles.len(), faults.len());
    for fault in faults {
        assert!(fault.status().is_client_error() || fault.status().is_server_error());
        assert!(
            fault
                .code()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
    }
}

/// The refusals that the API promises by name, and their status.
#[test]
fn statuses_are_as_promised() {
    let table = [
        (Refusal::InstitutionUnknown, 422),
        (Refusal::KeyUse, 422),
        (Refusal::KeyUnknown, 422),
        (Refusal::KeyNotInForce, 422),
        (Refusal::Signature, 422),
        (Refusal::Ledger, 422),
        (Refusal::IdUsed, 409),
        (Refusal::IdOutOfWindow, 422),
        (Refusal::Ahead, 422),
        (Refusal::DisclosureMissing, 400),
        (Refusal::DisclosureSpare, 400),
        (Refusal::Json, 400),
        (Refusal::DuplicateKey, 400),
        (Refusal::Size, 413),
    ];
    for (refusal, status) in table {
        assert_eq!(
            Fault::from(Refused::from(refusal)).status().as_u16(),
            status,
            "{refusal}"
        );
    }
    let table = [
        (Fault::from(RequestFault::MediaType), 415),
        (Fault::from(RequestFault::TooLarge), 413),
        (Fault::Method, 405),
        (Fault::NoQuorum, 503),
        (Fault::OutcomeUnknown, 504),
        (Fault::from(TokenFault::Missing), 401),
        (Fault::from(TokenFault::Role), 403),
        (Fault::NotFound, 404),
    ];
    for (fault, status) in table {
        assert_eq!(fault.status().as_u16(), status, "{fault:?}");
    }
}

#[test]
fn answers_are_problem_documents_with_the_headers_that_go_with_them() {
    for fault in every_fault() {
        let status = fault.status();
        let problem = fault.problem();
        let response = fault.clone().into_response();
        assert_eq!(response.status(), status);
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(
            header(header::CONTENT_TYPE),
            Some("application/problem+json")
        );
        assert_eq!(header(header::CACHE_CONTROL), Some("no-store"));
        assert_eq!(
            header(header::WWW_AUTHENTICATE).is_some(),
            status == StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            header(header::RETRY_AFTER).is_some(),
            matches!(status.as_u16(), 429 | 503),
            "{fault:?}"
        );
        assert_eq!(problem.status, status.as_u16());
    }
}

#[test]
fn a_refusal_points_at_the_member() {
    let refused = Refused::new(Refusal::Members, "/envelope/payload/access/side");
    let problem = Fault::from(refused).problem();
    assert_eq!(problem.code(), Some("members"));
    assert_eq!(
        problem.errors.first().map(|error| error.pointer.as_str()),
        Some("/envelope/payload/access/side")
    );
    assert!(problem.remedy.is_some());
    assert!(
        Fault::from(Refused::from(Refusal::Json))
            .problem()
            .errors
            .is_empty()
    );
}

#[tokio::test]
async fn the_instance_is_the_request() {
    assert_eq!(Fault::NotFound.problem().instance, None);
    let problem = REQUEST_ID
        .scope("7".to_owned(), async { Fault::NotFound.problem() })
        .await;
    assert_eq!(problem.instance.as_deref(), Some("urn:visto:request:7"));
}
