//! Writes an access log of so many lines, in the documented format, to standard output: for measurements of
//! `tollgate simulate` and `tollgate usage`.

use std::io::{self, BufWriter, Write};

fn main() -> io::Result<()> {
    let lines = std::env::args().nth(1).and_then(|lines| lines.parse().ok());
    let lines: u64 = lines.unwrap_or(1_000_000);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut random = 42_u64;
    let mut next = |below: u64| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for line in 0..lines {
        // Twenty requests a second.
        let millis = line * 50;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (day, hour, minute, second) = (
            seconds / 86_400 % 28 + 1,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
        );
        // Few callers make most of the requests.
        let most = 1 + next(10_000);
        let user = next(most);
        let model = [
            "gpt-4.1",
            "gpt-4.1-mini",
            "claude-sonnet-4-5",
            "llama-3.3-70b",
        ][usize::try_from(next(4)).unwrap_or_default()];
        let (input, output) = (20 + next(2000), 5 + next(500));
        let total = input + output;
        writeln!(
            out,
            "{{\"time\":\"2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\",\"path\":\"/v1/chat/completions\",\"status\":200,\"details\":\"via_upstream\",\"duration\":{},\"user\":\"user-{user}\",\"team\":\"team-{}\",\"decision\":\"admitted\",\"limit\":null,\"model\":\"{model}\",\"input_tokens\":\"{input}\",\"output_tokens\":\"{output}\",\"total_tokens\":\"{total}\",\"cached_tokens\":\"0\",\"usd\":\"0.00{total}\",\"estimated\":\"false\"}}",
            200 + next(5000),
            user % 20,
        )?;
    }
    out.flush()
}
