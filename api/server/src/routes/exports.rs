// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/exports`: everything that names a person or a household, with the proof that nothing was left out.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use ledger::hash::Hash;

use crate::{
    app::App,
    body::{self, QUERY_BYTES_MAX},
    export::{self, Form, Made, ask::Ask, places::Place},
    observe::Notes,
    present::hash_text,
    problem::Fault,
    release::{Exported, Release},
};

/// Makes an export.
///
/// Of a person, or of a household with its members while they belonged, as of a state root that covers everything acknowledged before. What is in it proves, offline, that nothing was left out. For a citizen, a privacy officer asks. `Accept: application/zip` gives the citizen's bundle, with a page that verifies it. A read entry and a disclosure entry with the digest of `export.json` are committed before the first byte leaves. With `Accept-Encoding: gzip`, `export.json` comes compressed; the digest on record, and in `ETag`, is always that of the uncompressed file.
#[utoipa::path(
    post,
    path = "/v1/exports",
    tag = "exports",
    operation_id = "makeExport",
    request_body = wire::export::ExportOrder,
    security(("reader" = [])),
    responses((status = 200, description = "`export.json`, or the bundle", content(
        (Object = "application/json"),
        (String = "application/zip")
    )))
)]
pub async fn make(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Response, Fault> {
    body::demand_json(&headers)?;
    let reader = app.reader(&headers, &app.node.view()?, &notes)?;
    let read = app.bodies.read(request_body, QUERY_BYTES_MAX).await?;
    let ask = Ask::parse(&read.bytes, &reader)?;
    drop(read);
    let form = form(&headers);

    // Held until the last byte left: as many files as that, and no more, wait on the disk.
    let place = app.exports.take(reader.institution()).await?;
    let folded = app.node.fold(app.timeouts.submit).await?;
    let (view, tree_size) = (folded.view().clone(), folded.state_root().size);
    let (making_reader, making_ask) = (reader.clone(), ask.clone());
    let making = move || {
        let made = export::make(&folded, &making_reader, &making_ask, form)?;
        let rows = made.rows;
        Ok((made, rows))
    };
    let made = app.search(&reader, making).await?;
    let named = [made.persons.as_slice(), &made.others].concat();
    let release = Release {
        route: "/v1/exports",
        question: Hash::of(&[ask.about.of.as_bytes()]),
        count: made.count,
        tree_size,
        subjects: named,
        view,
        rests_on: made.rests_on.clone(),
    };
    let ground = ask.ground_on_record();
    let exported = Exported {
        digest: &made.digest,
        ground: &ground,
        persons: &made.persons,
    };
    app.recorder
        .record_export(&app.node, &reader, &release, &exported)
        .await?;
    answer(made, form, place)
}

/// The form that the client would rather have; `export.json` where it does not say, compressed only where it says so.
fn form(headers: &HeaderMap) -> Form {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim());
    let first = accepted
        .map(str::to_ascii_lowercase)
        .find(|range| range == wire::export::ZIP || range == wire::JSON || range == "*/*");
    match first.as_deref() {
        Some(wire::export::ZIP) => Form::Zip,
        _ if would_rather_gzip(headers) => Form::JsonGzip,
        _ => Form::Json,
    }
}

/// Whether `Accept-Encoding` names gzip, and no other way that it likes better (RFC 9110, 12.5.3).
fn would_rather_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut plain) = (0.0, 0.0);
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for coding in codings {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        // What is no number is not asked for.
        let quality: f32 = quality.map_or(1.0, |q| q.parse().unwrap_or(0.0));
        match name.as_str() {
            "gzip" | "x-gzip" => gzip = quality,
            "identity" => plain = quality,
            _ => {}
        }
    }
    gzip > 0.0 && gzip >= plain
}

