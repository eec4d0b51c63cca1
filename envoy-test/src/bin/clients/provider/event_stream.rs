//! AWS event streams: <https://smithy.io/2.0/aws/amazon-eventstream.html>.

use bytes::Bytes;
use flate2::Crc;
use serde_json::Value;

/// The type of a header whose value is text.
const TEXT: u8 = 7;

/// The lengths of the prelude with its checksum, and of the checksum of the message.
const FRAME: usize = 16;

/// Returns a message with an event of this type.
pub(super) fn event(kind: &str, payload: &Value) -> Bytes {
    let headers = [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    message(&headers, payload.to_string().as_bytes())
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        encoded.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        encoded.extend(name.bytes());
        encoded.push(TEXT);
        encoded.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        encoded.extend(value.bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = Vec::new();
    message.extend(length(FRAME + encoded.len() + payload.len()));
    message.extend(length(encoded.len()));
    message.extend(checksum(&message));
    message.extend(encoded);
    message.extend(payload);
    message.extend(checksum(&message));
    message.into()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}
