//! Encoded responses that take as much work for their length as the decoder allows.

use std::io::Write;

use envoy_test::{
    client::{Chat, Protocol, client},
    llm::Script,
    metered::{CALLER, each_caller},
};
use flate2::{Compression, write::GzEncoder};

use crate::{
    brotli,
    gateway::{AMPLE, Outcome, attack, charged, start},
};

#[path = "../../../usage-meter/src/response/codings/decoder/tests/hostile.rs"]
#[expect(dead_code, reason = "some are for tests of the decoder only")]
mod hostile;

/// What Envoy reads of a connection at most before it passes it on: `per_connection_buffer_limit_bytes`.
const LENGTH: usize = 1 << 20;

/// The length of the shorter bodies in bytes.
const SHORT: usize = 64 << 10;

/// Members of gzip that have a text again and again, with what does not compress in between, so that they decode to 60
/// times their length.
fn dense(text: &str) -> Outcome<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(1);
    let texts = text.repeat(60_000 / text.len());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut decoded = 0;
    while encoder.get_ref().len() < SHORT - 1200 {
        encoder.write_all(texts.as_bytes())?;
        decoded += texts.len();
        encoder.flush()?;
        while encoder.get_ref().len() < decoded / 60 {
            let comment: String = (0..64).map(|_| rng.alphanumeric()).collect();
            encoder.write_all(format!(":{comment}\n\n").as_bytes())?;
            encoder.flush()?;
        }
    }
    let member = encoder.finish()?;
    Ok(member.repeat(LENGTH / SHORT))
}

/// What costs a meter most for its length.
const DENSE: [(&str, &str); 4] = [
    ("events", "data:{\"usage\":{}}\n\n"),
    ("empty events", "data:{}\n\n"),
    ("lines", "\n"),
    ("objects", "{\"a\":1},"),
];

#[tokio::test]
async fn work_for_bytes_at_once_is_bounded() -> Outcome {
    let metered = start(each_caller(AMPLE), |builder| builder).await?;
    let mut bodies = vec![
        ("small codes", "br", hostile::brotli_codes(LENGTH)),
        ("context maps", "br", hostile::brotli_maps(LENGTH)),
        (
            "fixed blocks",
            "deflate",
            hostile::deflate_blocks(LENGTH, false),
        ),
        (
            "dynamic blocks",
            "deflate",
            hostile::deflate_blocks(LENGTH, true),
        ),
        ("tables", "zstd", hostile::zstd_codes(LENGTH)),
        ("sequences", "zstd", hostile::zstd_sequences(LENGTH, 0x7f01)),
    ];
    for (name, text) in DENSE {
        let members = dense(text)?;
        bodies.push((name, "gzip, br", brotli::stored(&members)));
        bodies.push((name, "gzip", members));
        let plain = text.repeat(LENGTH / text.len());
        bodies.push((name, "identity", plain.into_bytes()));
    }
    for (name, codings, body) in bodies {
        // What Envoy reads at once of an upstream that is not faster than it, and of one that is.
        for length in [SHORT, LENGTH] {
            let body = &body[..length.min(body.len())];
            let name = format!("{name}, {} KiB in {codings}", body.len() >> 10);
            let script = Script {
                status: 200,
                headers: vec![
                    ("content-type".to_owned(), "text/event-stream".to_owned()),
                    ("content-encoding".to_owned(), codings.to_owned()),
                ],
                body: body.to_vec().into(),
            };
            metered.llm.script(&name, script);
            let chat = Chat::default()
                .header(CALLER, &name)
                .header("x-mock-script", &name);
            let client = client(Protocol::Http1);
            let action = async { Ok(metered.exchange(&client, &name, chat).await?) };
            let exchange = attack(&metered, &name, 1, action).await?;
            assert_eq!(exchange.body.len(), body.len(), "{name}");
            if exchange.entry.tollgate("estimated") == Some("true") {
                assert!(charged(&metered, &name).await? > 0, "{name}");
            }
        }
    }
    Ok(())
}