fn answer(made: Made, form: Form, place: Place) -> Result<Response, Fault> {
    let (kind, name) = match form {
        Form::Json | Form::JsonGzip => (wire::JSON, "export.json"),
        Form::Zip => (wire::export::ZIP, "visto-export.zip"),
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    let digest = hash_text(&made.digest);
    // A strong validator is that of the bytes as they are sent.
    let tag = match form {
        Form::Json | Form::Zip => format!("\"{digest}\""),
        Form::JsonGzip => format!("W/\"{digest}\""),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_LENGTH, HeaderValue::from(made.length)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_str(&disposition).map_err(Fault::internal)?,
        ),
        (
            header::ETAG,
            HeaderValue::from_str(&tag).map_err(Fault::internal)?,
        ),
        (
            header::VARY,
            HeaderValue::from_static("accept, accept-encoding"),
        ),
    ];
    let coding = (form == Form::JsonGzip)
        .then_some([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
    Ok((headers, coding, place.send(made.file, made.length)).into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Seek, Write},
        net::SocketAddr,
        time::Duration,
    };

    use axum::{Router, http::Request, routing::get};
    use ledger::id::InstitutionId;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::watch,
    };

    use super::*;
    use crate::{
        export::places::Places,
        listener::{self, Timers},
    };

    const LENGTH: u64 = 1 << 20;

    /// An export of [`LENGTH`], whose file became shorter.
    async fn shorter_by(cut: u64) -> Result<Response, Fault> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; LENGTH as usize]).unwrap();
        file.rewind().unwrap();
        file.set_len(LENGTH - cut).unwrap();
        let made = Made {
            file,
            length: LENGTH,
            digest: Hash::ZERO,
            count: 0,
            persons: Vec::new(),
            others: Vec::new(),
            rests_on: Vec::new(),
            rows: 0,
        };
        let place = Places::new(Duration::ZERO)
            .take(&InstitutionId::parse("ipa:a").unwrap())
            .await?;
        answer(made, Form::Json, place)
    }

    #[tokio::test]
    async fn who_gets_less_than_the_whole_can_tell() {
        let router = Router::new()
            .route("/whole", get(|| shorter_by(0)))
            .route("/short", get(|| shorter_by(LENGTH / 2)))
            .route("/one", get(|| shorter_by(1)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let timers = Timers {
            connections_max: 4,
            head: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            drain: Duration::from_secs(1),
            head_bytes: listener::HEAD_BYTES,
        };
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(listener::run(listener, router, None, timers, stopped));
        for (path, whole) in [("/whole", true), ("/short", false), ("/one", false)] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It would be kept alive.
            let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(ask.as_bytes()).await.unwrap();
            let mut told = Vec::new();
            let end = |told: &[u8]| told.windows(4).position(|it| it == b"\r\n\r\n");
            let got = loop {
                let body = end(&told).map_or(0, |end| told.len() - end - 4);
                // As long as it said, or closed before.
                if body as u64 >= LENGTH {
                    break body;
                }
                if !matches!(stream.read_buf(&mut told).await, Ok(read) if read > 0) {
                    break body;
                }
            };
            let head = String::from_utf8_lossy(&told).to_lowercase();
            assert!(head.contains(&format!("content-length: {LENGTH}\r\n")));
            assert_eq!(got as u64 == LENGTH, whole, "{path}");
            assert_eq!(is_whole_over_http2(address, path).await, whole, "{path}");
        }
        stop.send_replace(true);
        running.await.unwrap();
    }

    /// Over HTTP/1 hyper breaks off by itself what is less than its length; over HTTP/2 it ends it as if it were whole.
    async fn is_whole_over_http2(address: SocketAddr, path: &str) -> bool {
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("http://x{path}")).body(()).unwrap();
        let asked = send.ready().await.unwrap().send_request(request, true);
        let mut body = asked.unwrap().0.await.unwrap().into_body();
        let mut got = 0;
        while let Some(piece) = body.data().await {
            match piece {
                Ok(piece) => {
                    got += piece.len();
                    body.flow_control().release_capacity(piece.len()).unwrap();
                }
                Err(error) => {
                    // This client counts, others do not: it must be the server who says so.
                    assert!(error.is_reset() && error.is_remote(), "{path}: {error}");
                    return false;
                }
            }
        }
        got as u64 == LENGTH
    }

    #[test]
    fn a_bundle_is_for_who_asks_for_one_first() {
        for (accept, expected) in [
            (None, Form::Json),
            (Some("application/zip"), Form::Zip),
            (Some("application/ZIP;q=0.9, */*"), Form::Zip),
            (Some("application/json, application/zip"), Form::Json),
            (Some("*/*"), Form::Json),
            (Some("text/html"), Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(form(&headers), expected, "{accept:?}");
        }
    }
    #[test]
    fn it_is_compressed_for_who_asks_for_that() {
        for (accepted, expected) in [
            (&[][..], Form::Json),
            (&["gzip"], Form::JsonGzip),
            (&["deflate, GZIP;q=0.5"], Form::JsonGzip),
            (&["deflate", "x-gzip"], Form::JsonGzip),
            (&["gzip;q=0"], Form::Json),
            (&["gzip; q=0.000"], Form::Json),
            (&["gzip;q=0.4, identity;q=0.5"], Form::Json),
            (&["gzip, identity"], Form::JsonGzip),
            (&["gzip;q=x"], Form::Json),
            (&["*, br"], Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(form(&headers), expected, "{accepted:?}");
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/zip"));
            assert_eq!(form(&headers), Form::Zip, "a zip is compressed already");
        }
    }
}
