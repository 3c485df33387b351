// SPDX-License-Identifier: EUPL-1.2
//! As much of gRPC and of etcd's messages as putting keys needs: unary calls over HTTP/2, fields of `etcdserverpb` by their numbers.
//!
//! By hand, so that the load generator costs as little as it can (it shares the cores with the servers) and needs no protobuf compiler.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;

/// The prefix of a gRPC message: not compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// One connection to one server.
pub(crate) struct Connection {
    address: String,
    send: SendRequest<Bytes>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Connection, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("{address}: {error}"))?;
        let _ = stream.set_nodelay(true);
        let (send, connection) = h2::client::handshake(stream)
            .await
            .map_err(|error| error.to_string())?;
        // Ends with the last handle to it; what goes wrong is told to each call.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection {
            address: address.to_owned(),
            send,
        })
    }

    /// One unary call: the answer's message.
    pub(crate) async fn call(&mut self, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let text = |error: h2::Error| error.to_string();
        let request = http::Request::post(format!("http://{}/{method}", self.address))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let mut send = self.send.clone().ready().await.map_err(text)?;
        let (response, mut stream) = send.send_request(request, false).map_err(text)?;
        let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
        frame.push(0);
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
        frame.extend_from_slice(message);
        stream.send_data(frame.into(), true).map_err(text)?;
        let response = response.await.map_err(text)?;
        // A call that fails at once answers with trailers alone, which then are the headers.
        let mut status = grpc_status(response.headers());
        let mut body = response.into_body();
        let mut answer = Vec::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(text)?;
            let _ = body.flow_control().release_capacity(part.len());
            answer.extend_from_slice(&part);
        }
        if let Some(trailers) = body.trailers().await.map_err(text)? {
            status = grpc_status(&trailers).or(status);
        }
        match status {
            Some(Ok(())) if answer.len() >= PREFIX_BYTES => Ok(answer.split_off(PREFIX_BYTES)),
            Some(Err(message)) => Err(message),
            _ => Err("an answer without a status".into()),
        }
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<Result<(), String>> {
    let status = headers.get("grpc-status")?;
    if status == "0" {
        return Some(Ok(()));
    }
    let message = headers
        .get("grpc-message")
        .and_then(|message| message.to_str().ok())
        .unwrap_or("no message");
    Some(Err(format!("gRPC status {status:?}: {message}")))
}

/// `PutRequest {key = 1, value = 2}`.
pub(crate) fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + value.len() + 16);
    bytes_field(&mut message, 1, key);
    bytes_field(&mut message, 2, value);
    message
}

/// `TxnRequest {success = 2: RequestOp {request_put = 2}}`, without a condition: all of the puts, or none.
pub(crate) fn txn(puts: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::with_capacity(puts.iter().map(|put| put.len() + 16).sum());
    for put in puts {
        let mut operation = Vec::with_capacity(put.len() + 8);
        bytes_field(&mut operation, 2, put);
        bytes_field(&mut message, 2, &operation);
    }
    message
}

fn bytes_field(message: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint(message, number << 3 | 2);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// The first field of that number in a message: a number, or bytes.
pub(crate) fn field(mut message: &[u8], number: u64) -> Option<Field<'_>> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Number(take_varint(&mut message)?),
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                message = rest;
                Field::Bytes(value)
            }
            1 => skip(&mut message, 8)?,
            5 => skip(&mut message, 4)?,
            _ => return None,
        };
        if tag >> 3 == number {
            return Some(field);
        }
    }
    None
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Field::Number(number) => Some(number),
            Field::Bytes(_) => None,
        }
    }

    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number(_) => None,
        }
    }
}

fn skip<'a>(message: &mut &'a [u8], length: usize) -> Option<Field<'a>> {
    let (value, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(Field::Bytes(value))
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_protobuf_says() {
        // By protoc from etcd's rpc.proto: PutRequest {key: "k", value: 300 times "v"}.
        let value = [b'v'; 300];
        let message = put(b"k", &value);
        assert_eq!(&message[..6], &[0x0a, 1, b'k', 0x12, 0xac, 0x02]);
        assert_eq!(message.len(), 6 + 300);
        let transaction = txn(&[message.clone(), message.clone()]);
        // success = 2, of 309 bytes; in it request_put = 2, of 306.
        assert_eq!(&transaction[..6], &[0x12, 0xb5, 0x02, 0x12, 0xb2, 0x02],);
        let operation = field(&transaction, 2).and_then(Field::bytes).unwrap();
        assert_eq!(field(operation, 2), Some(Field::Bytes(&message)));
        assert_eq!(field(&message, 2), Some(Field::Bytes(&value)));
        assert_eq!(field(&message, 3), None);
    }

    #[test]
    fn a_message_that_was_cut_off_is_not_read() {
        let message = put(b"key", b"value");
        for length in 0..message.len() {
            assert_eq!(field(&message[..length], 2), None, "{length} bytes");
        }
        assert_eq!(
            field(&[0x10, 0xff, 0xff, 0x03], 2).and_then(Field::number),
            Some(0xffff)
        );
    }
}
